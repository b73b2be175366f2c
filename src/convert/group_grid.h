// The grid of one int4 or int8 group, values scale * (code - zero), fitted to weights of which some matter more than
// others. The plain encoders in quant/ know no such weights.
#pragma once

#include <cstdint>
#include <span>

#include "quant/weight_format.h"

namespace edgellm {

/// As stored: scale and zero are f16 values.
struct GroupGrid {
  float scale = 0, zero = 8;
  int low = 0, high = 15;  // codes

  /// Of scale 0.
  static GroupGrid For(const WeightFormat& format);

  /// The nearest code. A scale of 0 stores zeros only: the code is the zero's.
  int8_t Code(float value) const;
  float Value(int8_t code) const { return scale * (static_cast<float>(code) - zero); }
};

/// The grid with the least sum of weights[i] * (value - nearest)^2 among those tried. Without zero
/// point it stays 8 (int4) or 0 (int8).
GroupGrid SearchGrid(std::span<const float> values, std::span<const float> weights, const WeightFormat& format);

/// The f16 value nearest to `value`, held within the finite range.
float AsHalf(float value);

}  // namespace edgellm
