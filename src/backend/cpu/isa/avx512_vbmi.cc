// The kernels for AVX-512 with VNNI and VBMI (Ice Lake, Zen 4 and later): permutations of bytes unpack dense ternary codes.
#include "backend/cpu/kernel_table.h"

#include <immintrin.h>

namespace edgellm::cpu::avx512_vbmi {
namespace {

constexpr const char* kName = "avx512-vbmi";

#include "backend/cpu/isa/vocabulary_avx512.h"
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

}  // namespace edgellm::cpu::avx512_vbmi
