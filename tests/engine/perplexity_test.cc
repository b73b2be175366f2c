// Perplexity against its definition, on a backend whose logits are known.
#include "engine/perplexity.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"

namespace edgellm {
namespace {

constexpr int kVocab = 5;

/// The logit of token t after token s at position p; any function will do that tells the three apart.
float LogitOf(int position, int token, int next) {
  return std::sin(static_cast<float>(position * 7 + token * 3 + next));
}

/// Remembers what it was asked to read, and holds the caller to the limits.
class KnownBackend : public Backend {
 public:
  /// All logits are multiplied by `factor`: another model, of the same taste.
  explicit KnownBackend(const BackendLimits& limits, float factor = 1) : limits_(limits), factor_(factor) {}

  void Forward(const Batch& batch) override {
    ASSERT_LE(batch.tokens.size(), static_cast<size_t>(limits_.batch_tokens));
    ASSERT_LE(batch.logit_rows.size(), static_cast<size_t>(limits_.logit_rows));
    ASSERT_EQ(batch.positions.size(), batch.tokens.size());
    for (size_t i = 0; i < batch.tokens.size(); ++i) {
      ASSERT_LT(batch.positions[i], limits_.context);
      ASSERT_LT(batch.positions[i] / kPageTokens, batch.pages_per_sequence);
      if (batch.positions[i] == 0) first_tokens.push_back(batch.tokens[i]);
    }
    logits_.clear();
    for (const int32_t row : batch.logit_rows) {
      for (int next = 0; next < kVocab; ++next) {
        const auto at = static_cast<size_t>(row);
        logits_.push_back(factor_ * LogitOf(batch.positions[at], batch.tokens[at], next));
      }
    }
  }
  std::span<const SampledToken> Sampled() const override { return {}; }
  std::span<const float> LogitsOf(int row) const override {
    return std::span(logits_).subspan(static_cast<size_t>(row) * kVocab, kVocab);
  }
  void CopyPages(std::span<const std::pair<int32_t, int32_t>>) override {}
  BackendInfo Describe() const override { return {}; }

  std::vector<int32_t> first_tokens;

 private:
  BackendLimits limits_;
  float factor_;
  std::vector<float> logits_;
};

std::vector<int32_t> Tokens(int count) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back((i * i + 3 * i) % kVocab);
  return tokens;
}

/// The definition, written out.
Perplexity Expected(std::vector<int32_t> tokens, int window, std::optional<int32_t> bos) {
  std::vector<double> nll;
  const int windows = static_cast<int>(tokens.size()) / window;
  for (int w = 0; w < windows; ++w) {
    int32_t* part = tokens.data() + w * window;
    if (bos) part[0] = *bos;
    for (int p = window / 2; p <= window - 2; ++p) {
      double sum = 0;
      for (int next = 0; next < kVocab; ++next) sum += std::exp(static_cast<double>(LogitOf(p, part[p], next)));
      nll.push_back(std::log(sum) - static_cast<double>(LogitOf(p, part[p], part[p + 1])));
    }
  }
  double mean = 0, squares = 0;
  for (const double value : nll) mean += value / static_cast<double>(nll.size());
  for (const double value : nll) squares += value * value / static_cast<double>(nll.size());
  const double value = std::exp(mean);
  const double error = std::sqrt((squares - mean * mean) / (static_cast<double>(nll.size()) - 1)) * value;
  return {value, error, mean, static_cast<int64_t>(nll.size()), windows, window};
}

class PerplexityWindows : public ::testing::TestWithParam<int> {};

TEST_P(PerplexityWindows, FollowsTheDefinition) {
  const int window = GetParam();
  for (const std::optional<int32_t> bos : {std::optional<int32_t>(), std::optional<int32_t>(4)}) {
    const BackendLimits limits = PerplexityLimits(window, KvType::kF32);
    KnownBackend backend(limits);
    const auto tokens = Tokens(3 * window + window / 2);
    const Perplexity measured = MeasurePerplexity(backend, limits, tokens, {window, bos}, {});
    const Perplexity expected = Expected(tokens, window, bos);
    EXPECT_NEAR(measured.value, expected.value, 1e-6 * expected.value);
    EXPECT_NEAR(measured.standard_error, expected.standard_error, 1e-6);
    EXPECT_NEAR(measured.mean_nll, expected.mean_nll, 1e-6);
    EXPECT_EQ(measured.scored_tokens, expected.scored_tokens);
    EXPECT_EQ(measured.windows, 3);
    EXPECT_EQ(measured.window, window);
    ASSERT_EQ(backend.first_tokens.size(), 3u);
    if (bos) {
      EXPECT_EQ(backend.first_tokens, (std::vector<int32_t>{4, 4, 4}));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, PerplexityWindows, ::testing::Values(4, 5, 17, 128, 129, 512, 1100));

TEST(Divergence, FollowsTheDefinition) {
  constexpr int kWindow = 40;
  const auto tokens = Tokens(3 * kWindow + 7);
  const BackendLimits limits = PerplexityLimits(kWindow, KvType::kF16);
  KnownBackend reference(limits), other(limits, -0.5f);
  const Divergence got = MeasureDivergence(reference, other, limits, tokens, {.window = kWindow, .bos = 1}, {});
  KnownBackend alone(limits);
  EXPECT_EQ(got.reference.value, MeasurePerplexity(alone, limits, tokens, {.window = kWindow, .bos = 1}, {}).value);
  KnownBackend other_alone(limits, -0.5f);
  EXPECT_EQ(got.other.value, MeasurePerplexity(other_alone, limits, tokens, {.window = kWindow, .bos = 1}, {}).value);
  EXPECT_NEAR(got.nll_difference, got.other.mean_nll - got.reference.mean_nll, 1e-12);
  double kl = 0;
  int count = 0;
  for (int window = 0; window < 3; ++window) {
    for (int position = kWindow / 2; position < kWindow - 1; ++position, ++count) {
      const int token = tokens[static_cast<size_t>(window * kWindow + position)];
      double p_sum = 0, q_sum = 0;
      for (int next = 0; next < kVocab; ++next) {
        p_sum += std::exp(static_cast<double>(LogitOf(position, token, next)));
        q_sum += std::exp(-0.5 * static_cast<double>(LogitOf(position, token, next)));
      }
      for (int next = 0; next < kVocab; ++next) {
        const double logit = LogitOf(position, token, next);
        const double p = std::exp(logit) / p_sum, q = std::exp(-0.5 * logit) / q_sum;
        kl += p * std::log(p / q);
      }
    }
  }
  EXPECT_NEAR(got.mean_kl, kl / count, 1e-6);
  EXPECT_GT(got.mean_kl_error, 0);
  EXPECT_EQ(got.top1_agreement, 0);  // what one likes most the other likes least
}

TEST(Divergence, AModelDoesNotDifferFromItself) {
  const BackendLimits limits = PerplexityLimits(64, KvType::kF16);
  KnownBackend first(limits), second(limits);
  const Divergence got = MeasureDivergence(first, second, limits, Tokens(200), {.window = 64, .bos = {}}, {});
  EXPECT_EQ(got.mean_kl, 0);
  EXPECT_EQ(got.nll_difference, 0);
  EXPECT_EQ(got.nll_difference_error, 0);
  EXPECT_EQ(got.top1_agreement, 1);
}

TEST(Perplexity, RefusesATextThatFillsNoWindow) {
  const BackendLimits limits = PerplexityLimits(16, KvType::kF32);
  KnownBackend backend(limits);
  try {
    MeasurePerplexity(backend, limits, Tokens(15), {16, {}}, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "the text has 15 tokens: too few for one window of 16");
  }
}

TEST(Perplexity, ReportsProgressAndStopsWhenThrownAt) {
  const BackendLimits limits = PerplexityLimits(16, KvType::kF32);
  KnownBackend backend(limits);
  uint64_t last = 0;
  MeasurePerplexity(backend, limits, Tokens(64), {16, {}}, [&](std::string_view, uint64_t done, uint64_t total) {
    EXPECT_GE(done, last);
    EXPECT_EQ(total, 64u);
    last = done;
  });
  EXPECT_GT(last, 0u);
  EXPECT_THROW(MeasurePerplexity(backend, limits, Tokens(64), {16, {}}, [](auto, auto, auto) { throw 1; }), int);
}

TEST(Perplexity, LogLikelihoodOfLargeLogits) {
  const std::vector<float> logits = {1000.0f, 999.0f, -1000.0f};
  EXPECT_NEAR(NegativeLogLikelihood(logits, 0), std::log1p(std::exp(-1.0)), 1e-9);
  EXPECT_NEAR(NegativeLogLikelihood(logits, 2), 2000 + std::log1p(std::exp(-1.0)), 1e-6);
}

}  // namespace
}  // namespace edgellm
