// See bitnet.h.
#include "convert/bitnet.h"

#include <cmath>

#include "quant/codec.h"
#include "quant/planes.h"
#include "quant/ternary.h"

namespace edgellm {
namespace {

constexpr WeightFormat kTernary = {.kind = WeightKind::kTernary};
// The least absmean that the published layer divides by.
constexpr float kSmallestMean = 1e-5f;
constexpr int kCodesInByte = 4;

/// A tensor of zeroed codes with one scale for every row.
WritableTensor MakeTernary(int64_t rows, int64_t cols, float scale) {
  WritableTensor made = MakeTensor(kTernary, rows, cols, /*is_vector=*/false);
  for (int64_t row = 0; row < rows; ++row) StoreAt(made.scales, row, scale);
  return made;
}

/// Calls `body(row, values)` for each row of a float matrix.
template <typename Body>
void ForRows(const WeightView& weights, const Body& body) {
  std::vector<float> values(static_cast<size_t>(weights.cols));
  for (int64_t row = 0; row < weights.rows; ++row) {
    DecodeRow(weights, row, values);
    body(row, std::span<const float>(values));
  }
}

float AbsoluteMean(const WeightView& weights, std::string_view name) {
  double sum = 0;
  ForRows(weights, [&](int64_t, std::span<const float> values) {
    for (const float value : values) sum += std::fabs(static_cast<double>(value));
  });
  if (!std::isfinite(sum)) Fail(ErrorCode::kCorrupt, "{} holds NaN or infinity", name);
  return static_cast<float>(sum / (static_cast<double>(weights.rows) * static_cast<double>(weights.cols)));
}

}  // namespace

bool BitnetScheme::Converts(std::string_view module) const {
  for (const std::string& part : not_converted) {
    if (module.find(part) != std::string_view::npos) return false;
  }
  return module.find("lm_head") == std::string_view::npos;
}

BitnetScheme ReadBitnetScheme(const JsonFields& quantization) {
  const std::string linear = quantization.Text("linear_class", "bitlinear");
  const std::string mode = quantization.Text("quantization_mode", "offline");
  if (linear != "bitlinear" && linear != "autobitlinear") {
    Fail(ErrorCode::kUnsupported, "{}: {} '{}' is not supported (supported: bitlinear, autobitlinear)",
         quantization.name(), quantization.Path("linear_class"), OneLine(linear));
  }
  if (mode != "offline" && mode != "online") {
    Fail(ErrorCode::kUnsupported, "{}: {} '{}' is not supported (supported: offline, online)", quantization.name(),
         quantization.Path("quantization_mode"), OneLine(mode));
  }
  BitnetScheme scheme;
  scheme.online = linear == "autobitlinear" && mode == "online";  // "bitlinear" knows packed weights only
  scheme.divides_by_scale = linear == "bitlinear";
  scheme.not_converted = quantization.Texts("modules_to_not_convert");
  return scheme;
}

Tensor EncodeBitnet(const WeightView& weights, std::string_view name) {
  const float mean = AbsoluteMean(weights, name);
  const float inverse = 1.0f / (mean > kSmallestMean ? mean : kSmallestMean);
  WritableTensor made = MakeTernary(weights.rows, weights.cols, 1.0f / inverse);
  const size_t row_bytes = kTernary.RowBytes(weights.cols);
  ForRows(weights, [&](int64_t row, std::span<const float> values) {
    std::byte* codes = made.codes + static_cast<size_t>(row) * row_bytes;
    for (size_t i = 0; i < values.size(); ++i) {
      ternary::SetCode(codes, static_cast<int64_t>(i), ToCode(values[i] * inverse, -1, 1));
    }
  });
  return made.tensor;
}

Tensor RepackBitnet(std::span<const std::byte> packed, int64_t rows, int64_t cols, float scale, std::string_view name) {
  EDGELLM_CHECK(rows % kCodesInByte == 0 && packed.size() == static_cast<size_t>(rows / kCodesInByte * cols),
                "the caller checks the packed shape");
  WritableTensor made = MakeTernary(rows, cols, scale);
  const size_t row_bytes = kTernary.RowBytes(cols);
  const int64_t packed_rows = rows / kCodesInByte;
  for (int64_t row = 0; row < rows; ++row) {
    const std::byte* source = packed.data() + static_cast<size_t>(row % packed_rows * cols);
    const auto shift = static_cast<unsigned>(2 * (row / packed_rows));
    std::byte* codes = made.codes + static_cast<size_t>(row) * row_bytes;
    for (int64_t column = 0; column < cols; ++column) {
      const unsigned code = static_cast<unsigned>(source[column]) >> shift & 3u;
      if (code == 3)
        Fail(ErrorCode::kCorrupt, "{}: row {}, column {} holds the invalid ternary code 3", name, row, column);
      ternary::SetCode(codes, column, static_cast<int>(code) - 1);
    }
  }
  return made.tensor;
}

Tensor EncodeBitnetCodes(const WeightView& weights, float scale, std::string_view name) {
  WritableTensor made = MakeTernary(weights.rows, weights.cols, scale);
  const size_t row_bytes = kTernary.RowBytes(weights.cols);
  ForRows(weights, [&](int64_t row, std::span<const float> values) {
    for (size_t i = 0; i < values.size(); ++i) {
      const float value = values[i];
      if (value != -1.0f && value != 0.0f && value != 1.0f) {
        Fail(ErrorCode::kUnsupported, "{}: row {} holds {}; offline BitNet weights must be -1, 0 or 1", name, row,
             value);
      }
      ternary::SetCode(made.codes + static_cast<size_t>(row) * row_bytes, static_cast<int64_t>(i),
                       static_cast<int>(value));
    }
  });
  return made.tensor;
}

}  // namespace edgellm
