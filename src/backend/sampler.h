// Sampling on the host: one row of logits and its parameters to one token, exactly as plan/sampling.h defines it, with
// the arithmetic of sampling_definition.h. Backends that compute on the host call it where the logits lie; it owns the
// scratch memory that one row needs.
#pragma once

#include <span>
#include <vector>

#include "backend/adjustments.h"
#include "plan/sampling.h"

namespace edgellm {

class Sampler {
 public:
  explicit Sampler(int vocab);

  /// logits[vocab]; ids in `row` must lie within it. A logit of minus infinity, or one that is not a number, is never
  /// drawn while there is another.
  SampledToken Sample(std::span<const float> logits, const SamplingRow& row);

 private:
  struct Candidate {
    float logit;
    int32_t token;
  };

  static constexpr size_t kBlock = 256;  // logits whose maximum stands for them when candidates are looked for

  static bool Before(const Candidate& a, const Candidate& b);
  /// Copies `logits` to adjusted_, and minus infinity where a token is not allowed. Returns the first allowed token, -1
  /// if there is none.
  int32_t ApplyAllowed(std::span<const float> logits, std::span<const uint32_t> allowed);
  /// Fills candidates_ with at least the `limit` first in order, as far as they have a probability; returns how many.
  size_t TakeCandidates(std::span<const float> logits, size_t limit);
  /// -1 when no logit is above minus infinity.
  int32_t Draw(std::span<const float> logits, const SamplingRow& row);
  /// The token of a row that is not given; -1 where none is allowed.
  int32_t Choose(std::span<const float> logits, const SamplingRow& row);
  void Report(std::span<const float> logits, const SamplingParameters& parameters, SampledToken* sampled);

  std::vector<float> adjusted_;        // [vocab], logits after penalties and bias
  std::vector<Candidate> candidates_;  // [vocab], a heap that shrinks as candidates are taken in falling order
  std::vector<float> maxima_;          // [blocks of the vocabulary]
  std::vector<uint64_t> weights_;      // [vocab], of the candidates that were taken, in falling order
  Adjustments adjustments_;
};

}  // namespace edgellm
