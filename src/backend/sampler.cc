// See sampler.h. The order of operations is that of plan/sampling.h.
#include "backend/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <limits>

#include "base/philox.h"

namespace edgellm {
namespace {

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

/// The weights of all logits, as far as each is at least `least`.
uint64_t TotalWeight(std::span<const float> logits, float highest, float scale, uint64_t least) {
  uint64_t total = 0;
  for (const float logit : logits) {
    const uint64_t weight = WeightOf(logit, highest, scale);
    total += weight >= least ? weight : 0;
  }
  return total;
}

}  // namespace

Sampler::Sampler(int vocab)
    : adjusted_(static_cast<size_t>(vocab)),
      candidates_(static_cast<size_t>(vocab)),
      maxima_(static_cast<size_t>(vocab) / kBlock + 1),
      weights_(static_cast<size_t>(vocab)),
      adjustments_(vocab) {}

bool Sampler::Before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
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
    count += logits[i] >= threshold ? 1 : 0;  // not where it is not a number
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
  const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(count);
  std::make_heap(candidates_.begin(), end, later);
  const float highest = candidates_.front().logit, scale = WeightScale(p.temperature);
  const uint64_t least = LeastWeight(p.min_p);

  auto last = end;  // what has been popped lies behind it, the first one last
  size_t popped = 0;
  const auto weight_at = [&](size_t place) {
    for (; popped <= place; ++popped, --last) {
      std::pop_heap(candidates_.begin(), last, later);
      weights_[popped] = WeightOf((last - 1)->logit, highest, scale);
    }
    return weights_[place];
  };
  const bool whole_distribution = no_top_k && p.top_p >= 1.0f;
  uint64_t remaining = 0;
  if (whole_distribution) {
    remaining = TotalWeight(logits, highest, scale, least);
  } else {
    uint64_t total = 0;  // of what top-k leaves: it must be known before top-p can look at shares
    if (no_top_k) total = TotalWeight(logits, highest, scale, 0);
    for (size_t i = 0; !no_top_k && i < limit; ++i) total += weight_at(i);
    const uint64_t wanted = WantedWeight(p.top_p, total);
    uint64_t cumulative = 0;
    for (size_t i = 0; i < limit && cumulative < wanted; ++i) {
      const uint64_t weight = weight_at(i);
      cumulative += weight;
      remaining += weight >= least ? weight : 0;
    }
  }
  const uint64_t drawn = DrawnWeight(PhiloxUniform(p.seed, row.draw), remaining);
  uint64_t passed = 0;
  for (size_t i = 0;; ++i) {
    const uint64_t weight = weight_at(i);
    passed += weight >= least ? weight : 0;
    if (passed > drawn) return (end - 1 - static_cast<std::ptrdiff_t>(i))->token;
  }
}

void Sampler::Report(std::span<const float> logits, const SamplingParameters& parameters, SampledToken* sampled) {
  const size_t asked = static_cast<size_t>(std::clamp(parameters.likeliest, 0, kMostLikeliest));
  if (!parameters.log_probability && asked == 0) return;
  const float highest = Highest(logits);
  const uint64_t sum = TotalWeight(logits, highest, WeightScale(1.0f), 0);
  if (parameters.log_probability) {
    sampled->log_probability = LogProbability(logits[static_cast<size_t>(sampled->token)], highest, sum);
  }
  if (asked == 0) return;
  const size_t found = TakeCandidates(logits, std::min(asked, logits.size())), count = std::min(asked, found);
  const auto begin = candidates_.begin();
  std::partial_sort(begin, begin + static_cast<std::ptrdiff_t>(count), begin + static_cast<std::ptrdiff_t>(found),
                    Before);
  for (size_t i = 0; i < count; ++i) {
    sampled->likeliest[i] = {candidates_[i].token, LogProbability(candidates_[i].logit, highest, sum)};
  }
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
  const std::span<const TokenAdjustment> adjustments = adjustments_.Of(row);
  if (!row.allowed.empty()) {
    first_allowed = ApplyAllowed(logits, row.allowed);
    adjusted = adjusted_;
  } else if (!adjustments.empty()) {
    std::copy(logits.begin(), logits.end(), adjusted_.begin());
    adjusted = adjusted_;
  }
  if (first_allowed < 0) return -1;
  const Penalties penalties = PenaltiesOf(*row.parameters);
  for (const TokenAdjustment& adjustment : adjustments) {
    float& logit = adjusted_[static_cast<size_t>(adjustment.token)];
    logit = AdjustedLogit(logit, penalties, adjustment);
  }
  const int32_t token = row.parameters->temperature > 0 ? Draw(adjusted, row) : LikeliestOf(adjusted);
  const bool possible = token >= 0 && adjusted[static_cast<size_t>(token)] > kNoLogit;
  return possible ? token : first_allowed;
}

SampledToken Sampler::Sample(std::span<const float> logits, const SamplingRow& row) {
  SampledToken sampled;
  sampled.token = row.given >= 0 ? row.given : Choose(logits, row);
  if (sampled.token >= 0) Report(logits, *row.parameters, &sampled);
  return sampled;
}

}  // namespace edgellm
