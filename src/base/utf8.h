// UTF-8: validation, decoding and encoding, by the Unicode Standard's table of well-formed sequences (3-7).
// No locale, no allocation; broken input is reported, never guessed at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace edgellm::utf8 {

/// What stands at the start of a text.
struct Decoded {
  char32_t code_point;                                // U+FFFD when broken or incomplete
  int length;                                         // bytes consumed: >= 1 unless the text is empty
  enum State { kWhole, kIncomplete, kBroken } state;  // kIncomplete: a proper start that the end of the text cuts off
};

/// Decodes the first code point. For broken input, length is that of the maximal ill-formed part (as WHATWG replaces
/// it).
Decoded Decode(std::string_view text);

/// Appends one code point; surrogates and values past U+10FFFF become U+FFFD.
void Append(std::string& out, char32_t code_point);

bool IsValid(std::string_view text);

/// Length of the longest prefix that does not end inside a code point that later bytes could complete.
size_t CompletePrefix(std::string_view text);

/// The text with each ill-formed part replaced by U+FFFD.
std::string Sanitize(std::string_view text);

}  // namespace edgellm::utf8
