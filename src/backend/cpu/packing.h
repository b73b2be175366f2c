// Canonical matrices to the layout that the CPU kernels read (PackedMatrix in kernel_table.h), once, at load.
#pragma once

#include "backend/cpu/kernel_table.h"
#include "base/buffer.h"
#include "base/worker_pool.h"
#include "quant/weight_format.h"

namespace edgellm::cpu {

/// A packed matrix and the memory that it lies in.
struct BoundMatrix {
  PackedMatrix matrix{};
  Buffer memory;
};

/// `view` is not needed afterwards. Throws Error(kLimit) when memory runs out.
BoundMatrix Pack(const WeightView& view, WorkerPool& workers);

/// Rounds up to a multiple.
constexpr int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace edgellm::cpu
