// The kernels for AVX-512 with VNNI, VBMI and AMX's tiles of bytes (Sapphire Rapids and later): prompts by tiles, all else as
// AVX-512 does it.
#include "backend/cpu/kernel_table.h"

#include <immintrin.h>

namespace edgellm::cpu::amx {
namespace {

constexpr const char* kName = "amx";

#include "backend/cpu/isa/vocabulary_avx512.h"
#include "backend/cpu/isa/vocabulary_amx.h"
#include "backend/cpu/kernels/linear.h"
#include "backend/cpu/kernels/matrix_tiles.h"
#include "backend/cpu/kernels/ternary.h"
#include "backend/cpu/kernels/ternary_tables.h"
#include "backend/cpu/kernels/linear_layer.h"
#include "backend/cpu/kernels/elementwise.h"
#include "backend/cpu/kernels/attention.h"
#include "backend/cpu/kernels/table.h"

}  // namespace

const KernelTable& Kernels() { return kTable; }

}  // namespace edgellm::cpu::amx
