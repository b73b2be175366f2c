// Template text to tokens, with the white space control of jinja2 as Hugging Face sets it (trim_blocks, lstrip_blocks).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/jinja_source.h"

namespace edgellm::text::jinja {

struct Token {
  enum class Kind {
    kData,
    kBlockBegin,
    kBlockEnd,
    kOutputBegin,
    kOutputEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd
  };
  Kind kind = Kind::kEnd;
  uint32_t offset = 0;  // into the source's text
  std::string text;     // data after stripping, a string's value, otherwise the spelling (numbers without underscores)
};

/// Ends with a kEnd token. Throws Error(kCorrupt).
std::vector<Token> Tokenize(const Source& source);

}  // namespace edgellm::text::jinja
