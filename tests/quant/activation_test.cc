// Activation quantisation by the letter of activation.h: rounding, ties, floors, groups, values that are no numbers.
#include "quant/activation.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace edgellm {
namespace {

struct Quantized {
  std::vector<int8_t> codes;
  std::vector<float> scales;
};

Quantized Quantize(const std::vector<float>& x, int64_t group, float floor = 0) {
  const auto groups = (static_cast<int64_t>(x.size()) + group - 1) / group;
  Quantized result{std::vector<int8_t>(x.size(), 99), std::vector<float>(static_cast<size_t>(groups), -1)};
  QuantizeActivations(x, group, floor, result.codes.data(), result.scales.data());
  return result;
}

TEST(Activation, TiesGoToEven) {
  const auto q = Quantize({127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, -127}, 8);
  EXPECT_EQ(q.codes, (std::vector<int8_t>{127, 0, 2, 2, 0, -2, -2, -127}));
  EXPECT_EQ(q.scales, std::vector<float>{1.0f});
}

TEST(Activation, ZerosAndNearZerosHaveScaleZero) {
  EXPECT_EQ(Quantize({0, -0.0f, 0}, 32).scales, std::vector<float>{0.0f});
  const auto q = Quantize({1e-31f, -1e-40f}, 32);
  EXPECT_EQ(q.scales, std::vector<float>{0.0f});
  EXPECT_EQ(q.codes, (std::vector<int8_t>{0, 0}));
  EXPECT_GT(Quantize({1e-29f}, 32).scales[0], 0.0f);
}

TEST(Activation, TheFloorHoldsTernaryScales) {
  const auto q = Quantize({1e-7f, 0}, 2, kTernaryActivationFloor);
  EXPECT_EQ(q.scales, std::vector<float>{kTernaryActivationFloor / 127.0f});
  EXPECT_EQ(q.codes, (std::vector<int8_t>{1, 0}));
}

TEST(Activation, FollowsItsDefinition) {
  EXPECT_TRUE(rc::check([] {
    const auto group = *rc::gen::element<int64_t>(32, 64, 128, 1000);
    const auto ints = *rc::gen::nonEmpty(rc::gen::container<std::vector<int>>(rc::gen::inRange(-1000000, 1000001)));
    std::vector<float> x;
    for (const int i : ints) x.push_back(static_cast<float>(i) * 1e-4f);
    const auto q = Quantize(x, group);
    for (size_t begin = 0; begin < x.size(); begin += static_cast<size_t>(group)) {
      const size_t end = std::min(x.size(), begin + static_cast<size_t>(group));
      float m = 0;
      for (size_t i = begin; i < end; ++i) m = std::max(m, std::fabs(x[i]));
      RC_ASSERT(q.scales[begin / static_cast<size_t>(group)] == m / 127.0f);
      for (size_t i = begin; i < end; ++i) {
        const float expected = m == 0 ? 0 : std::nearbyint(x[i] * (127.0f / m));
        RC_ASSERT(static_cast<float>(q.codes[i]) == expected);
      }
    }
  }));
}

TEST(Activation, WhatIsNoNumberGivesDefinedCodes) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  for (const float bad : {nan, inf, -inf}) {
    const auto q = Quantize({1, bad, -1}, 32);
    for (const int8_t code : q.codes) EXPECT_GE(code, -127);
  }
}

}  // namespace
}  // namespace edgellm
