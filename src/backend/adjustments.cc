// See adjustments.h.
#include "backend/adjustments.h"

namespace edgellm {

Penalties PenaltiesOf(const SamplingParameters& p) {
  return {p.repetition_penalty, p.presence_penalty, p.frequency_penalty};
}

Adjustments::Adjustments(int vocab) : places_(static_cast<size_t>(vocab)) {}

TokenAdjustment& Adjustments::At(int32_t token) {
  int32_t& place = places_[static_cast<size_t>(token)];
  if (place == 0) {
    list_.push_back({token, 0, 0.0f});
    place = static_cast<int32_t>(list_.size());
  }
  return list_[static_cast<size_t>(place - 1)];
}

std::span<const TokenAdjustment> Adjustments::Of(const SamplingRow& row) {
  const SamplingParameters& p = *row.parameters;
  list_.clear();
  if (p.repetition_penalty != 1.0f || p.presence_penalty != 0.0f || p.frequency_penalty != 0.0f) {
    for (const int32_t token : row.recent) ++At(token).count;
  }
  for (const TokenBias& bias : row.bias) At(bias.token).bias += bias.bias;
  for (const TokenAdjustment& adjustment : list_) places_[static_cast<size_t>(adjustment.token)] = 0;
  return list_;
}

}  // namespace edgellm
