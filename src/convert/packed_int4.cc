// See packed_int4.h.
#include "convert/packed_int4.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <nlohmann/json.hpp>

#include "base/half.h"
#include "quant/codec.h"
#include "quant/planes.h"

namespace edgellm {
namespace {

constexpr int64_t kCodesInWord = 8;
constexpr std::array<int64_t, kCodesInWord> kAwqOrder = {0, 2, 4, 6, 1, 3, 5, 7};
constexpr int64_t kLargestGroup = 128;

[[noreturn]] void Refuse(const JsonFields& fields, std::string_view key, const std::string& value,
                         std::string_view supported) {
  Fail(ErrorCode::kUnsupported, "{}: {} {} is not supported ({})", fields.name(), fields.Path(key), OneLine(value),
       supported);
}

void ReadGptq(const JsonFields& fields, PackedInt4Scheme& scheme) {
  const std::string format = fields.Text("checkpoint_format", "gptq");
  if (format != "gptq" && format != "gptq_v2") {
    Refuse(fields, "checkpoint_format", "'" + format + "'", "supported: gptq, gptq_v2");
  }
  scheme.zeros_less_one = format == "gptq";
  scheme.symmetric = fields.Boolean("sym", false);
  if (fields.Has("dynamic") && !fields.Value("dynamic").empty()) {
    Refuse(fields, "dynamic", "with rules for single layers", "all layers must be quantised alike");
  }
}

void ReadAwq(const JsonFields& fields, PackedInt4Scheme& scheme) {
  std::string version = fields.Text("version", "gemm");
  std::transform(version.begin(), version.end(), version.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (version != "gemm") Refuse(fields, "version", "'" + version + "'", "supported: gemm");
  scheme.awq = true;
}

uint32_t WordAt(std::span<const std::byte> words, int64_t index) {
  return LoadAt<uint32_t>(words.data(), index);
}

/// The zero of `row` in the words of its group.
int ZeroAt(const PackedInt4Scheme& scheme, const PackedInt4& packed, int64_t group, int64_t row) {
  const uint32_t word = WordAt(packed.zeros, group * (packed.rows / kCodesInWord) + row / kCodesInWord);
  int64_t place = row % kCodesInWord;
  if (scheme.awq) place = std::find(kAwqOrder.begin(), kAwqOrder.end(), place) - kAwqOrder.begin();
  return static_cast<int>(word >> (4 * place) & 15u);
}

/// [groups][rows], with what the format left out put back.
std::vector<int> ReadZeros(const PackedInt4Scheme& scheme, const PackedInt4& packed, int64_t groups) {
  std::vector<int> zeros;
  bool all_eight = true;
  for (int64_t group = 0; group < groups; ++group) {
    for (int64_t row = 0; row < packed.rows; ++row) {
      zeros.push_back(ZeroAt(scheme, packed, group, row));
      all_eight = all_eight && zeros.back() == 8;
    }
  }
  // Some writers store zeros as they are and still call the format "gptq"; a symmetric matrix whose stored zeros are
  // all 8 can only be theirs.
  if (scheme.zeros_less_one && !(scheme.symmetric && all_eight)) {
    for (int& zero : zeros) ++zero;
  }
  return zeros;
}

void CopyCodes(const PackedInt4Scheme& scheme, const PackedInt4& packed, std::byte* codes) {
  const int64_t row_bytes = packed.cols / 2;
  if (!scheme.awq) {
    // Eight columns of a row, the first in the lowest bits: four bytes of ours as they are.
    for (int64_t word = 0; word < packed.cols / kCodesInWord; ++word) {
      for (int64_t row = 0; row < packed.rows; ++row) {
        StoreAt(codes + row * row_bytes, word, WordAt(packed.words, word * packed.rows + row));
      }
    }
    return;
  }
  for (int64_t column = 0; column < packed.cols; ++column) {
    for (int64_t index = 0; index < packed.rows / kCodesInWord; ++index) {
      const uint32_t word = WordAt(packed.words, column * (packed.rows / kCodesInWord) + index);
      for (int64_t p = 0; p < kCodesInWord; ++p) {
        const int64_t row = index * kCodesInWord + kAwqOrder[static_cast<size_t>(p)];
        const uint32_t code = word >> (4 * p) & 15u;
        codes[row * row_bytes + column / 2] |= static_cast<std::byte>(code << (column % 2 * 4));
      }
    }
  }
}

void RequireOrder(const PackedInt4Scheme& scheme, const PackedInt4& packed, std::string_view where) {
  const int64_t group = scheme.group == 0 ? packed.cols : scheme.group;
  for (int64_t i = 0; i < static_cast<int64_t>(packed.group_index.size() / 4); ++i) {
    if (LoadAt<int32_t>(packed.group_index.data(), i) == i / group) continue;
    Fail(ErrorCode::kUnsupported,
         "{}: its columns are not in the order of their groups (quantised with desc_act); only checkpoints without are "
         "read",
         where);
  }
}

/// As f16, or an error.
uint16_t ExactScale(float scale, int64_t row, int64_t group, std::string_view where) {
  if (!std::isfinite(scale)) {
    Fail(ErrorCode::kCorrupt, "{}: the scale of row {}, group {} is not a finite number", where, row, group);
  }
  const uint16_t half = ToFiniteHalf(scale);
  if (F16ToFloat(half) != scale) {
    Fail(ErrorCode::kUnsupported, "{}: the scale {} of row {}, group {} is no f16 value", where, scale, row, group);
  }
  return half;
}

}  // namespace

std::string PackedInt4Scheme::Name() const {
  return std::string(awq ? "awq" : "gptq") + (group == 0 ? "" : fmt::format("-g{}", group));
}

std::optional<PackedInt4Scheme> ReadPackedInt4Scheme(const JsonFields& quantization) {
  const std::string method = quantization.Text("quant_method");
  if (method != "gptq" && method != "awq") return {};
  PackedInt4Scheme scheme;
  const int64_t bits = quantization.Integer("bits", 1, 64);
  if (bits != 4) Refuse(quantization, "bits", std::to_string(bits), "supported: 4");
  const int64_t group = quantization.Integer("group_size", -1, int64_t{1} << 31);
  if (group == 0) Refuse(quantization, "group_size", "0", "supported: 32, 64, multiples of 128, -1");
  const bool fits = group == -1 || group == 32 || group == 64 || group % kLargestGroup == 0;
  if (!fits) Refuse(quantization, "group_size", std::to_string(group), "supported: 32, 64, multiples of 128, -1");
  scheme.group = group == -1 ? 0 : group;
  method == "awq" ? ReadAwq(quantization, scheme) : ReadGptq(quantization, scheme);
  return scheme;
}

int64_t PackedInt4Groups(const PackedInt4Scheme& scheme, int64_t cols) {
  return scheme.group == 0 ? 1 : (cols + scheme.group - 1) / scheme.group;
}

Tensor RepackInt4(const PackedInt4Scheme& scheme, const PackedInt4& packed, std::string_view where) {
  RequireOrder(scheme, packed, where);
  const int64_t groups = PackedInt4Groups(scheme, packed.cols);
  const std::vector<int> zeros = ReadZeros(scheme, packed, groups);
  const bool symmetric = std::all_of(zeros.begin(), zeros.end(), [](int zero) { return zero == 8; });
  const int64_t group = scheme.group == 0 ? packed.cols : scheme.group;
  const bool kept = scheme.group == 32 || scheme.group == 64;
  const WeightFormat format = {WeightKind::kInt4,
                               kept ? static_cast<int>(scheme.group) : static_cast<int>(kLargestGroup), !symmetric};
  WritableTensor made = MakeTensor(format, packed.rows, packed.cols, /*is_vector=*/false);
  CopyCodes(scheme, packed, made.codes);
  std::vector<float> scales(static_cast<size_t>(groups * packed.rows));
  for (int64_t g = 0; g < groups; ++g) {
    DecodeRow(packed.scales, g,
              std::span(scales).subspan(static_cast<size_t>(g * packed.rows), static_cast<size_t>(packed.rows)));
  }
  const int64_t own_groups = format.Groups(packed.cols);
  for (int64_t row = 0; row < packed.rows; ++row) {
    for (int64_t g = 0; g < own_groups; ++g) {
      const int64_t from = g * format.group / group;
      const auto place = static_cast<size_t>(from * packed.rows + row);
      StoreAt(made.scales, row * own_groups + g, ExactScale(scales[place], row, from, where));
      if (!symmetric) StoreAt(made.zeros, row * own_groups + g, FloatToF16(static_cast<float>(zeros[place])));
    }
  }
  return made.tensor;
}

}  // namespace edgellm
