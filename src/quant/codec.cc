// The switch over weight kinds: rows to floats and back through each format's own header.
#include "quant/codec.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "quant/float_formats.h"
#include "quant/int4.h"
#include "quant/int8.h"
#include "quant/ternary.h"

namespace edgellm {
namespace {

/// Calls `body(group, first column, columns)` for each group of a row.
template <typename Body>
void ForGroups(const WeightFormat& format, int64_t cols, const Body& body) {
  const int64_t size = format.GroupSize(cols), groups = format.Groups(cols);
  for (int64_t g = 0; g < groups; ++g) body(g, g * size, std::min(size, cols - g * size));
}

template <typename T>
std::span<T> Part(std::span<T> row, int64_t begin, int64_t count) {
  return row.subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
}

void EncodeTernary(const WeightFormat& format, std::span<const float> values, std::byte* codes, std::byte* scales) {
  const auto cols = static_cast<int64_t>(values.size());
  std::fill_n(codes, format.RowBytes(cols), std::byte{0});
  ForGroups(format, cols, [&](int64_t g, int64_t begin, int64_t count) {
    const auto part = Part(values, begin, count);
    const float scale = ternary::GroupScale(part);
    ternary::EncodeGroup(part, scale, codes, begin);
    StoreAt(scales, g, scale);
  });
}

void EncodeInteger(const WeightFormat& format, std::span<const float> values, std::byte* codes, std::byte* scales,
                   std::byte* zeros, ScaleChoice choice) {
  const bool search = choice == ScaleChoice::kLeastError;
  ForGroups(format, static_cast<int64_t>(values.size()), [&](int64_t g, int64_t begin, int64_t count) {
    const auto part = Part(values, begin, count);
    uint16_t scale = 0, zero = 0;
    if (format.kind == WeightKind::kInt8) {
      int8::EncodeGroup(part, codes + begin, &scale);
    } else if (format.zero_point) {
      int4::EncodeGroup(part, codes + begin / 2, &scale, &zero, search);
      StoreAt(zeros, g, zero);
    } else {
      int4::EncodeGroup(part, codes + begin / 2, &scale, search);
    }
    StoreAt(scales, g, scale);
  });
}

}  // namespace

void DecodeRow(const WeightView& view, int64_t row, std::span<float> out) {
  const std::byte* codes = view.RowCodes(row);
  switch (view.format.kind) {
    case WeightKind::kF32:
      return float_formats::Decode<float_formats::F32>(codes, out);
    case WeightKind::kF16:
      return float_formats::Decode<float_formats::F16>(codes, out);
    case WeightKind::kBf16:
      return float_formats::Decode<float_formats::Bf16>(codes, out);
    case WeightKind::kInt8:
    case WeightKind::kInt4:
    case WeightKind::kTernary:
      break;
  }
  ForGroups(view.format, view.cols, [&](int64_t g, int64_t begin, int64_t count) {
    const GroupParameters group = DecodeGroup(view, row, g);
    const auto part = Part(out, begin, count);
    if (view.format.kind == WeightKind::kInt8) {
      int8::DecodeGroup(codes + begin, group.scale, part);
    } else if (view.format.kind == WeightKind::kInt4) {
      int4::DecodeGroup(codes + begin / 2, group.scale, group.zero, part);
    } else {
      for (int64_t i = 0; i < count; ++i) {
        part[static_cast<size_t>(i)] = group.scale * static_cast<float>(ternary::Code(codes, begin + i));
      }
    }
  });
}

void DecodeCodes(const WeightView& view, int64_t row, std::span<int8_t> out) {
  EDGELLM_CHECK(!view.format.is_float(), "floats have no codes");
  const std::byte* codes = view.RowCodes(row);
  for (int64_t i = 0; i < view.cols; ++i) {
    int code = 0;
    if (view.format.kind == WeightKind::kInt8) code = int8::Code(codes, i);
    if (view.format.kind == WeightKind::kInt4) code = int4::Code(codes, i);
    if (view.format.kind == WeightKind::kTernary) code = ternary::Code(codes, i);
    out[static_cast<size_t>(i)] = static_cast<int8_t>(code);
  }
}

GroupParameters DecodeGroup(const WeightView& view, int64_t row, int64_t group) {
  const std::byte* scales = view.RowScales(row);
  GroupParameters result;
  if (view.format.kind == WeightKind::kTernary) {
    result.scale = LoadAt<float>(scales, group);
    return result;
  }
  result.scale = F16ToFloat(LoadAt<uint16_t>(scales, group));
  if (view.format.kind == WeightKind::kInt4) {
    result.zero = view.format.zero_point ? F16ToFloat(LoadAt<uint16_t>(view.RowZeros(row), group)) : 8.0f;
  }
  return result;
}

void EncodeRow(const WeightFormat& format, std::span<const float> values, std::byte* codes, std::byte* scales,
               std::byte* zeros, ScaleChoice choice) {
  switch (format.kind) {
    case WeightKind::kF32:
      return float_formats::Encode<float_formats::F32>(values, codes);
    case WeightKind::kF16:
      return float_formats::Encode<float_formats::F16>(values, codes);
    case WeightKind::kBf16:
      return float_formats::Encode<float_formats::Bf16>(values, codes);
    case WeightKind::kInt8:
    case WeightKind::kInt4:
      return EncodeInteger(format, values, codes, scales, zeros, choice);
    case WeightKind::kTernary:
      return EncodeTernary(format, values, codes, scales);
  }
}

void ValidateCodes(const WeightView& view, std::string_view name) {
  if (view.format.is_float()) return;
  const int64_t groups = view.format.Groups(view.cols);
  for (int64_t row = 0; row < view.rows; ++row) {
    for (int64_t g = 0; g < groups; ++g) {
      const GroupParameters group = DecodeGroup(view, row, g);
      if (!std::isfinite(group.scale) || !std::isfinite(group.zero)) {
        Fail(ErrorCode::kCorrupt, "{}: the scale of row {}, group {} is not a finite number", name, row, g);
      }
    }
    if (view.format.kind == WeightKind::kTernary && !ternary::IsValidRow(view.RowCodes(row), view.cols)) {
      Fail(ErrorCode::kCorrupt, "{}: row {} holds a code that is none of -1, 0 and 1", name, row);
    }
  }
}

}  // namespace edgellm
