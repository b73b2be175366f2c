// Which backend to make, and what its KV pages will take. See backend.h.
#include "backend/backend.h"

#include "base/error.h"

namespace edgellm {

size_t KvBytes(const Plan& plan, const BackendLimits& limits) {
  const size_t element = limits.kv == KvType::kF32 ? 4 : 2;
  return size_t{2} * static_cast<size_t>(plan.layers) * static_cast<size_t>(limits.pages) * kPageTokens *
         static_cast<size_t>(plan.kv_heads) * static_cast<size_t>(plan.head_dim) * element;
}

std::span<const float> Backend::HiddenOf(int) const {
  Fail(ErrorCode::kUnsupported, "the {} backend gives no hidden states", Describe().name);
}

std::unique_ptr<Backend> MakeBackend(const std::string& name, const Plan& plan, std::span<const WeightView> weights,
                                     const BackendLimits& limits, const BackendOptions& options) {
  if (name == "reference") return MakeReferenceBackend(plan, weights, limits, options);
  if (name == "cpu") return MakeCpuBackend(plan, weights, limits, options);
  if (name == "cuda") return MakeCudaBackend(plan, weights, limits, options);
  if (name != "auto") {
    Fail(ErrorCode::kInvalidArgument, "unknown backend '{}': auto, cpu, cuda and reference are known", name);
  }
  // Whoever names a CPU's instruction set means the CPU.
  if (options.isa.empty()) {
    try {
      return MakeCudaBackend(plan, weights, limits, options);
    } catch (const Error& error) {
      // No device, no room on it, or a size that it has no kernels for: the CPU takes over. The rest is wrong on any
      // backend.
      const bool cpu_may_do = error.code() == ErrorCode::kEnvironment || error.code() == ErrorCode::kLimit ||
                              error.code() == ErrorCode::kUnsupported;
      if (!cpu_may_do) throw;
    }
  }
  return MakeCpuBackend(plan, weights, limits, options);
}

}  // namespace edgellm
