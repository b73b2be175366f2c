// The kernels for 64-bit ARM with the dot product extension (ARMv8.2 and later: Pi 5, Jetson Orin).
#include "backend/cpu/kernel_table.h"

#include <arm_neon.h>

namespace edgellm::cpu::neon_dotprod {
namespace {

constexpr const char* kName = "neon-dotprod";

/// sum[row] += a[4 row ..] . b[4 row ..]
inline int32x4_t DotQuarter(int32x4_t sum, int8x16_t a, int8x16_t b) { return vdotq_s32(sum, a, b); }

template <int kPlanes>
inline int32x4_t DotTernaryQuarter(int32x4_t sum, const int8x16_t* a, const int8x16_t* b) {
  EDGELLM_UNROLL
  for (int p = 0; p < kPlanes; ++p) sum = vdotq_s32(sum, a[p], b[p]);
  return sum;
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

}  // namespace edgellm::cpu::neon_dotprod
