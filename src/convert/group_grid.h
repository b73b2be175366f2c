// The grid of one int4 group, values scale * (code - zero), fitted to weights of which some matter more than others.
// The plain encoders in quant/int4.h need no such weights and write their planes themselves.
#pragma once

#include <cstdint>
#include <span>

namespace edgellm {

/// As stored: both are f16 values.
struct GroupGrid {
  float scale = 0, zero = 8;

  /// The nearest code, 0 to 15. A scale of 0 stores zeros only: the code is the zero's.
  uint8_t Code(float value) const;
  float Value(uint8_t code) const { return scale * (static_cast<float>(code) - zero); }
};

/// The grid with the least sum of weights[i] * (value - nearest)^2 among those tried. Symmetric: zero stays 8.
GroupGrid SearchGrid(std::span<const float> values, std::span<const float> weights, bool zero_point);

/// The f16 value nearest to `value`, held within the finite range.
float AsHalf(float value);

}  // namespace edgellm
