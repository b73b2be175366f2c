// See utf8_ranges.h.
#include "constrain/utf8_ranges.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/utf8.h"

namespace edgellm::constrain {
namespace {

/// Both ends have the same length in UTF-8. Splits until every place can be chosen freely.
void AppendSameLength(CodePointRange range, std::vector<ByteSequence>* sequences) {
  std::string low, high;
  utf8::Append(low, range.low);
  utf8::Append(high, range.high);
  for (size_t place = 1; place < low.size(); ++place) {
    // The code points that differ only in the continuation bytes from `place` on.
    const char32_t mask = (char32_t{1} << (6 * (low.size() - place))) - 1;
    if ((range.low & ~mask) == (range.high & ~mask)) continue;
    if ((range.low & mask) != 0) {
      AppendSameLength({range.low, range.low | mask}, sequences);
      AppendSameLength({(range.low | mask) + 1, range.high}, sequences);
      return;
    }
    if ((range.high & mask) != mask) {
      AppendSameLength({range.low, (range.high & ~mask) - 1}, sequences);
      AppendSameLength({range.high & ~mask, range.high}, sequences);
      return;
    }
  }
  ByteSequence sequence;
  for (size_t place = 0; place < low.size(); ++place) {
    sequence.push_back({static_cast<uint8_t>(low[place]), static_cast<uint8_t>(high[place])});
  }
  sequences->push_back(std::move(sequence));
}

}  // namespace

void AppendUtf8Sequences(CodePointRange range, std::vector<ByteSequence>* sequences) {
  static constexpr std::array<CodePointRange, 4> kLengths = {
      {{0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xFFFF}, {0x10000, 0x10FFFF}}};
  for (const CodePointRange& length : kLengths) {
    const CodePointRange part = {std::max(range.low, length.low), std::min(range.high, length.high)};
    if (part.low <= part.high) AppendSameLength(part, sequences);
  }
}

}  // namespace edgellm::constrain
