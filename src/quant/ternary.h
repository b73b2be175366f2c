// ternary: w = scale * code, code -1, 0 or 1. Byte j of a row holds codes 4j..4j+3 as code + 1 in bits 0-1, 2-3, 4-5,
// 6-7; the pattern 3 is invalid (refused when a file is loaded), unused patterns at the end of a row are 0. f32 scale a
// group: the whole row (BitNet b1.58) or 256 values (GGML's TQ1_0 and TQ2_0). Source of the rounding: Ma et al., "The
// Era of 1-bit LLMs" (2024), absmean.
#pragma once

#include <cmath>
#include <span>

#include "quant/planes.h"

namespace edgellm::ternary {

/// The least scale, as in BitNet's published code: a matrix of zeros divides by this.
inline constexpr float kSmallestScale = 1e-5f;

/// -1..1; 2 for the invalid pattern.
inline int Code(const std::byte* row, int64_t column) {
  const auto byte = static_cast<unsigned>(row[column / 4]);
  return static_cast<int>(byte >> (2 * (column % 4)) & 3u) - 1;
}

/// Sets a code in a zeroed row.
inline void SetCode(std::byte* row, int64_t column, int code) {
  row[column / 4] |= static_cast<std::byte>(static_cast<unsigned>(code + 1) << (2 * (column % 4)));
}

/// True unless one of the row's `cols` codes is the invalid pattern.
inline bool IsValidRow(const std::byte* row, int64_t cols) {
  unsigned invalid = 0;
  for (int64_t j = 0; j < cols / 4; ++j) {
    const auto byte = static_cast<unsigned>(row[j]);
    invalid |= byte & byte >> 1 & 0x55u;
  }
  for (int64_t i = cols / 4 * 4; i < cols; ++i) invalid |= Code(row, i) == 2 ? 1u : 0u;
  return invalid == 0;
}

/// The scale of a group: its one magnitude where all values that are not 0 share one (then the code is exact), else
/// absmean.
inline float GroupScale(std::span<const float> values) {
  double sum = 0;
  float magnitude = 0;
  bool is_ternary = true;
  for (const float x : values) {
    const float a = std::fabs(x);
    sum += a;
    if (a == 0) continue;
    if (magnitude == 0) magnitude = a;
    is_ternary = is_ternary && a == magnitude;
  }
  if (is_ternary && magnitude > 0) return magnitude;
  const auto mean = static_cast<float>(sum / static_cast<double>(values.size()));
  return mean > kSmallestScale ? mean : kSmallestScale;
}

/// Rounds a group that begins at `column` of a zeroed row, with a given scale.
inline void EncodeGroup(std::span<const float> values, float scale, std::byte* row, int64_t column) {
  for (size_t i = 0; i < values.size(); ++i) {
    SetCode(row, column + static_cast<int64_t>(i), ToCode(values[i] / scale, -1, 1));
  }
}

}  // namespace edgellm::ternary
