// See isa.h. The checks ask the processor and the operating system; they run before any instruction of the set does.
#include "backend/cpu/isa.h"

#include "base/error.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace edgellm::cpu {

namespace scalar {
const KernelTable& Kernels();
}
#if defined(__x86_64__)
namespace avx2 {
const KernelTable& Kernels();
}
namespace avx512 {
const KernelTable& Kernels();
}
#elif defined(__aarch64__)
namespace neon {
const KernelTable& Kernels();
}
namespace neon_dotprod {
const KernelTable& Kernels();
}
#endif

std::vector<const KernelTable*> UsableKernels() {
  std::vector<const KernelTable*> usable;
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512vnni");
  if (avx512) usable.push_back(&avx512::Kernels());
  if (avx2) usable.push_back(&avx2::Kernels());
#elif defined(__aarch64__)
  constexpr unsigned long kDotProduct = 1ul << 20;  // HWCAP_ASIMDDP
  if ((getauxval(AT_HWCAP) & kDotProduct) != 0) usable.push_back(&neon_dotprod::Kernels());
  usable.push_back(&neon::Kernels());
#endif
  usable.push_back(&scalar::Kernels());
  return usable;
}

const KernelTable& ChooseKernels(std::string_view name) {
  const std::vector<const KernelTable*> usable = UsableKernels();
  if (name.empty()) return *usable.front();
  std::string names;
  for (const KernelTable* kernels : usable) {
    if (kernels->name == name) return *kernels;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", kernels->name);
  }
  Fail(ErrorCode::kEnvironment, "instruction set '{}' cannot run here; available: {}", name, names);
}

}  // namespace edgellm::cpu
