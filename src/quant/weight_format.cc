// Names and sizes of weight formats. What the bytes mean stands in each format's own header.
#include "quant/weight_format.h"

#include <array>
#include <ostream>

#include "base/error.h"

namespace edgellm {
namespace {

constexpr std::array<WeightFormat, 14> kFormats = {{
    {WeightKind::kF32, 0, false},
    {WeightKind::kF16, 0, false},
    {WeightKind::kBf16, 0, false},
    {WeightKind::kInt8, 32, false},
    {WeightKind::kInt8, 64, false},
    {WeightKind::kInt8, 128, false},
    {WeightKind::kInt4, 32, false},
    {WeightKind::kInt4, 64, false},
    {WeightKind::kInt4, 128, false},
    {WeightKind::kInt4, 32, true},
    {WeightKind::kInt4, 64, true},
    {WeightKind::kInt4, 128, true},
    {WeightKind::kTernary, 0, false},
    {WeightKind::kTernary, 256, false},
}};

std::string_view KindName(WeightKind kind) {
  switch (kind) {
    case WeightKind::kF32:
      return "f32";
    case WeightKind::kF16:
      return "f16";
    case WeightKind::kBf16:
      return "bf16";
    case WeightKind::kInt8:
      return "int8";
    case WeightKind::kInt4:
      return "int4";
    case WeightKind::kTernary:
      return "ternary";
  }
  return "?";
}

}  // namespace

std::span<const WeightFormat> AllWeightFormats() {
  return kFormats;
}

std::string WeightFormat::Name() const {
  std::string name(KindName(kind));
  if (group != 0) name += fmt::format("-g{}", group);
  if (zero_point) name += "-z";
  return name;
}

std::ostream& operator<<(std::ostream& out, const WeightFormat& format) {
  return out << format.Name();
}

WeightFormat WeightFormat::Parse(std::string_view name) {
  std::string accepted;
  for (const WeightFormat& format : kFormats) {
    if (format.Name() == name) return format;
    accepted += (accepted.empty() ? "" : ", ") + format.Name();
  }
  Fail(ErrorCode::kInvalidArgument, "no weight format is called '{}'; there are {}", name, accepted);
}

size_t WeightFormat::RowBytes(int64_t cols) const {
  const auto n = static_cast<size_t>(cols);
  switch (kind) {
    case WeightKind::kF32:
      return n * 4;
    case WeightKind::kF16:
    case WeightKind::kBf16:
      return n * 2;
    case WeightKind::kInt8:
      return n;
    case WeightKind::kInt4:
      return n / 2 + n % 2;
    case WeightKind::kTernary:
      return n / 4 + (n % 4 != 0 ? 1 : 0);
  }
  return 0;
}

int64_t WeightFormat::GroupSize(int64_t cols) const {
  return group == 0 ? cols : group;
}

int64_t WeightFormat::Groups(int64_t cols) const {
  if (is_float() || cols == 0) return 0;
  const int64_t size = GroupSize(cols);
  return cols / size + (cols % size != 0 ? 1 : 0);
}

size_t WeightFormat::ScaleBytes() const {
  if (is_float()) return 0;
  return kind == WeightKind::kTernary ? 4 : 2;
}

size_t WeightFormat::TotalBytes(int64_t rows, int64_t cols) const {
  const size_t a_group = ScaleBytes() + (zero_point ? 2 : 0);
  return static_cast<size_t>(rows) * (RowBytes(cols) + static_cast<size_t>(Groups(cols)) * a_group);
}

int64_t WeightFormat::ActivationGroup(int64_t cols) const {
  if (is_float()) return 0;
  return kind == WeightKind::kTernary ? cols : group;
}

}  // namespace edgellm
