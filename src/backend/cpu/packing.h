// Canonical matrices to the layout that the CPU kernels read (PackedMatrix in kernel_table.h), once, at load.
#pragma once

#include <cstddef>

#include "backend/cpu/kernel_table.h"
#include "base/worker_pool.h"
#include "quant/weight_format.h"

namespace edgellm::cpu {

/// Bytes that a matrix takes when packed: a multiple of 64.
size_t PackedBytes(const WeightView& view);

/// Packs into PackedBytes(view) zeroed bytes at a 64-byte boundary. `view` is not needed afterwards.
PackedMatrix Pack(const WeightView& view, std::byte* memory, WorkerPool& workers);

/// Rounds up to a multiple.
constexpr int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace edgellm::cpu
