// The seam between the engine and a device: one virtual call a forward. A backend binds a plan to weights at load
// (repacking, choosing kernels) and then runs batches; it owns the KV pages and the activations, all taken at load.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "plan/batch.h"
#include "plan/costs.h"
#include "plan/plan.h"
#include "quant/weight_format.h"

namespace edgellm {

/// The memory that a backend takes at load.
struct BackendLimits {
  int batch_tokens = 512;  // most tokens in one Forward
  int logit_rows = 32;     // most logit rows in one Forward
  int pages = 0;           // KV pages of kPageTokens positions, for all sequences together
  int context = 0;         // longest sequence, in positions
  KvType kv = KvType::kF16;
};

struct BackendOptions {
  int threads = 0;  // CPU workers; 0: one per core that this process may use
  std::string isa;  // CPU instruction set by name ("scalar", "avx2", "avx512", "avx512-vbmi", "amx", "neon",
                    // "neon-dotprod"); empty: the best
  std::string
      ternary;  // how the CPU multiplies ternary weights ("dot", "tables", "dense"); empty: what is fastest here
};

/// What was chosen at load, for people.
struct BackendInfo {
  std::string name;  // "cpu", "reference", "cuda"
  std::string isa;   // "avx512", "sm_90", …
  int threads = 1;
  size_t weight_bytes = 0;  // bound weights, as the device holds them
  size_t kv_bytes = 0;
  std::string ternary = {};  // BackendOptions::ternary as it was chosen; empty where there is no choice to make
  double ternary_share = 1;  // bytes that are read for each byte of the model's ternary matrices
  /// What the choice was made by: weights per second of one token, by name; empty where it was given.
  std::vector<std::pair<std::string, double>> ternary_rates = {};
};

/// Where the time of Forwards went, by StepKind.
struct StepTimes {
  std::array<int64_t, kStepKinds> nanoseconds{};
};

class Backend {
 public:
  virtual ~Backend() = default;

  /// Runs the batch to the end. Sizes must be within the limits and ids in range: the engine guarantees it.
  virtual void Forward(const Batch& batch) = 0;

  /// Of the last Forward: one entry per logit row, if the batch asked for sampling.
  virtual std::span<const SampledToken> Sampled() const = 0;

  /// Of the last Forward: logits[vocab] of the i-th logit row.
  virtual std::span<const float> LogitsOf(int logit_row) const = 0;

  /// Of the last Forward: the i-th hidden row's hidden state after the last layer and the final norm, [hidden].
  /// Throws Error(kUnsupported) where the backend has none.
  virtual std::span<const float> HiddenOf(int hidden_row) const;

  /// Copies whole pages (all layers) from first to second, in order.
  virtual void CopyPages(std::span<const std::pair<int32_t, int32_t>> pages) = 0;

  virtual BackendInfo Describe() const = 0;

  /// From now on each Forward adds to `times` what its steps took; null: no longer. A backend that cannot tell adds
  /// nothing.
  virtual void SetStepTimes(StepTimes* /*times*/) {}
};

/// Binds `plan` to `weights` (one per Plan::weights, in that order; shapes must agree). The views' bytes must outlive
/// the backend unless it says that it copied them. Throws Error: kEnvironment (device or instruction set not here),
/// kLimit (memory), kUnsupported (a format or size it cannot run), kCorrupt (shapes do not fit the plan).
using BackendFactory = std::unique_ptr<Backend> (*)(const Plan& plan, std::span<const WeightView> weights,
                                                    const BackendLimits& limits, const BackendOptions& options);

std::unique_ptr<Backend> MakeReferenceBackend(const Plan&, std::span<const WeightView>, const BackendLimits&,
                                              const BackendOptions&);
std::unique_ptr<Backend> MakeCpuBackend(const Plan&, std::span<const WeightView>, const BackendLimits&,
                                        const BackendOptions&);
/// Throws Error(kEnvironment) in a build without CUDA.
std::unique_ptr<Backend> MakeCudaBackend(const Plan&, std::span<const WeightView>, const BackendLimits&,
                                         const BackendOptions&);

/// Bytes of memory that are free on the device that MakeCudaBackend would use; 0 where it would find none.
uint64_t CudaFreeBytes();

/// By name: "auto" (CUDA where there is a usable device with room for the model, else the CPU), "cpu", "cuda",
/// "reference".
std::unique_ptr<Backend> MakeBackend(const std::string& name, const Plan&, std::span<const WeightView>,
                                     const BackendLimits&, const BackendOptions&);

/// Bytes that MakeBackend will take for the KV pages of `limits`.
size_t KvBytes(const Plan& plan, const BackendLimits& limits);

}  // namespace edgellm
