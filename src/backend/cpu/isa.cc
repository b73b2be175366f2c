// See isa.h. The checks ask the processor and the operating system; they run before any instruction of the set does.
#include "backend/cpu/isa.h"

#include "base/error.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#elif defined(__x86_64__)
#include <cpuid.h>
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
namespace avx512_vbmi {
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

#if defined(__x86_64__)
/// Half-precision conversions; clang 14 does not know them by name.
static bool HasF16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
#endif

std::vector<const KernelTable*> UsableKernels() {
  std::vector<const KernelTable*> usable;
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && HasF16c();
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512vnni");
  if (avx512 && __builtin_cpu_supports("avx512vbmi")) usable.push_back(&avx512_vbmi::Kernels());
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
