// The sampler against its definition (plan/sampling.h): a plain re-statement of it on small vocabularies, the
// distribution of many draws by a chi-squared test, and the edges.
#include "backend/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/philox.h"

namespace edgellm {
namespace {

/// The probabilities that the definition leaves after every filter, by id.
std::map<int32_t, double> Distribution(std::vector<float> logits, const SamplingRow& row) {
  const SamplingParameters& p = *row.parameters;
  std::map<int32_t, int> counts;
  for (int32_t token : row.recent) ++counts[token];
  for (const auto& [token, count] : counts) {
    float& logit = logits[static_cast<size_t>(token)];
    logit = logit > 0 ? logit / p.repetition_penalty : logit * p.repetition_penalty;
    logit -= p.presence_penalty + p.frequency_penalty * static_cast<float>(count);
  }
  for (const TokenBias& bias : row.bias) logits[static_cast<size_t>(bias.token)] += bias.bias;
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  if (!row.allowed.empty()) {
    std::erase_if(order,
                  [&](int32_t id) { return (row.allowed[static_cast<size_t>(id) / 32] >> (id % 32) & 1u) == 0; });
  }
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  if (p.temperature == 0) return {{order[0], 1.0}};
  std::vector<double> weights;
  for (int32_t id : order) {
    weights.push_back(
        std::exp((static_cast<double>(logits[static_cast<size_t>(id)]) - logits[static_cast<size_t>(order[0])]) /
                 static_cast<double>(p.temperature)));
  }
  if (p.top_k > 0 && static_cast<size_t>(p.top_k) < weights.size()) weights.resize(static_cast<size_t>(p.top_k));
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (p.top_p < 1) {
    double sum = 0;
    size_t kept = 0;
    while (kept < weights.size() && (kept == 0 || sum < static_cast<double>(p.top_p) * total)) sum += weights[kept++];
    weights.resize(kept);
  }
  while (weights.size() > 1 && weights.back() < static_cast<double>(p.min_p) * weights[0]) weights.pop_back();
  const double left = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::map<int32_t, double> result;
  for (size_t i = 0; i < weights.size(); ++i) result[order[i]] = weights[i] / left;
  return result;
}

void ExpectDrawsFollow(const SamplingParameters& parameters, const std::vector<float>& logits,
                       const std::vector<int32_t>& recent = {}, const std::vector<TokenBias>& bias = {},
                       int draws = 40000, const std::vector<uint32_t>& allowed = {}) {
  Sampler sampler(static_cast<int>(logits.size()));
  SamplingRow row{.parameters = &parameters, .recent = recent, .bias = bias, .allowed = allowed, .draw = 0};
  const auto expected = Distribution(logits, row);
  std::map<int32_t, int> seen;
  for (int i = 0; i < draws; ++i) {
    row.draw = static_cast<uint64_t>(i);
    ++seen[sampler.Sample(logits, row).token];
  }
  double chi_squared = 0;
  for (const auto& [token, probability] : expected) {
    const double mean = probability * draws;
    chi_squared += (seen[token] - mean) * (seen[token] - mean) / std::max(mean, 1e-9);
  }
  for (const auto& [token, count] : seen)
    EXPECT_TRUE(count == 0 || expected.count(token)) << "drew excluded id " << token;
  // The 99.99 % quantile of chi-squared, by Wilson and Hilferty; the draws are fixed by the seed, so this never
  // flickers.
  const double k = std::max<double>(1, static_cast<double>(expected.size()) - 1);
  const double quantile = k * std::pow(1 - 2 / (9 * k) + 3.72 * std::sqrt(2 / (9 * k)), 3);
  EXPECT_LT(chi_squared, quantile + 1e-6);
}

std::vector<float> SomeLogits(int count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, 1.5f);
  std::vector<float> logits(static_cast<size_t>(count));
  for (float& logit : logits) logit = normal(generator);
  return logits;
}

SamplingParameters Plain() {
  SamplingParameters p;
  p.temperature = 1;
  p.top_k = 0;
  p.top_p = 1;
  p.seed = 42;
  return p;
}

TEST(Sampler, DrawsFollowTheWholeDistribution) {
  ExpectDrawsFollow(Plain(), SomeLogits(30, 1));
}

TEST(Sampler, DrawsFollowEachFilter) {
  const auto logits = SomeLogits(30, 2);
  SamplingParameters p = Plain();
  p.temperature = 0.7f;
  ExpectDrawsFollow(p, logits);
  p.top_k = 5;
  ExpectDrawsFollow(p, logits);
  p.top_p = 0.8f;
  ExpectDrawsFollow(p, logits);
  p.top_k = 0;
  ExpectDrawsFollow(p, logits);
  p.min_p = 0.2f;
  ExpectDrawsFollow(p, logits);
  p.top_p = 1;
  ExpectDrawsFollow(p, logits);
}

TEST(Sampler, DrawsFollowPenaltiesAndBias) {
  SamplingParameters p = Plain();
  p.repetition_penalty = 1.4f;
  p.presence_penalty = 0.5f;
  p.frequency_penalty = 0.25f;
  ExpectDrawsFollow(p, SomeLogits(12, 3), {1, 2, 2, 2, 7}, {{3, 2.0f}, {4, -100.0f}});
}

std::vector<uint32_t> Mask(const std::vector<int32_t>& tokens, int vocab) {
  std::vector<uint32_t> mask((static_cast<size_t>(vocab) + 31) / 32, 0);
  for (int32_t token : tokens) mask[static_cast<size_t>(token) / 32] |= uint32_t{1} << (token % 32);
  return mask;
}

TEST(Sampler, DrawsFollowWhatIsAllowed) {
  const auto logits = SomeLogits(70, 12);
  const std::vector<int32_t> tokens = {2, 3, 7, 31, 32, 40, 63, 64, 69};
  SamplingParameters p = Plain();
  const auto check = [&] {
    ExpectDrawsFollow(p, logits, {2, 2, 5}, {{64, 1.5f}, {4, 50.0f}}, 10000, Mask(tokens, 70));
  };
  check();
  p.top_k = 5;
  check();
  p.top_k = 20;  // more than are allowed
  check();
  p.top_p = 0.7f;
  check();
  p.top_k = 0;
  check();
  p.repetition_penalty = 1.5f;
  p.min_p = 0.1f;
  check();
}

TEST(Sampler, NothingThatIsNotAllowedIsEverTaken) {
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> logits = {9, 1, -infinity, 3, -infinity};
  SamplingParameters p = Plain();
  p.log_probability = true;
  for (const float temperature : {0.0f, 1.0f}) {
    p.temperature = temperature;
    const auto sample = [&](const std::vector<int32_t>& tokens, std::span<const TokenBias> bias = {}) {
      const auto mask = Mask(tokens, 5);
      return Sampler(5).Sample(logits, {.parameters = &p, .recent = {}, .bias = bias, .allowed = mask, .draw = 7});
    };
    EXPECT_EQ(sample({1}).token, 1);
    EXPECT_NEAR(sample({1}).log_probability, 1 - std::log(std::exp(9) + std::exp(1) + std::exp(3)), 1e-5)
        << "the model's own";
    EXPECT_EQ(sample({2, 4}).token, 2) << "the model thinks neither possible";
    const std::vector<TokenBias> bias = {{0, 100.0f}};
    EXPECT_EQ(sample({3}, bias).token, 3);
    EXPECT_EQ(sample({}).token, -1) << "nothing is allowed";
  }
}

TEST(Sampler, GreedyTakesTheLowestIdOfEquals) {
  SamplingParameters p = Plain();
  p.temperature = 0;
  p.log_probability = true;
  const std::vector<float> logits = {0, 3, 1, 3};
  const SampledToken sampled = Sampler(4).Sample(logits, {.parameters = &p, .recent = {}, .bias = {}, .draw = 9});
  EXPECT_EQ(sampled.token, 1);
  const double sum = std::exp(0) + std::exp(3) + std::exp(1) + std::exp(3);
  EXPECT_NEAR(sampled.log_probability, 3 - std::log(sum), 1e-6);
}

TEST(Sampler, LargeVocabulariesAreSearchedInBlocks) {
  constexpr int kDraws = 3000;  // each looks at the whole vocabulary
  auto logits = SomeLogits(6000, 8);
  SamplingParameters p = Plain();
  p.top_k = 12;
  ExpectDrawsFollow(p, logits, {}, {}, kDraws);
  // Many equals across blocks: the lowest ids of them belong to the first twelve.
  for (size_t i = 0; i < logits.size(); i += 100) logits[i] = 9.0f;
  ExpectDrawsFollow(p, logits, {}, {}, kDraws);
  p.top_k = 23;  // of 24 blocks
  ExpectDrawsFollow(p, logits, {}, {}, kDraws);
  p.temperature = 0;
  EXPECT_EQ(Sampler(6000).Sample(logits, {.parameters = &p, .recent = {}, .bias = {}, .draw = 9}).token, 0);
}

TEST(Sampler, SeedAndDrawDecideAlone) {
  const auto logits = SomeLogits(50, 4);
  SamplingParameters p = Plain();
  std::vector<int32_t> first, second;
  for (uint64_t draw = 0; draw < 50; ++draw) {
    Sampler used(50);
    first.push_back(used.Sample(logits, {.parameters = &p, .recent = {}, .bias = {}, .draw = draw}).token);
  }
  Sampler sampler(50);
  for (uint64_t draw = 50; draw-- > 0;) {
    second.insert(second.begin(),
                  sampler.Sample(logits, {.parameters = &p, .recent = {}, .bias = {}, .draw = draw}).token);
  }
  EXPECT_EQ(first, second);
  p.seed = 43;
  std::vector<int32_t> other;
  for (uint64_t draw = 0; draw < 50; ++draw) {
    other.push_back(sampler.Sample(logits, {.parameters = &p, .recent = {}, .bias = {}, .draw = draw}).token);
  }
  EXPECT_NE(first, other);
}

RC_GTEST_PROP(Sampler, NeverDrawsWhatTheFiltersExclude, ()) {
  const auto count = *rc::gen::inRange(1, 40);
  const auto logits = SomeLogits(count, *rc::gen::arbitrary<unsigned>());
  SamplingParameters p = Plain();
  p.temperature = static_cast<float>(*rc::gen::inRange(0, 30)) / 10;
  p.top_k = *rc::gen::inRange(0, 45);
  p.top_p = static_cast<float>(*rc::gen::inRange(1, 101)) / 100;
  p.min_p = static_cast<float>(*rc::gen::inRange(0, 100)) / 100;
  p.repetition_penalty = static_cast<float>(*rc::gen::inRange(5, 20)) / 10;
  const auto recent = *rc::gen::container<std::vector<int32_t>>(rc::gen::inRange(0, count));
  auto tokens = *rc::gen::container<std::vector<int32_t>>(rc::gen::inRange(0, count));
  std::vector<uint32_t> mask;
  if (!tokens.empty()) mask = Mask(tokens, count);  // none: all are
  const SamplingRow row{
      .parameters = &p, .recent = recent, .bias = {}, .allowed = mask, .draw = *rc::gen::arbitrary<uint64_t>()};
  const SampledToken sampled = Sampler(count).Sample(logits, row);
  RC_ASSERT(Distribution(logits, row).count(sampled.token) == 1u);
}

RC_GTEST_PROP(Sampler, ReportsTheLikeliestTokensExactly, ()) {
  const auto count = *rc::gen::element(1, 7, 20, 300, 6000);
  auto logits = SomeLogits(count, *rc::gen::arbitrary<unsigned>());
  if (*rc::gen::arbitrary<bool>()) {
    for (float& logit : logits) logit = std::round(logit);  // many equals: then the lower id comes first
  }
  SamplingParameters p = Plain();
  p.log_probability = true;
  p.likeliest = *rc::gen::inRange(0, kMostLikeliest + 1);
  p.temperature = *rc::gen::element(0.0f, 1.0f);
  p.presence_penalty = 3;  // changes what is drawn, not what is reported
  const std::vector<int32_t> recent = {0};
  const int32_t given = *rc::gen::element(-1, count - 1);
  const SampledToken sampled =
      Sampler(count).Sample(logits, {.parameters = &p, .recent = recent, .bias = {}, .draw = 5, .given = given});
  if (given >= 0) RC_ASSERT(sampled.token == given);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  const auto expected = [&](int32_t token) { return logits[static_cast<size_t>(token)] - std::log(sum); };
  RC_ASSERT(std::abs(sampled.log_probability - expected(sampled.token)) < 1e-5);
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  RC_ASSERT(sampled.Likeliest().size() == static_cast<size_t>(std::min(p.likeliest, count)));
  for (size_t i = 0; i < sampled.Likeliest().size(); ++i) {
    RC_ASSERT(sampled.likeliest[i].token == order[i]);
    RC_ASSERT(std::abs(sampled.likeliest[i].log_probability - expected(order[i])) < 1e-5);
  }
}

TEST(Philox, MatchesThePublishedVectors) {
  // Random123's known answers for philox4x32-10.
  EXPECT_EQ(Philox(0, 0, 0), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox(~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

}  // namespace
}  // namespace edgellm
