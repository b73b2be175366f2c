// int8: w = scale * code. One signed byte a code, -128..127 (this encoder uses -127..127), one f16 scale a group.
// Group size and alignment are those of GGML's Q8_0 when the group is 32; only the planes are apart.
#pragma once

#include <cmath>
#include <span>

#include "quant/planes.h"

namespace edgellm::int8 {

/// One group: scale = f16(absmax / 127), code = round-half-even(x / scale) held within +-127.
/// An absmax past 65504 * 127 saturates (scale 65504); one whose scale rounds to zero gives zeros.
inline void EncodeGroup(std::span<const float> values, std::byte* codes, uint16_t* scale) {
  float largest = 0;
  for (const float x : values) {
    if (std::fabs(x) > largest) largest = std::fabs(x);
  }
  *scale = ToFiniteHalf(largest / 127.0f);
  const float step = F16ToFloat(*scale);
  for (size_t i = 0; i < values.size(); ++i) {
    const int code = step == 0 ? 0 : ToCode(values[i] / step, -127, 127);
    codes[i] = static_cast<std::byte>(code);
  }
}

inline int8_t Code(const std::byte* row, int64_t column) {
  return static_cast<int8_t>(row[column]);
}

inline void DecodeGroup(const std::byte* codes, float scale, std::span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) out[i] = scale * static_cast<float>(static_cast<int8_t>(codes[i]));
}

}  // namespace edgellm::int8
