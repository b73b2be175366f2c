// Regular expressions of JSON schemas (`pattern`: ECMA-262) as grammar of the string that they describe, quotes and
// escapes of JSON included. The subset that describes a regular language and needs no look around:
//   literals, . [...] [^...] \d \D \w \W \s \S \t \n \r \f \v \xHH \uHHHH \u{H…} and escaped punctuation
//   (...) (?:...) | * + ? {m} {m,} {m,n}, lazy forms too (they match the same texts)
//   ^ and $ at the ends of the alternatives at the top; without them anything may stand before or after
// All else is refused: look-around, \b, back references, \p, flags.
#pragma once

#include <string_view>

#include "constrain/grammar.h"
#include "constrain/json_parts.h"

namespace edgellm::constrain {

/// A string, with its quotes, that `pattern` matches as JSON Schema means it (somewhere, unless anchored).
/// Throws Error: kInvalidArgument (no regular expression), kUnsupported (outside the subset); kLimit (too long or
/// deep).
ExpressionId CompilePattern(std::string_view pattern, JsonParts* parts);

}  // namespace edgellm::constrain
