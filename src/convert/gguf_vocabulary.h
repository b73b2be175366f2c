// A tokenizer as GGUF stores it: from tokenizer.json, as model files carry it, to tokens, scores or merges, types and
// the name of the pre-tokeniser. The way back is ReadGgufVocabulary (gguf_config.h).
#pragma once

#include <string>
#include <string_view>

#include "text/vocabulary_data.h"

namespace edgellm {

/// `vocab` tokens: ids without text become unused padding, as llama.cpp needs one token per row of the embedding.
/// Throws Error(kUnsupported) where GGUF has no way to say what the tokenizer does.
text::VocabularyData VocabularyForGguf(const std::string& tokenizer_json, int vocab, std::string_view name);

}  // namespace edgellm
