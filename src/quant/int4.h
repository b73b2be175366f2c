// int4: w = scale * (code - 8), or with a zero point w = scale * (code - zero). Codes 0..15; byte j of a row holds code
// 2j in its low and code 2j+1 in its high half (the last high half of an odd row is 0). f16 scale and f16 zero (in
// units of codes) a group. The encoders try a few scales and keep the one with the least squared error, or with
// `search` off take the first; no activations are looked at here.
#pragma once

#include <array>
#include <cmath>
#include <span>

#include "quant/planes.h"

namespace edgellm::int4 {

/// No group is longer; the encoders keep one on the stack.
inline constexpr size_t kLargestGroup = 128;

inline int Code(const std::byte* row, int64_t column) {
  const auto byte = static_cast<unsigned>(row[column / 2]);
  return static_cast<int>(column % 2 == 0 ? byte & 15u : byte >> 4);
}

/// Packs one group's codes. Groups are of even size, so each begins at a byte of its own.
inline void Pack(std::span<const uint8_t> group, std::byte* codes) {
  for (size_t i = 0; i < group.size(); i += 2) {
    const unsigned high = i + 1 < group.size() ? group[i + 1] : 0u;
    codes[i / 2] = static_cast<std::byte>(group[i] | high << 4);
  }
}

inline void DecodeGroup(const std::byte* codes, float scale, float zero, std::span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = scale * (static_cast<float>(Code(codes, static_cast<int64_t>(i))) - zero);
  }
}

/// One way to store a group, and how far it is from the values.
struct Candidate {
  uint16_t scale = 0, zero = 0;
  double squared_error = 0;
  std::array<uint8_t, kLargestGroup> codes{};
};

/// Rounds to the grid that `scale` and `zero` (as stored: f16) span. Written so that compilers make vectors of it: the
/// search over scales is most of the time that quantising takes.
inline Candidate RoundToGrid(std::span<const float> values, uint16_t scale, uint16_t zero_half) {
  constexpr size_t kLanes = 8;
  Candidate result{scale, zero_half, 0, {}};
  const float step = F16ToFloat(scale), zero = F16ToFloat(zero_half);
  const float inverse = step == 0 ? 0.0f : 1.0f / step;
  std::array<float, kLanes> errors{};
  const auto round = [&](size_t i, float& error_sum) {
    float code = RoundHalfEven(values[i] * inverse + zero);
    code = code > 0.0f ? code : 0.0f;  // NaN too
    code = code < 15.0f ? code : 15.0f;
    result.codes[i] = static_cast<uint8_t>(static_cast<int32_t>(code));
    const float error = values[i] - step * (code - zero);
    error_sum += error * error;
  };
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) round(i + lane, errors[lane]);
  }
  for (; i < values.size(); ++i) round(i, errors[i % kLanes]);
  for (const float error : errors) result.squared_error += error;
  return result;
}

/// Keeps a candidate's codes and gives it the scale that fits them best; the zero stays.
inline Candidate RefitScale(std::span<const float> values, const Candidate& source) {
  const double zero = F16ToFloat(source.zero);
  double dot = 0, square = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double offset = source.codes[i] - zero;
    dot += offset * values[i];
    square += offset * offset;
  }
  Candidate result = source;
  if (!(square > 0)) return result;
  result.scale = ToFiniteHalf(static_cast<float>(dot / square));
  result.squared_error = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double error = values[i] - double{F16ToFloat(result.scale)} * (source.codes[i] - zero);
    result.squared_error += error * error;
  }
  return result;
}

inline void KeepBetter(Candidate& best, const Candidate& other) {
  if (other.squared_error < best.squared_error) best = other;
}

/// Symmetric. The value v of largest magnitude goes to code 0 (v / -8, GGML's Q4_0), or somewhat beside it: that trades
/// the error of one outlier for the rounding of all others. Scales may be negative. A group of zeros has scale 0 and
/// codes 8.
inline void EncodeGroup(std::span<const float> values, std::byte* codes, uint16_t* scale, bool search) {
  // Each divisor maps v to code 0 (negative ones) or 15, where decoding finds it again: encoding twice changes nothing.
  static constexpr std::array<float, 6> kDivisors = {-8.0f, -7.5f, -8.5f, -9.0f, 7.0f, 7.5f};
  static constexpr uint16_t kEight = 0x4800;  // f16 of 8
  float largest = 0;
  for (const float x : values) {
    if (std::fabs(x) > std::fabs(largest)) largest = x;
  }
  Candidate best = RoundToGrid(values, ToFiniteHalf(largest / kDivisors[0]), kEight);
  for (size_t i = 1; search && i < kDivisors.size() && best.squared_error > 0; ++i) {
    KeepBetter(best, RoundToGrid(values, ToFiniteHalf(largest / kDivisors[i]), kEight));
  }
  if (search && best.squared_error > 0) KeepBetter(best, RefitScale(values, best));
  *scale = best.scale;
  Pack({best.codes.data(), values.size()}, codes);
}

/// With a zero point: the range of the values, made to hold 0, cut into 15 steps, or a somewhat smaller range. Zeros
/// are whole codes here, so that 0 is kept exactly and encoding twice changes nothing. A group of zeros has scale 0.
inline void EncodeGroup(std::span<const float> values, std::byte* codes, uint16_t* scale, uint16_t* zero, bool search) {
  static constexpr std::array<float, 4> kShares = {1.0f, 0.95f, 0.9f, 0.85f};
  float low = 0, high = 0;
  for (const float x : values) {
    if (x < low) low = x;
    if (x > high) high = x;
  }
  Candidate best;
  for (size_t i = 0; i < kShares.size(); ++i) {
    // Never rounded up (but for the last bits of the division): else the range could miss both end codes, and encoding
    // its values again would find another grid.
    const float wanted = high / 15 * kShares[i] - low / 15 * kShares[i];
    uint16_t step = ToFiniteHalf(wanted);
    if (F16ToFloat(step) > wanted * 1.000001f) --step;
    const float step_value = F16ToFloat(step);
    const uint16_t offset = step_value == 0 ? uint16_t{0} : ToFiniteHalf(RoundHalfEven(-low * kShares[i] / step_value));
    const Candidate candidate = RoundToGrid(values, step, offset);
    if (i == 0) best = candidate;
    KeepBetter(best, candidate);
    if (!search || best.squared_error == 0) break;
  }
  *scale = best.scale;
  *zero = best.zero;
  Pack({best.codes.data(), values.size()}, codes);
}

}  // namespace edgellm::int4
