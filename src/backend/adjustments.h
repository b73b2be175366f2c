// Penalties and bias of a row as one short list, a token at most once: what the host and a device apply. Owns the
// counters that it takes.
#pragma once

#include <span>
#include <vector>

#include "backend/sampling_definition.h"
#include "plan/sampling.h"

namespace edgellm {

/// The parameters that act on recent tokens.
Penalties PenaltiesOf(const SamplingParameters& parameters);

class Adjustments {
 public:
  explicit Adjustments(int vocab);

  /// In the order in which tokens are first met: recent ones where there are penalties, then biased ones. Several
  /// biases of a token are added up. Valid until the next call; ids must lie within the vocabulary.
  std::span<const TokenAdjustment> Of(const SamplingRow& row);

 private:
  TokenAdjustment& At(int32_t token);

  std::vector<TokenAdjustment> list_;
  std::vector<int32_t> places_;  // [vocab]: 1 + index in list_; 0 between calls
};

}  // namespace edgellm
