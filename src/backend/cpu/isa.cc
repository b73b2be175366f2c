// See isa.h. The checks ask the processor and the operating system; they run before any instruction of the set does.
#include "backend/cpu/isa.h"

#include "base/error.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
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
namespace amx {
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

#if defined(__x86_64__)
/// Whether there are tiles of bytes, and the system keeps them for this process: it wants to be asked first (Linux,
/// Documentation/arch/x86/xstate.rst), before any thread uses them.
static bool AskForTiles() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned kSystemSaves = 1u << 27, kTiles = 1u << 24, kTilesOfBytes = 1u << 25, kTileState = 3u << 17;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & kSystemSaves) == 0) return false;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  if ((edx & kTiles) == 0 || (edx & kTilesOfBytes) == 0) return false;
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & kTileState) != kTileState) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

std::vector<const KernelTable*> UsableKernels() {
  std::vector<const KernelTable*> usable;
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && HasF16c();
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512vnni");
  const bool avx512_vbmi = avx512 && __builtin_cpu_supports("avx512vbmi");
  if (avx512_vbmi && AskForTiles()) usable.push_back(&amx::Kernels());
  if (avx512_vbmi) usable.push_back(&avx512_vbmi::Kernels());
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
