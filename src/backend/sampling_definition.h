// The arithmetic of sampling, one for every backend: what a logit weighs, in which order tokens stand, where top-p ends
// and where a draw falls. Weights are integers, so their sums are exact and do not depend on the order in which anybody
// adds them: a device with thousands of threads and a loop on the host take the same token. The order of the steps is
// that of plan/sampling.h; how they are carried out is not said here.
//
// Plain functions that the host and CUDA compile from this one source. No multiplication is fused with an addition.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace edgellm {

/// The likeliest token weighs 2^40, and the weights of eight million tokens are added without overflow. What is less
/// likely than 2^-40 of the likeliest weighs nothing.
inline constexpr int kWeightBits = 40;
inline constexpr uint64_t kFullWeight = uint64_t{1} << kWeightBits;
inline constexpr float kNoLogit = -std::numeric_limits<float>::infinity();

/// What a difference of logits is multiplied by, so that it counts halvings: log2(e) / temperature. 1: of the model's
/// own distribution.
constexpr float WeightScale(float temperature) {
  const float scale = 1.44269504f / temperature;
  return scale < std::numeric_limits<float>::max() ? scale : std::numeric_limits<float>::max();
}

/// 2^(40 - (highest - logit) * scale), rounded down; as floats give it, within 1e-5 of itself and for the likeliest
/// within 1e-6. Nothing for a NaN.
constexpr uint64_t WeightOf(float logit, float highest, float scale) {
  const float halvings = logit == highest ? 0.0f : (highest - logit) * scale;
  if (!(halvings < static_cast<float>(kWeightBits + 1))) return 0;
  const auto whole = static_cast<int32_t>(halvings);
  const float f = halvings - static_cast<float>(whole);
  // 2^-f for f in [0, 1): 1 at 0, within 2e-7 elsewhere.
  float power = 0.000114919952f * f - 0.00129163684f;
  power = power * f + 0.00959703512f;
  power = power * f - 0.0554992296f;
  power = power * f + 0.24022609f;
  power = power * f - 0.693147182f;
  power = power * f + 1.0f;
  constexpr int kFractionBits = 24;
  const auto fraction = static_cast<uint32_t>(power * static_cast<float>(1 << kFractionBits));
  return (uint64_t{fraction} << (kWeightBits - kFractionBits)) >> whole;
}

/// The product, rounded up or down.
constexpr uint64_t ShareOf(double share, uint64_t weight, bool up) {
  const double product = share * static_cast<double>(weight);
  const auto whole = static_cast<uint64_t>(product);
  return up && static_cast<double>(whole) < product ? whole + 1 : whole;
}

/// min-p leaves out what weighs less.
constexpr uint64_t LeastWeight(float min_p) {
  return ShareOf(static_cast<double>(min_p), kFullWeight, /*up=*/true);
}

/// top-p keeps the shortest prefix that weighs so much, of `total`; everything where there is no limit.
constexpr uint64_t WantedWeight(float top_p, uint64_t total) {
  if (!(top_p < 1.0f)) return total;
  const uint64_t wanted = ShareOf(static_cast<double>(top_p), total, /*up=*/true);
  return wanted < 1 ? 1 : wanted < total ? wanted : total;
}

/// The draw takes the first token with which the cumulative weight exceeds this. `uniform` is in [0, 1), `remaining`
/// above 0.
constexpr uint64_t DrawnWeight(double uniform, uint64_t remaining) {
  const uint64_t drawn = ShareOf(uniform, remaining, /*up=*/false);
  return drawn < remaining ? drawn : remaining - 1;
}

/// Integers that compare as the logits do; both zeros are equal, a NaN is minus infinity.
constexpr uint32_t OrderedKey(float logit) {
  constexpr uint32_t kSign = 0x80000000u;
  const auto bits = std::bit_cast<uint32_t>(logit == logit ? (logit == 0 ? 0.0f : logit) : kNoLogit);
  return (bits & kSign) != 0 ? ~bits : bits | kSign;
}
constexpr float LogitOfKey(uint32_t key) {
  constexpr uint32_t kSign = 0x80000000u;
  return std::bit_cast<float>((key & kSign) != 0 ? key ^ kSign : ~key);
}

/// What penalties and bias do to one token's logit, put together for a row.
struct TokenAdjustment {
  int32_t token;
  int32_t count;  // how often it stands among the recent ones; 0: no penalty
  float bias;
};

/// The penalties of SamplingParameters.
struct Penalties {
  float repetition = 1, presence = 0, frequency = 0;
};

constexpr float AdjustedLogit(float logit, const Penalties& penalties, const TokenAdjustment& adjustment) {
  if (adjustment.count > 0) {
    logit = logit > 0 ? logit / penalties.repetition : logit * penalties.repetition;
    logit -= penalties.presence + penalties.frequency * static_cast<float>(adjustment.count);
  }
  return logit + adjustment.bias;
}

/// log(softmax), where `sum` is the sum of all tokens' weights under WeightScale(1). For the host.
inline float LogProbability(float logit, float highest, uint64_t sum) {
  if (!(logit > kNoLogit)) return kNoLogit;
  const double below = logit == highest ? 0.0 : static_cast<double>(logit) - static_cast<double>(highest);
  const double log_sum = std::log(static_cast<double>(sum) / static_cast<double>(kFullWeight));
  return static_cast<float>(below - log_sum);
}

}  // namespace edgellm
