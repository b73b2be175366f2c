// The canonical codecs: error bounds, stability under a second encoding, ragged rows, extreme values. Every property
// runs over every format.
#include "quant/codec.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/error.h"
#include "quant/planes.h"

namespace edgellm {
namespace {

/// One encoded row that owns its planes.
struct Row {
  std::vector<std::byte> codes, scales, zeros;
  WeightView view;

  Row(const WeightFormat& format, std::span<const float> values) {
    const auto cols = static_cast<int64_t>(values.size());
    const auto groups = static_cast<size_t>(format.Groups(cols));
    // A guard byte behind every plane shows a write past its end.
    codes.assign(format.RowBytes(cols) + 1, std::byte{0x5a});
    scales.assign(groups * format.ScaleBytes() + 1, std::byte{0x5a});
    zeros.assign(format.zero_point ? groups * 2 + 1 : 1, std::byte{0x5a});
    EncodeRow(format, values, codes.data(), scales.data(), zeros.data());
    view = {format, 1, cols, codes.data(), scales.data(), format.zero_point ? zeros.data() : nullptr};
  }
  bool GuardsHold() const {
    return codes.back() == std::byte{0x5a} && scales.back() == std::byte{0x5a} && zeros.back() == std::byte{0x5a};
  }
  std::vector<float> Decoded() const {
    std::vector<float> out(static_cast<size_t>(view.cols));
    DecodeRow(view, 0, out);
    return out;
  }
};

rc::Gen<std::vector<float>> Values() {
  return rc::gen::mapcat(rc::gen::inRange(1, 301), [](int cols) {
    return rc::gen::mapcat(rc::gen::inRange(-3, 4), [cols](int magnitude) {
      const float unit = std::pow(10.0f, static_cast<float>(magnitude));
      return rc::gen::container<std::vector<float>>(
          static_cast<size_t>(cols), rc::gen::map(rc::gen::inRange(-100000, 100001), [unit](int x) {
            // A tenth of the values is exactly zero, some are outliers.
            if (x % 10 == 0) return 0.0f;
            return static_cast<float>(x) * (x % 37 == 0 ? 1e-4f : 1e-5f) * unit;
          }));
    });
  });
}

class EveryFormat : public testing::TestWithParam<WeightFormat> {};

/// The largest error that the rounding of `format` may make on values of a group, given what it chose as scale and
/// zero.
double Bound(const WeightFormat& format, const GroupParameters& group, std::span<const float> values) {
  double largest = 0;
  for (const float x : values) largest = std::max(largest, std::fabs(double{x}));
  switch (format.kind) {
    case WeightKind::kF32:
      return 0;
    case WeightKind::kF16:
      return largest * 0x1p-11 + 0x1p-25;
    case WeightKind::kBf16:
      return largest * 0x1p-8;
    case WeightKind::kInt8:
      return std::fabs(group.scale) * 0.5 * 1.001 + largest * 0x1p-10 + 127 * 0x1p-25;
    // The encoder may clip: then its squared error was still no worse than that of the plain grid, whose step is
    // absmax / 8 (range / 15 with a zero point) and which clips at most one step.
    case WeightKind::kInt4:
      return (format.zero_point ? 2 * largest / 15 : largest / 8) * 1.01 * std::sqrt(values.size());
    case WeightKind::kTernary:
      return std::max(largest, double{group.scale});
  }
  return 0;
}

TEST_P(EveryFormat, DecodedValuesAreWithinTheRoundingOfTheFormat) {
  EXPECT_TRUE(rc::check([&] {
    const auto values = *Values();
    const Row row(GetParam(), values);
    RC_ASSERT(row.GuardsHold());
    const auto decoded = row.Decoded();
    const auto cols = static_cast<int64_t>(values.size());
    for (int64_t i = 0; i < cols; ++i) {
      const int64_t size = GetParam().GroupSize(cols), g = GetParam().is_float() ? 0 : i / size;
      const auto begin = static_cast<size_t>(g * size);
      const auto part =
          GetParam().is_float()
              ? std::span(values).subspan(static_cast<size_t>(i), 1)
              : std::span(values).subspan(begin, std::min<size_t>(static_cast<size_t>(size), values.size() - begin));
      const GroupParameters group = GetParam().is_float() ? GroupParameters{} : DecodeGroup(row.view, 0, g);
      const auto index = static_cast<size_t>(i);
      RC_ASSERT(std::fabs(double{values[index]} - decoded[index]) <= Bound(GetParam(), group, part) + 1e-12);
    }
  }));
}

TEST_P(EveryFormat, EncodingAgainChangesNothing) {
  EXPECT_TRUE(rc::check([&] {
    const auto values = *Values();
    const Row first(GetParam(), values);
    const auto once = first.Decoded();
    const auto cols = static_cast<int64_t>(values.size());
    for (int64_t g = 0; g < GetParam().Groups(cols); ++g) {
      const float scale = std::fabs(DecodeGroup(first.view, 0, g).scale);
      if (scale > 0 && scale < 0x1p-14f) return;  // a subnormal f16 scale is too coarse for this promise
    }
    const auto twice = Row(GetParam(), once).Decoded();
    // BitNet's absmean shrinks with the share of zeros, unless the values are ternary already: then they are kept.
    for (size_t i = 0; i < once.size(); ++i) {
      RC_ASSERT(std::fabs(once[i] - twice[i]) <= 2e-6f * std::fabs(once[i]));
    }
  }));
}

TEST_P(EveryFormat, ZerosStayZero) {
  for (const size_t cols : {1u, 2u, 3u, 31u, 32u, 33u, 127u, 129u, 257u}) {
    const Row row(GetParam(), std::vector<float>(cols, 0.0f));
    EXPECT_TRUE(row.GuardsHold());
    for (const float x : row.Decoded()) EXPECT_EQ(x, 0.0f);
    EXPECT_NO_THROW(ValidateCodes(row.view, "zeros"));
  }
}

TEST_P(EveryFormat, ExtremeValuesNeverGiveNonsense) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  for (const float extreme : {nan, inf, -inf, 3.4e38f, -3.4e38f, 1e-45f, 6e-8f, 1e-7f}) {
    std::vector<float> values(70, extreme);
    values[3] = 1.0f;
    const Row row(GetParam(), values);
    EXPECT_TRUE(row.GuardsHold());
    if (std::isfinite(extreme)) {
      EXPECT_NO_THROW(ValidateCodes(row.view, "extreme"));
    }
  }
}

TEST_P(EveryFormat, CodesAndGroupsExplainTheValues) {
  if (GetParam().is_float()) GTEST_SKIP() << "floats have no codes";
  EXPECT_TRUE(rc::check([&] {
    const auto values = *Values();
    const Row row(GetParam(), values);
    const auto decoded = row.Decoded();
    std::vector<int8_t> codes(values.size());
    DecodeCodes(row.view, 0, codes);
    for (size_t i = 0; i < codes.size(); ++i) {
      const auto g = static_cast<int64_t>(i) / GetParam().GroupSize(row.view.cols);
      const GroupParameters group = DecodeGroup(row.view, 0, g);
      RC_ASSERT(decoded[i] == group.scale * (static_cast<float>(codes[i]) - group.zero));
    }
  }));
}

TEST_P(EveryFormat, RowsAreFoundByTheirIndex) {
  const int64_t cols = 67;
  std::vector<float> first(67, 1.0f), second(67, -1.0f);
  const Row a(GetParam(), first), b(GetParam(), second);
  std::vector<std::byte> codes, scales, zeros;
  for (const Row* row : {&a, &b}) {  // without the guards
    codes.insert(codes.end(), row->codes.begin(), row->codes.end() - 1);
    scales.insert(scales.end(), row->scales.begin(), row->scales.end() - 1);
    zeros.insert(zeros.end(), row->zeros.begin(), row->zeros.end() - 1);
  }
  EXPECT_EQ(GetParam().TotalBytes(2, cols), codes.size() + scales.size() + zeros.size());
  const WeightView both{
      GetParam(), 2, cols, codes.data(), scales.data(), GetParam().zero_point ? zeros.data() : nullptr};
  std::vector<float> out(67);
  DecodeRow(both, 1, out);
  EXPECT_EQ(out, b.Decoded());
  EXPECT_NEAR(out[66], -1.0f, 1e-3f);
}

INSTANTIATE_TEST_SUITE_P(Codec, EveryFormat, testing::ValuesIn(AllWeightFormats().begin(), AllWeightFormats().end()),
                         [](const auto& format) {
                           std::string name = format.param.Name();
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(WeightFormat, NamesAreReadBack) {
  for (const WeightFormat& format : AllWeightFormats()) EXPECT_EQ(WeightFormat::Parse(format.Name()), format);
  EXPECT_EQ(WeightFormat::Parse("int4-g32-z"), (WeightFormat{WeightKind::kInt4, 32, true}));
  for (const char* wrong : {"", "int5", "int8", "int8-g0", "int4-g128-zz", "F32", "ternary-g64"}) {
    try {
      WeightFormat::Parse(wrong);
      ADD_FAILURE() << wrong;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kInvalidArgument);
      EXPECT_NE(std::string(e.what()).find("int8-g128"), std::string::npos);
    }
  }
}

TEST(Int8, RoundsToEvenAndUsesTheWholeRange) {
  // absmax 127 makes the scale 1: what is left is the rounding alone.
  const std::vector<float> values = {127, -127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 0.49f};
  const Row row(WeightFormat::Parse("int8-g32"), values);
  std::vector<int8_t> codes(values.size());
  DecodeCodes(row.view, 0, codes);
  EXPECT_EQ(codes, (std::vector<int8_t>{127, -127, 0, 2, 2, 0, -2, 0}));
}

TEST(Int8, SaturatesPastTheRangeOfItsScale) {
  const Row row(WeightFormat::Parse("int8-g32"), std::vector<float>{1e30f, -1e30f, 0});
  EXPECT_EQ(row.Decoded(), (std::vector<float>{65504.0f * 127, -65504.0f * 127, 0}));
}

TEST(Int4, PacksTheLowHalfFirst) {
  const std::vector<float> values = {-8, 7, 0};
  const Row row(WeightFormat::Parse("int4-g32"), values);
  EXPECT_EQ(row.Decoded(), values);
  EXPECT_EQ(row.codes[0], std::byte{0xf0});
  EXPECT_EQ(row.codes[1], std::byte{0x08});
}

TEST(Int4, IsNeverWorseThanThePlainGrid) {
  EXPECT_TRUE(rc::check([] {
    const auto values = *Values();
    const auto decoded = Row(WeightFormat::Parse("int4-g32"), values).Decoded();
    for (size_t begin = 0; begin < values.size(); begin += 32) {
      const size_t end = std::min(begin + 32, values.size());
      float largest = 0;
      for (size_t i = begin; i < end; ++i) {
        if (std::fabs(values[i]) > std::fabs(largest)) largest = values[i];
      }
      const float scale = F16ToFloat(FloatToF16(largest / -8));
      double plain = 0, ours = 0;
      for (size_t i = begin; i < end; ++i) {
        const float at = scale == 0 ? 0 : scale * static_cast<float>(ToCode(values[i] / scale, -8, 7));
        plain += std::pow(double{values[i]} - at, 2);
        ours += std::pow(double{values[i]} - decoded[i], 2);
      }
      RC_ASSERT(ours <= plain * 1.000001 + 1e-20);
    }
  }));
}

TEST(Int4, ZeroPointFollowsALopsidedGroup) {
  std::vector<float> values(32);
  for (size_t i = 0; i < 32; ++i) values[i] = 0.5f + static_cast<float>(i) / 64;  // 0.5 .. 0.98
  const auto decoded = Row(WeightFormat::Parse("int4-g32-z"), values).Decoded();
  for (size_t i = 0; i < 32; ++i) EXPECT_NEAR(decoded[i], values[i], 0.04);
}

TEST(Ternary, TakesTheAbsmeanAsScale) {
  // mean|w| = 1: 0.4 rounds to 0, 0.6 to 1, 2 is held at 1.
  const std::vector<float> values = {0.4f, -0.6f, 2.0f, -1.0f};
  const Row row(WeightFormat::Parse("ternary"), values);
  std::vector<int8_t> codes(4);
  DecodeCodes(row.view, 0, codes);
  EXPECT_EQ(codes, (std::vector<int8_t>{0, -1, 1, -1}));
  EXPECT_FLOAT_EQ(DecodeGroup(row.view, 0, 0).scale, 1.0f);
  EXPECT_EQ(row.codes[0], std::byte{0b00'10'00'01});
}

TEST(Ternary, KeepsWhatIsTernaryAlready) {
  const std::vector<float> values = {0.25f, 0, -0.25f, 0, 0, 0, 0.25f};
  EXPECT_EQ(Row(WeightFormat::Parse("ternary"), values).Decoded(), values);
}

TEST(ValidateCodes, RefusesTheFourthTernaryPattern) {
  for (const int64_t cols : {1, 3, 4, 5, 130}) {
    for (int64_t bad = 0; bad < cols; ++bad) {
      Row row(WeightFormat::Parse("ternary"), std::vector<float>(static_cast<size_t>(cols), 1.0f));
      EXPECT_NO_THROW(ValidateCodes(row.view, "w"));
      row.codes[static_cast<size_t>(bad / 4)] |= static_cast<std::byte>(3 << (2 * (bad % 4)));
      EXPECT_THROW(ValidateCodes(row.view, "w"), Error);
      row.Decoded();  // meaningless, but defined
    }
  }
}

TEST(ValidateCodes, RefusesScalesThatAreNotFinite) {
  for (const char* name : {"int8-g32", "int4-g32", "int4-g32-z", "ternary"}) {
    Row row(WeightFormat::Parse(name), std::vector<float>(40, 1.0f));
    std::fill(row.scales.begin(), row.scales.end(),
              std::byte{0x7f});  // NaN as f16; as f32 the largest magnitudes' neighbour
    row.scales[2] = row.scales[3] = std::byte{0xff};
    EXPECT_THROW(ValidateCodes(row.view, "w"), Error) << name;
  }
}

}  // namespace
}  // namespace edgellm
