// GGUF metadata around the weights to what Model holds of it: configuration, tokenizer, chat template, generation
// defaults.
#pragma once

#include "convert/gguf.h"
#include "convert/gguf_architecture.h"
#include "model/model.h"
#include "text/vocabulary_data.h"

namespace edgellm {

/// The architecture that the file names. Throws Error: kCorrupt (none), kUnsupported.
const GgufArchitecture& ReadGgufArchitecture(const GgufFile& file);

/// Metadata plus what only the tensors tell: biases, the size of the vocabulary, whether there is a head. Valid.
ModelConfig ReadGgufConfig(const GgufFile& file, const GgufArchitecture& architecture);

/// Nothing where the file has no vocabulary. Also for files that hold nothing else.
std::optional<text::VocabularyData> ReadGgufVocabulary(const GgufFile& file);

/// The tokenizer of a vocabulary that the file holds.
text::Tokenizer BuildGgufTokenizer(const GgufFile& file, const text::VocabularyData& vocabulary);

/// Fills tokenizer_json, chat_template and generation; config.vocab bounds the stop tokens.
void ReadGgufText(const GgufFile& file, Model& model);

}  // namespace edgellm
