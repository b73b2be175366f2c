// The kernels for any machine: plain C++.
#include "backend/cpu/kernel_table.h"

namespace edgellm::cpu::scalar {
namespace {

constexpr const char* kName = "scalar";

#include "backend/cpu/isa/vocabulary_scalar.h"
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

}  // namespace edgellm::cpu::scalar
