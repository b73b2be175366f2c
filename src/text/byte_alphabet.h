// The printable alphabet that byte-level vocabularies are spelled in: every byte is one visible character (a space is
// Ġ, a newline Ċ). Introduced with GPT-2; used by every Hugging Face "ByteLevel" tokenizer and by GGUF's "gpt2"
// vocabularies.
#pragma once

#include <string>
#include <string_view>

namespace edgellm::text {

/// Bytes to their spelling. Any bytes are accepted.
std::string SpellBytes(std::string_view bytes);

/// A spelling to its bytes, into `bytes`. False, and `bytes` unspecified, where a character is not of the alphabet.
bool UnspellBytes(std::string_view spelling, std::string& bytes);

}  // namespace edgellm::text
