// The plain form of activation quantisation: what every kernel's own form must equal to the bit.
#include "quant/activation.h"

#include <algorithm>
#include <cmath>

#include "quant/planes.h"

namespace edgellm {

void QuantizeActivations(std::span<const float> x, int64_t group, float floor, int8_t* codes, float* scales) {
  const auto count = static_cast<int64_t>(x.size());
  for (int64_t begin = 0; begin < count; begin += group) {
    const int64_t end = std::min(count, begin + group);
    float largest = floor;
    for (int64_t i = begin; i < end; ++i) {
      const float magnitude = std::fabs(x[static_cast<size_t>(i)]);
      if (magnitude > largest) largest = magnitude;
    }
    const bool is_zero = largest < kSmallestActivation;
    *scales++ = is_zero ? 0.0f : largest / 127.0f;
    const float factor = is_zero ? 0.0f : 127.0f / largest;
    for (int64_t i = begin; i < end; ++i) {
      codes[i] = is_zero ? int8_t{0} : static_cast<int8_t>(ToCode(x[static_cast<size_t>(i)] * factor, -127, 127));
    }
  }
}

}  // namespace edgellm
