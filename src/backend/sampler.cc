// See sampler.h. The order of operations is that of plan/sampling.h.
#include "backend/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "base/philox.h"

namespace edgellm {
namespace {

/// log(sum(exp(logits))), summed in the order of ids.
double LogSumExp(std::span<const float> logits) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float logit : logits) sum += std::exp(static_cast<double>(logit) - highest);
  return highest + std::log(sum);
}

float Highest(std::span<const float> logits) {
  constexpr size_t kLanes = 16;  // independent maxima, so that the loop is done by vectors
  std::array<float, kLanes> highest;
  highest.fill(-std::numeric_limits<float>::infinity());
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      highest[lane] = logits[i + lane] > highest[lane] ? logits[i + lane] : highest[lane];
    }
  }
  for (; i < logits.size(); ++i) highest[0] = std::max(highest[0], logits[i]);
  return *std::max_element(highest.begin(), highest.end());
}

/// The lowest id that has the highest logit.
int32_t LikeliestOf(std::span<const float> logits) {
  const auto found = std::find(logits.begin(), logits.end(), Highest(logits));
  return found == logits.end() ? 0 : static_cast<int32_t>(found - logits.begin());
}

bool HasPenalties(const SamplingParameters& p) {
  return p.repetition_penalty != 1.0f || p.presence_penalty != 0.0f || p.frequency_penalty != 0.0f;
}

}  // namespace

Sampler::Sampler(int vocab)
    : adjusted_(static_cast<size_t>(vocab)),
      candidates_(static_cast<size_t>(vocab)),
      maxima_(static_cast<size_t>(vocab) / kBlock + 1),
      weights_(static_cast<size_t>(vocab)),
      counts_(static_cast<size_t>(vocab)) {}

bool Sampler::Before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

void Sampler::ApplyPenalties(std::span<float> logits, const SamplingRow& row) {
  const SamplingParameters& p = *row.parameters;
  if (HasPenalties(p)) {
    for (int32_t token : row.recent) ++counts_[static_cast<size_t>(token)];
    for (int32_t token : row.recent) {
      int32_t& count = counts_[static_cast<size_t>(token)];
      if (count == 0) continue;  // done at its first occurrence
      float& logit = logits[static_cast<size_t>(token)];
      logit = logit > 0 ? logit / p.repetition_penalty : logit * p.repetition_penalty;
      logit -= p.presence_penalty + p.frequency_penalty * static_cast<float>(count);
      count = 0;
    }
  }
  for (const TokenBias& bias : row.bias) logits[static_cast<size_t>(bias.token)] += bias.bias;
}

size_t Sampler::TakeCandidates(std::span<const float> logits, size_t limit) {
  // The limit-th highest of the blocks' maxima is no higher than the limit-th highest logit: what lies below it is not
  // among the first `limit`.
  float threshold = std::numeric_limits<float>::lowest();  // what is below it has no probability
  const size_t blocks = (logits.size() + kBlock - 1) / kBlock;
  if (limit < blocks) {
    for (size_t b = 0; b < blocks; ++b) {
      maxima_[b] = Highest(logits.subspan(b * kBlock, std::min(kBlock, logits.size() - b * kBlock)));
    }
    const auto nth = maxima_.begin() + static_cast<std::ptrdiff_t>(limit - 1);
    std::nth_element(maxima_.begin(), nth, maxima_.begin() + static_cast<std::ptrdiff_t>(blocks), std::greater<>());
    threshold = std::max(threshold, *nth);
  }
  size_t count = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    candidates_[count] = {logits[i], static_cast<int32_t>(i)};
    count += logits[i] < threshold ? 0 : 1;
  }
  return count;
}

int32_t Sampler::Draw(std::span<const float> logits, const SamplingRow& row) {
  const SamplingParameters& p = *row.parameters;
  // A heap gives candidates in falling order one by one: seldom are more than a few needed of a large vocabulary.
  const auto later = [](const Candidate& a, const Candidate& b) { return Before(b, a); };
  size_t limit = logits.size();
  if (p.top_k > 0) limit = std::min(limit, static_cast<size_t>(p.top_k));
  const bool no_top_k = limit == logits.size();
  const size_t count = TakeCandidates(logits, limit);
  if (count == 0) return -1;
  limit = std::min(limit, count);
  auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(count);
  std::make_heap(candidates_.begin(), end, later);
  const double highest = candidates_.front().logit;
  const double temperature = p.temperature;
  const auto weight_of = [&](float logit) { return std::exp((static_cast<double>(logit) - highest) / temperature); };

  double total = 0;  // of what top-k leaves
  if (no_top_k) {
    for (float logit : logits) total += weight_of(logit);
  }
  size_t kept = 0;
  double cumulative = 0;
  const double wanted = p.top_p < 1.0f ? static_cast<double>(p.top_p) : 2.0;
  const double uniform = PhiloxUniform(row.parameters->seed, row.draw);
  const bool whole_distribution = no_top_k && p.top_p >= 1.0f && p.min_p <= 0.0f;
  if (!no_top_k) {
    // top-k: the sum must be known before top-p can look at shares.
    for (auto last = end; kept < limit; ++kept, --last) {
      std::pop_heap(candidates_.begin(), last, later);
      weights_[kept] = weight_of((last - 1)->logit);
      total += weights_[kept];
    }
    size_t nucleus = 0;
    while (nucleus < kept && (nucleus == 0 || cumulative < wanted * total)) cumulative += weights_[nucleus++];
    kept = nucleus;
  } else {
    for (auto last = end; kept < limit && (kept == 0 || cumulative < wanted * total); ++kept, --last) {
      if (whole_distribution && kept > 0 && cumulative > uniform * total) break;  // the draw falls before this one
      std::pop_heap(candidates_.begin(), last, later);
      weights_[kept] = weight_of((last - 1)->logit);
      if (weights_[kept] < static_cast<double>(p.min_p)) break;  // the first one's weight is 1
      cumulative += weights_[kept];
    }
  }
  while (kept > 1 && weights_[kept - 1] < static_cast<double>(p.min_p)) --kept;

  double remaining = total;
  if (!whole_distribution) {
    remaining = 0;
    for (size_t i = 0; i < kept; ++i) remaining += weights_[i];
  }
  const double target = uniform * remaining;
  double passed = 0;
  size_t chosen = 0;
  for (; chosen + 1 < kept; ++chosen) {
    passed += weights_[chosen];
    if (passed > target) break;
  }
  return (end - 1 - static_cast<std::ptrdiff_t>(chosen))->token;  // popped candidates lie at the end, first one last
}

void Sampler::Report(std::span<const float> logits, const SamplingParameters& parameters, SampledToken* sampled) {
  const size_t asked = static_cast<size_t>(std::clamp(parameters.likeliest, 0, kMostLikeliest));
  if (!parameters.log_probability && asked == 0) return;
  const double all = LogSumExp(logits);
  const auto of = [&](double logit) { return static_cast<float>(logit - all); };
  if (parameters.log_probability) sampled->log_probability = of(logits[static_cast<size_t>(sampled->token)]);
  if (asked == 0) return;
  const size_t count = std::min(asked, logits.size());
  const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(TakeCandidates(logits, count));
  std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(count), end, Before);
  for (size_t i = 0; i < count; ++i) sampled->likeliest[i] = {candidates_[i].token, of(candidates_[i].logit)};
  sampled->likeliest_count = static_cast<int>(count);
}

int32_t Sampler::ApplyAllowed(std::span<const float> logits, std::span<const uint32_t> allowed) {
  constexpr size_t kBits = 32;
  int32_t first = -1;
  std::fill(adjusted_.begin(), adjusted_.end(), -std::numeric_limits<float>::infinity());
  for (size_t i = 0; i * kBits < logits.size(); ++i) {
    for (uint32_t word = allowed[i]; word != 0; word &= word - 1) {
      const size_t token = i * kBits + static_cast<size_t>(std::countr_zero(word));
      if (token >= logits.size()) break;
      adjusted_[token] = logits[token];
      if (first < 0) first = static_cast<int32_t>(token);
    }
  }
  return first;
}

int32_t Sampler::Choose(std::span<const float> logits, const SamplingRow& row) {
  std::span<const float> adjusted = logits;
  int32_t first_allowed = 0;
  const bool changed = HasPenalties(*row.parameters) || !row.bias.empty();
  if (!row.allowed.empty()) {
    first_allowed = ApplyAllowed(logits, row.allowed);
    adjusted = adjusted_;
  } else if (changed) {
    std::copy(logits.begin(), logits.end(), adjusted_.begin());
    adjusted = adjusted_;
  }
  if (first_allowed < 0) return -1;
  if (changed) ApplyPenalties(adjusted_, row);
  const int32_t token = row.parameters->temperature > 0 ? Draw(adjusted, row) : LikeliestOf(adjusted);
  const bool impossible =
      token < 0 || adjusted[static_cast<size_t>(token)] == -std::numeric_limits<float>::infinity();
  return impossible ? first_allowed : token;
}

SampledToken Sampler::Sample(std::span<const float> logits, const SamplingRow& row) {
  SampledToken sampled;
  sampled.token = row.given >= 0 ? row.given : Choose(logits, row);
  if (sampled.token >= 0) Report(logits, *row.parameters, &sampled);
  return sampled;
}

}  // namespace edgellm
