// The kernels for AVX2 with FMA and F16C.
#include "backend/cpu/kernel_table.h"

#include <immintrin.h>

namespace edgellm::cpu::avx2 {
namespace {

constexpr const char* kName = "avx2";

#include "backend/cpu/isa/vocabulary_avx2.h"
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

}  // namespace edgellm::cpu::avx2
