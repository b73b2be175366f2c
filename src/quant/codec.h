// Whole rows between floats and any stored format: the one place that switches over kinds. Plain and exact, not fast;
// kernels have their own way to the same numbers, and the tests hold them to these.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "quant/weight_format.h"

namespace edgellm {

/// Values of row `row` as floats: out[view.cols].
void DecodeRow(const WeightView& view, int64_t row, std::span<float> out);

/// The integer codes of a row before any scale: int8 -128..127; int4 0..15; ternary -1..1. out[view.cols].
/// For integer formats only.
void DecodeCodes(const WeightView& view, int64_t row, std::span<int8_t> out);

/// The scale (and, for int4 with zero point, the zero; 8 for int4 without; 0 otherwise) of group `group` of row `row`.
struct GroupParameters {
  float scale = 0, zero = 0;
};
GroupParameters DecodeGroup(const WeightView& view, int64_t row, int64_t group);

/// How int4 groups get their scale: the one with the least squared error among a few, or that of the largest value (or
/// the range) as it is, which is worse and there to be compared with.
enum class ScaleChoice : uint8_t { kLeastError, kLargestValue };

/// Rounds one row of floats to `format`, plainly: int8 by absmax, int4 by absmax (symmetric) or min-max (zero point),
/// ternary by BitNet's absmean of the row. codes/scales/zeros point at that row's part of each plane. A scale past the
/// range of f16 is held there (values beyond 65504 * 127 saturate). What decodes from a row encodes to the same values
/// again, except where an f16 scale is subnormal. NaN or infinity in `values` is the caller's to refuse; here they give
/// unspecified codes, never undefined behaviour.
void EncodeRow(const WeightFormat& format, std::span<const float> values, std::byte* codes, std::byte* scales,
               std::byte* zeros, ScaleChoice choice = ScaleChoice::kLeastError);

/// Throws Error(kCorrupt), naming `name` and the row, where stored bytes mean nothing: a ternary code of 3, a scale or
/// zero that is not finite. Floats are not looked at. For loaders: kernels and decoders rely on it, but never crash
/// without it.
void ValidateCodes(const WeightView& view, std::string_view name);

}  // namespace edgellm
