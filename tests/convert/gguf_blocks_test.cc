// Block codecs against values decoded independently (tests/golden/gguf_blocks.safetensors), and repacks against the
// decoder.
#include "convert/gguf_blocks.h"

#include <cmath>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "model/safetensors.h"
#include "model/weight_table.h"
#include "quant/codec.h"
#include "quant/planes.h"
#include "tests/source_dir.h"

namespace edgellm {
namespace {

constexpr GgufTensorType kBlockTypes[] = {GgufTensorType::kQ8_0, GgufTensorType::kQ4_0, GgufTensorType::kQ4_K,
                                          GgufTensorType::kQ5_K, GgufTensorType::kQ6_K, GgufTensorType::kTQ1_0,
                                          GgufTensorType::kTQ2_0};

class GgufBlocks : public testing::TestWithParam<GgufTensorType> {
 protected:
  void SetUp() override {
    const std::string name(GgufTraits(GetParam()).name);
    const SafetensorsFile golden = ParseSafetensors(file_.bytes(), "gguf_blocks");
    raw_ = golden.tensors.at(name + ".raw").bytes;
    const auto bytes = golden.tensors.at(name + ".values").bytes;
    values_.resize(bytes.size() / sizeof(float));
    std::memcpy(values_.data(), bytes.data(), bytes.size());
  }

  WritableTensor Repacked() const {
    const WeightFormat format = TargetOfGguf(GetParam()).format;
    const auto cols = static_cast<int64_t>(values_.size());
    WritableTensor made = MakeTensor(format, 1, cols, false);
    RepackGgufRow(GetParam(), raw_.data(), cols, made.codes, made.scales, made.zeros);
    return made;
  }

  MappedFile file_{SourceDir() / "tests" / "golden" / "gguf_blocks.safetensors"};
  std::span<const std::byte> raw_;
  std::vector<float> values_;
};

TEST_P(GgufBlocks, DecodeToTheGoldenValues) {
  std::vector<float> got(values_.size());
  DecodeGgufRow(GetParam(), raw_.data(), got);
  EXPECT_EQ(got, values_);
}

TEST_P(GgufBlocks, RepackExactlyOrToTheNearest) {
  const WritableTensor made = Repacked();
  ValidateCodes(made.tensor.view, "golden");
  std::vector<float> got(values_.size());
  DecodeRow(made.tensor.view, 0, got);
  if (TargetOfGguf(GetParam()).is_exact) {
    EXPECT_EQ(got, values_);
    return;
  }
  double error = 0, square = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    error += std::pow(double{got[i]} - values_[i], 2);
    square += std::pow(double{values_[i]}, 2);
  }
  // f16 scales and zeros (Q4_K); 8 bits for 5 or 6 with finer scales.
  EXPECT_LT(std::sqrt(error / square), GetParam() == GgufTensorType::kQ4_K ? 0.001 : 0.006);
}

INSTANTIATE_TEST_SUITE_P(Golden, GgufBlocks, testing::ValuesIn(kBlockTypes),
                         [](const auto& type) { return std::string(GgufTraits(type.param).name); });

/// A Q4_K block of which every part has scale and minimum `scale`, `minimum` (below 16) and code 5.
std::vector<std::byte> UniformQ4_K(uint16_t d, uint16_t dmin, unsigned scale, unsigned minimum) {
  std::vector<std::byte> block(144, std::byte{0x55});
  StoreAt(block.data(), 0, d);
  StoreAt(block.data(), 1, dmin);
  for (size_t i = 0; i < 4; ++i) {
    block[4 + i] = static_cast<std::byte>(scale);
    block[8 + i] = static_cast<std::byte>(minimum);
    block[12 + i] = static_cast<std::byte>(scale | minimum << 4);
  }
  return block;
}

TEST(GgufRepack, Q4_KGroupsWithoutAScaleBecomeConstants) {
  const uint16_t one = FloatToF16(1.0f);
  for (const auto& [d, scale] : {std::pair{one, 0u}, std::pair{uint16_t{0}, 3u}, std::pair{uint16_t{1}, 1u}}) {
    const auto block = UniformQ4_K(d, one, scale, 6);
    std::vector<float> wanted(256), got(256);
    DecodeGgufRow(GgufTensorType::kQ4_K, block.data(), wanted);
    WritableTensor made = MakeTensor({WeightKind::kInt4, 32, true}, 1, 256, false);
    RepackGgufRow(GgufTensorType::kQ4_K, block.data(), 256, made.codes, made.scales, made.zeros);
    DecodeRow(made.tensor.view, 0, got);
    for (size_t i = 0; i < 256; ++i) EXPECT_NEAR(got[i], wanted[i], 0.005f);
    EXPECT_NEAR(wanted[0], -6.0f, 1e-3f);
  }
}

TEST(GgufRepack, ScalesThatAreNoNumbersAreRefusedAfterwards) {
  const uint16_t nan = 0x7e00, inf = 0x7c00, one = FloatToF16(1.0f);
  for (const auto& [d, dmin] : {std::pair{nan, one}, std::pair{inf, one}, std::pair{one, inf}}) {
    const auto block = UniformQ4_K(d, dmin, 1, 1);
    WritableTensor made = MakeTensor({WeightKind::kInt4, 32, true}, 1, 256, false);
    RepackGgufRow(GgufTensorType::kQ4_K, block.data(), 256, made.codes, made.scales, made.zeros);
    EXPECT_THROW(ValidateCodes(made.tensor.view, "w"), Error);
  }
  std::vector<std::byte> q6(210, std::byte{1});
  StoreAt(q6.data() + 208, 0, inf);
  WritableTensor made = MakeTensor({WeightKind::kInt8, 32, false}, 1, 256, false);
  RepackGgufRow(GgufTensorType::kQ6_K, q6.data(), 256, made.codes, made.scales, made.zeros);
  EXPECT_THROW(ValidateCodes(made.tensor.view, "w"), Error);
}

TEST(GgufRepack, TheFourthTernaryPatternIsRefusedAfterwards) {
  std::vector<std::byte> block(66, std::byte{0});
  block[7] = std::byte{0xc0};
  WritableTensor made = MakeTensor({WeightKind::kTernary, 256, false}, 1, 256, false);
  RepackGgufRow(GgufTensorType::kTQ2_0, block.data(), 256, made.codes, made.scales, made.zeros);
  EXPECT_THROW(ValidateCodes(made.tensor.view, "w"), Error);
}

}  // namespace
}  // namespace edgellm
