// Numbers in the byte planes of a weight, and the roundings that every format's Encode shares. No format lives here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/half.h"

namespace edgellm {

/// The largest finite f16: scales beyond it are held there, and codes saturate.
inline constexpr float kLargestHalf = 65504.0f;

template <typename T>
T LoadAt(const std::byte* plane, int64_t index) {
  T value;
  std::memcpy(&value, plane + static_cast<size_t>(index) * sizeof(T), sizeof(T));
  return value;
}

template <typename T>
void StoreAt(std::byte* plane, int64_t index, T value) {
  std::memcpy(plane + static_cast<size_t>(index) * sizeof(T), &value, sizeof(T));
}

/// To the nearest integer, ties to even. Exact below 2^22, which is far beyond any code; inf and NaN stay what they
/// are.
inline float RoundHalfEven(float value) {
  constexpr float kMantissaEdge = 12582912.0f;  // 1.5 * 2^23: adding it leaves no fraction bits, and the FPU rounds
  return (value + kMantissaEdge) - kMantissaEdge;
}

/// Rounded and held within [low, high]; NaN gives `low`, so that the conversion is defined for any input.
inline int ToCode(float value, int low, int high) {
  const float rounded = RoundHalfEven(value);
  if (!(rounded > static_cast<float>(low))) return low;
  if (rounded > static_cast<float>(high)) return high;
  return static_cast<int>(rounded);
}

/// The f16 nearest to `value`, which is held within the finite range.
inline uint16_t ToFiniteHalf(float value) {
  if (value > kLargestHalf) value = kLargestHalf;
  if (value < -kLargestHalf) value = -kLargestHalf;
  return FloatToF16(value);
}

}  // namespace edgellm
