// The kernels for 64-bit ARM without the dot product extension (Cortex-A53 and A72: Pi Zero 2 W, Pi 4).
#include "backend/cpu/kernel_table.h"

#include <arm_neon.h>

namespace edgellm::cpu::neon {
namespace {

constexpr const char* kName = "neon";

/// sum[row] += a[4 row ..] . b[4 row ..]; products fit int16, pairs are added into int32.
inline int32x4_t DotQuarter(int32x4_t sum, int8x16_t a, int8x16_t b) {
  const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)));
  const int32x4_t high = vpaddlq_s16(vmull_high_s8(a, b));
  return vaddq_s32(sum, vpaddq_s32(low, high));
}

#include "backend/cpu/isa/vocabulary_neon.h"
#include "backend/cpu/kernels/elementwise.h"
#include "backend/cpu/kernels/attention.h"
#include "backend/cpu/kernels/linear.h"
#include "backend/cpu/kernels/table.h"

}  // namespace

const KernelTable& Kernels() { return kTable; }

}  // namespace edgellm::cpu::neon
