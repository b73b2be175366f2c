// Ranges of code points as ranges of bytes: the sequences of UTF-8 that spell exactly the code points of a range.
// No validation of texts (base/utf8.h has that).
#pragma once

#include <cstdint>
#include <vector>

#include "constrain/grammar.h"

namespace edgellm::constrain {

struct ByteRange {
  uint8_t low, high;
  auto operator<=>(const ByteRange&) const = default;
};

/// One byte range a place, one to four places: any choice of a byte at each place spells a code point of the range.
using ByteSequence = std::vector<ByteRange>;

/// Appends the sequences for a range of scalar values (no surrogates).
void AppendUtf8Sequences(CodePointRange range, std::vector<ByteSequence>* sequences);

}  // namespace edgellm::constrain
