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

/// Products with codes of at most 2 are small enough that five planes of them, and pairs of those sums, are added as int16.
template <int kPlanes>
inline int32x4_t DotTernaryQuarter(int32x4_t sum, const int8x16_t* a, const int8x16_t* b) {
  int16x8_t low = vmull_s8(vget_low_s8(a[0]), vget_low_s8(b[0]));
  int16x8_t high = vmull_high_s8(a[0], b[0]);
  EDGELLM_UNROLL
  for (int p = 1; p < kPlanes; ++p) {
    low = vmlal_s8(low, vget_low_s8(a[p]), vget_low_s8(b[p]));
    high = vmlal_high_s8(high, a[p], b[p]);
  }
  return vpadalq_s16(sum, vpaddq_s16(low, high));
}

#include "backend/cpu/isa/vocabulary_neon.h"
#include "backend/cpu/kernels/linear.h"
#include "backend/cpu/kernels/panels.h"
#include "backend/cpu/kernels/ternary.h"
#include "backend/cpu/kernels/ternary_tables.h"
#include "backend/cpu/kernels/linear_layer.h"
#include "backend/cpu/kernels/elementwise.h"
#include "backend/cpu/kernels/attention.h"
#include "backend/cpu/kernels/table.h"

}  // namespace

const KernelTable& Kernels() { return kTable; }

}  // namespace edgellm::cpu::neon
