// Readers of vocabularies that come as files of bytes: SentencePiece models, tiktoken ranks, llama2.c's tok.bin. Each
// returns VocabularyData, or throws Error (kCorrupt, kUnsupported) whose text opens with `name`. Internal to text/.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "text/vocabulary_data.h"

namespace edgellm::text {

/// A SentencePiece tokenizer.model (a protocol buffer). BPE models only.
VocabularyData ReadSentencePiece(std::span<const std::byte> bytes, std::string_view name);

/// Lines of "base64 rank". The files do not name their special tokens: with `add_known_special`, and where the ranks
/// are Llama 3's in number, its published ones are added, with BOS and EOS; otherwise that is left to the caller.
VocabularyData ReadTiktoken(std::string_view text, std::string_view name, bool add_known_special);

/// True where a file starts as ReadTiktoken expects.
bool LooksLikeTiktoken(std::string_view text);

/// llama2.c: max_token_length, then score, length and bytes of each token until the end.
VocabularyData ReadLlama2c(std::span<const std::byte> bytes, std::string_view name);

}  // namespace edgellm::text
