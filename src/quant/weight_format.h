// What a weight matrix can be stored as, and how a stored one is looked at. The canonical layout below is what model
// files hold and what the reference backend reads; backends repack it for their kernels when they bind a plan.
//
// A matrix of `rows` x `cols` (y = W x, x has `cols` values) is up to three row-major planes:
//   codes   [rows][RowBytes(cols)]  the numbers, packed as each kind's header says
//   scales  [rows][Groups(cols)]    f16 for int8 and int4, f32 for ternary; absent for floats
//   zeros   [rows][Groups(cols)]    f16, int4 with zero point only
// Groups run along a row; the last one may be shorter (ragged) when the group does not divide `cols`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <span>
#include <string>
#include <string_view>

namespace edgellm {

enum class WeightKind : uint8_t { kF32, kF16, kBf16, kInt8, kInt4, kTernary };

struct WeightFormat {
  WeightKind kind = WeightKind::kF32;
  int group = 0;  // values that share a scale: 32, 64 or 128 for int8 and int4; 0 (the whole row) or 256 for ternary
  bool zero_point = false;  // int4: w = scale * (code - zero) instead of scale * (code - 8)

  bool operator==(const WeightFormat&) const = default;
  bool is_float() const { return kind <= WeightKind::kBf16; }

  /// "f32" "f16" "bf16" "int8-g32" "int4-g128" "int4-g32-z" "ternary" "ternary-g256".
  std::string Name() const;
  /// The inverse of Name(). Throws Error(kInvalidArgument) listing the accepted names.
  static WeightFormat Parse(std::string_view name);

  size_t RowBytes(int64_t cols) const;    // bytes of codes in a row
  int64_t GroupSize(int64_t cols) const;  // `group`, or cols where the group is the whole row
  int64_t Groups(int64_t cols) const;     // 0 for floats
  size_t ScaleBytes() const;              // bytes of one scale: 0, 2 or 4
  /// Bytes of all planes of a matrix: what one pass over it reads.
  size_t TotalBytes(int64_t rows, int64_t cols) const;
  /// Values of an activation vector that share one scale when it is quantised for this format: the whole row for
  /// ternary (as BitNet b1.58 trains), the weight's own group for int8 and int4, 0 for float weights (activations stay
  /// float).
  int64_t ActivationGroup(int64_t cols) const;
};

/// Its name; for the messages of tests.
std::ostream& operator<<(std::ostream& out, const WeightFormat& format);

/// Every format that a model file may hold: Parse accepts these, the parameterised tests run over these.
std::span<const WeightFormat> AllWeightFormats();

/// A stored matrix, not owned. A vector is a matrix of one row. Pointers are aligned to their element size.
struct WeightView {
  WeightFormat format;
  int64_t rows = 0, cols = 0;
  const std::byte* codes = nullptr;   // [rows][format.RowBytes(cols)]
  const std::byte* scales = nullptr;  // [rows][format.Groups(cols)] f16 or f32
  const std::byte* zeros = nullptr;   // [rows][format.Groups(cols)] f16

  const std::byte* RowCodes(int64_t row) const { return codes + static_cast<size_t>(row) * format.RowBytes(cols); }
  const std::byte* RowScales(int64_t row) const {
    return scales + static_cast<size_t>(row * format.Groups(cols)) * format.ScaleBytes();
  }
  const std::byte* RowZeros(int64_t row) const {
    return zeros == nullptr ? nullptr : zeros + static_cast<size_t>(row * format.Groups(cols)) * 2;
  }
};

}  // namespace edgellm
