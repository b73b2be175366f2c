// Sampling on the device for the backend: packs the rows' parameters, penalties and masks into one block that is sent
// before a forward, launches the kernels, and reads what they put into host memory. Logits stay on the device.
#pragma once

#include <cstdint>
#include <span>

#include "backend/adjustments.h"
#include "backend/cuda/device.h"
#include "backend/cuda/sample.h"
#include "plan/sampling.h"

namespace edgellm::cuda {

class DeviceSampler {
 public:
  /// `rows`: most logit rows of a forward, with padding. Takes its memory now; more only for rows with very many
  /// penalties.
  DeviceSampler(int vocab, int rows);

  /// Sends what the rows need, padded to `bucket` of them; says which kernels they need. What Sample reads lies at
  /// fixed addresses, so a captured graph of it serves all batches of one bucket and work.
  SampleWork Stage(std::span<const SamplingRow> rows, int bucket, cudaStream_t stream);

  /// Launches (or captures) the kernels over logits[bucket][stride].
  void Sample(const float* logits, size_t stride, int bucket, SampleWork work, const Launch& launch) const;

  /// Once the stream has come so far: the tokens of the rows that were staged.
  void Collect(std::span<const SamplingRow> rows, std::span<SampledToken> sampled) const;

  /// [row], in device memory at a fixed address: the tokens that the last Sample took, for a forward that follows at
  /// once.
  const int32_t* tokens() const { return tokens_.as<int32_t>(); }

 private:
  /// Where the lists and masks of a batch go.
  struct Extras {
    std::byte* host;
    std::byte* device;
    size_t used = 0;
  };

  SampleJob JobOf(const SamplingRow& row, Extras* extras);
  SampleJob ReportOf(const SamplingRow& row) const;
  Extras MakeRoom(std::span<const SamplingRow> rows, size_t jobs_bytes);

  int vocab_;
  Adjustments adjustments_;
  PinnedBuffer staged_, more_staged_;  // jobs and, as far as they fit, extras; extras that do not fit
  DeviceBuffer jobs_, more_;           // the same on the device; jobs_ never moves
  DeviceBuffer states_, scratch_, tokens_;
  PinnedBuffer results_;
};

}  // namespace edgellm::cuda
