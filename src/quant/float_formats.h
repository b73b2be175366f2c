// Floats as weights: f32, f16, bf16. A row is `cols` numbers; there are no scales and no zeros.
#pragma once

#include <span>

#include "base/half.h"
#include "quant/planes.h"

namespace edgellm::float_formats {

struct F32 {
  using Stored = float;
  static float ToFloat(float stored) { return stored; }
  static float FromFloat(float value) { return value; }
};

struct F16 {
  using Stored = uint16_t;
  static float ToFloat(uint16_t stored) { return F16ToFloat(stored); }
  static uint16_t FromFloat(float value) { return FloatToF16(value); }
};

struct Bf16 {
  using Stored = uint16_t;
  static float ToFloat(uint16_t stored) { return Bf16ToFloat(stored); }
  static uint16_t FromFloat(float value) { return FloatToBf16(value); }
};

template <typename Format>
void Decode(const std::byte* codes, std::span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = Format::ToFloat(LoadAt<typename Format::Stored>(codes, static_cast<int64_t>(i)));
  }
}

template <typename Format>
void Encode(std::span<const float> values, std::byte* codes) {
  for (size_t i = 0; i < values.size(); ++i) {
    StoreAt(codes, static_cast<int64_t>(i), Format::FromFloat(values[i]));
  }
}

}  // namespace edgellm::float_formats
