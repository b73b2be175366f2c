// Turns a stream of token ids into text that can be sent at once: whole UTF-8 only, whatever the tokens cut apart.
#pragma once

#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace edgellm::text {

class StreamDecoder {
 public:
  /// Keeps a reference to `tokenizer`. With `at_text_start`, a leading space that the tokenizer invents is dropped.
  explicit StreamDecoder(const Tokenizer& tokenizer, bool spell_special = false, bool at_text_start = true);

  /// The text that became certain with `id`: always well-formed UTF-8, possibly empty.
  std::string Push(TokenId id);
  /// The same for a token's bytes, where the caller knows better what a special token is.
  std::string PushBytes(std::string_view bytes);

  /// What is left at the end: an unfinished code point becomes U+FFFD.
  std::string Finish();

 private:
  const Tokenizer* tokenizer_;
  bool spell_special_;
  bool at_text_start_;
  std::string pending_;  // at most three bytes of an unfinished code point
};

}  // namespace edgellm::text
