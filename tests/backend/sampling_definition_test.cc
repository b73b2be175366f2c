// The arithmetic of sampling: weights against the exponential, keys against the order of floats, and the host's sampler
// against the plainest way to carry the definition out, to the token and to the bit.
#include "backend/sampling_definition.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>
#include <random>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "backend/adjustments.h"
#include "backend/sampler.h"
#include "base/philox.h"
#include "tests/backend/sampling_rows.h"

namespace edgellm {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

TEST(SamplingDefinition, WeightsAreTheExponential) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> below(0, 30), logits(-50, 50);
  for (int i = 0; i < 200000; ++i) {
    const float highest = logits(random), logit = highest - below(random), temperature = i % 2 == 0 ? 1.0f : 0.37f;
    const double wanted = std::exp((static_cast<double>(logit) - highest) / temperature) * 0x1p40;
    const auto got = static_cast<double>(WeightOf(logit, highest, WeightScale(temperature)));
    // One for rounding down, and the rounding of the distance, which counts for more the farther the logit lies below.
    ASSERT_NEAR(got, wanted, 1 + wanted * 8e-6) << logit << " below " << highest << " at " << temperature;
    if (highest - logit < 1) {
      ASSERT_NEAR(got, wanted, 1 + wanted * 6e-7) << logit << " below " << highest;
    }
  }
}

TEST(SamplingDefinition, WeightsAtTheEdges) {
  for (const float scale : {WeightScale(1), WeightScale(1e-42f), WeightScale(1e6f)}) {
    for (const float highest : {0.0f, -3.5f, 3e38f, kInfinity})
      EXPECT_EQ(WeightOf(highest, highest, scale), kFullWeight) << highest;
    EXPECT_EQ(WeightOf(-kInfinity, 1, scale), 0u);
    EXPECT_EQ(WeightOf(kNan, 1, scale), 0u);
    EXPECT_EQ(WeightOf(1, kInfinity, scale), 0u);
    EXPECT_EQ(WeightOf(-0.0f, 0.0f, scale), kFullWeight);
  }
  EXPECT_EQ(WeightOf(-100, 0, WeightScale(1)), 0u);
  EXPECT_EQ(WeightOf(-1, 0, WeightScale(1e-42f)), 0u);
}

TEST(SamplingDefinition, SharesAreRoundedAsTheySay) {
  EXPECT_EQ(WantedWeight(1.0f, 77), 77u);
  EXPECT_EQ(WantedWeight(0.5f, 77), 39u);
  EXPECT_EQ(WantedWeight(0.5f, 78), 39u);
  EXPECT_EQ(WantedWeight(1e-30f, 78), 1u);
  EXPECT_EQ(DrawnWeight(0, 5), 0u);
  EXPECT_EQ(DrawnWeight(0.5, 5), 2u);
  EXPECT_EQ(DrawnWeight(std::nextafter(1.0, 0.0), uint64_t{1} << 62), (uint64_t{1} << 62) - 512);
  EXPECT_EQ(DrawnWeight(std::nextafter(1.0, 0.0), (uint64_t{1} << 62) - 1), (uint64_t{1} << 62) - 512);
  EXPECT_EQ(LeastWeight(0), 0u);
  EXPECT_EQ(LeastWeight(0.25f), kFullWeight / 4);
  EXPECT_EQ(LeastWeight(1), kFullWeight);
}

TEST(SamplingDefinition, KeysCompareAsLogits) {
  const std::vector<float> rising = {
      -kInfinity, -3e38f, -1.5f, -1e-45f, 0.0f, 1e-45f, 1.0f, std::nextafter(1.0f, 2.0f), 3e38f, kInfinity};
  for (size_t i = 0; i < rising.size(); ++i) {
    EXPECT_EQ(LogitOfKey(OrderedKey(rising[i])), rising[i]);
    if (i > 0) {
      EXPECT_LT(OrderedKey(rising[i - 1]), OrderedKey(rising[i])) << rising[i];
    }
  }
  EXPECT_EQ(OrderedKey(-0.0f), OrderedKey(0.0f));
  EXPECT_EQ(OrderedKey(kNan), OrderedKey(-kInfinity));
  EXPECT_EQ(OrderedKey(-kNan), OrderedKey(-kInfinity));
}

TEST(SamplingDefinition, AdjustmentsNameEachTokenOnce) {
  const std::vector<int32_t> recent = {4, 1, 4, 4};
  const std::vector<TokenBias> bias = {{1, 0.5f}, {2, -1.0f}, {2, -2.0f}};
  SamplingParameters p;
  Adjustments adjustments(8);
  const auto list = [&] {
    std::map<int32_t, std::pair<int32_t, float>> map;
    for (const TokenAdjustment& a : adjustments.Of({.parameters = &p, .recent = recent, .bias = bias})) {
      EXPECT_TRUE(map.emplace(a.token, std::pair(a.count, a.bias)).second) << a.token;
    }
    return map;
  };
  const decltype(list()) biased = {{1, {0, 0.5f}}, {2, {0, -3.0f}}},
                         both = {{1, {1, 0.5f}}, {2, {0, -3.0f}}, {4, {3, 0.0f}}};
  EXPECT_EQ(list(), biased) << "no penalties: recent tokens do not matter";
  p.presence_penalty = 1;
  EXPECT_EQ(list(), both);
  EXPECT_EQ(list(), both) << "again";
}

/// The definition with everything sorted and nothing saved.
SampledToken Plainly(const RowCase& row) {
  const SamplingParameters& p = row.parameters;
  const auto count = static_cast<int32_t>(row.logits.size());
  const auto key = [](float logit) { return OrderedKey(logit); };
  const auto first = [&](const std::vector<float>& logits, const auto& usable) {
    std::vector<int32_t> order;
    for (int32_t token = 0; token < count; ++token) {
      if (usable(token)) order.push_back(token);
    }
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return key(logits[static_cast<size_t>(a)]) > key(logits[static_cast<size_t>(b)]);
    });
    return order;
  };
  std::vector<float> adjusted = row.logits;
  Adjustments adjustments(count);
  for (const TokenAdjustment& a : adjustments.Of(row.Row())) {
    adjusted[static_cast<size_t>(a.token)] = AdjustedLogit(adjusted[static_cast<size_t>(a.token)], PenaltiesOf(p), a);
  }
  const auto choose = [&]() -> int32_t {
    const auto order = first(adjusted, [&](int32_t t) {
      return row.allowed.empty() || (row.allowed[static_cast<size_t>(t) / 32] >> (t % 32) & 1u) != 0;
    });
    if (order.empty()) return -1;
    const float highest = LogitOfKey(key(adjusted[static_cast<size_t>(order[0])]));
    if (p.temperature == 0 || highest == -kInfinity) return order[0];
    std::vector<uint64_t> weights;
    for (const int32_t token : order) {
      if (p.top_k > 0 && weights.size() == static_cast<size_t>(p.top_k)) break;
      weights.push_back(WeightOf(adjusted[static_cast<size_t>(token)], highest, WeightScale(p.temperature)));
    }
    const uint64_t wanted = WantedWeight(p.top_p, std::accumulate(weights.begin(), weights.end(), uint64_t{0}));
    uint64_t sum = 0, left = 0;
    for (uint64_t& weight : weights) {
      const bool nucleus = sum < wanted;
      sum += weight;
      if (!nucleus || weight < LeastWeight(p.min_p)) weight = 0;
      left += weight;
    }
    const uint64_t drawn = DrawnWeight(PhiloxUniform(p.seed, row.draw), left);
    sum = 0;
    for (size_t i = 0;; ++i) {
      sum += weights.at(i);
      if (sum > drawn) return order[i];
    }
  };
  SampledToken sampled;
  sampled.token = row.given >= 0 ? row.given : choose();
  if (sampled.token < 0) return sampled;
  const auto order = first(row.logits, [&](int32_t t) { return row.logits[static_cast<size_t>(t)] > -kInfinity; });
  const float highest = order.empty() ? -kInfinity : row.logits[static_cast<size_t>(order[0])];
  uint64_t sum = 0;
  for (const int32_t token : order) sum += WeightOf(row.logits[static_cast<size_t>(token)], highest, WeightScale(1));
  const auto of = [&](int32_t token) { return LogProbability(row.logits[static_cast<size_t>(token)], highest, sum); };
  if (p.log_probability) sampled.log_probability = of(sampled.token);
  sampled.likeliest_count = static_cast<int>(std::min(order.size(), static_cast<size_t>(p.likeliest)));
  for (size_t i = 0; i < static_cast<size_t>(sampled.likeliest_count); ++i)
    sampled.likeliest[i] = {order[i], of(order[i])};
  return sampled;
}

TEST(SamplingDefinition, TheHostsSamplerIsItToTheBit) {
  for (const int vocab : {1, 7, 33, 512, 3000}) {
    RowMaker maker(vocab, static_cast<unsigned>(vocab));
    Sampler sampler(vocab);
    for (int i = 0; i < (vocab < 1000 ? 3000 : 400); ++i) {
      const RowCase row = maker.Make();
      const SampledToken got = sampler.Sample(row.logits, row.Row()), wanted = Plainly(row);
      ASSERT_EQ(got.token, wanted.token) << row.Text();
      ASSERT_EQ(std::bit_cast<uint32_t>(got.log_probability), std::bit_cast<uint32_t>(wanted.log_probability))
          << row.Text();
      ASSERT_EQ(got.likeliest_count, wanted.likeliest_count) << row.Text();
      ASSERT_EQ(got.likeliest, wanted.likeliest) << row.Text();
    }
  }
}

}  // namespace
}  // namespace edgellm
