// Canonical matrices to the layout that the CPU kernels read (PackedMatrix in kernel_table.h), once, at load.
#pragma once

#include <cstddef>

#include "backend/cpu/kernel_table.h"
#include "base/worker_pool.h"
#include "quant/weight_format.h"

namespace edgellm::cpu {

/// Tiles that are computed together: shares of a matrix had best be multiples of it.
constexpr int64_t TilesAtOnce(Packing packing) {
  return packing == Packing::kTernaryTables ? kTablesTiles : 1;
}

/// A worker's share of the tiles of a matrix, by as many as are computed together.
constexpr Slice ShareOf(const PackedMatrix& matrix, int worker, int workers) {
  const int64_t at_once = TilesAtOnce(matrix.packing);
  const Slice share = SliceOf((matrix.tiles + at_once - 1) / at_once, worker, workers);
  return {share.first * at_once, share.last * at_once < matrix.tiles ? share.last * at_once : matrix.tiles};
}

/// How a matrix of `format` is packed; ternary ones as `ternary` says (kTernary, kTernaryTables or kTernaryDense).
Packing PackingOf(const WeightFormat& format, Packing ternary);

/// Bytes that a matrix takes when packed: a multiple of 64.
size_t PackedBytes(const WeightView& view, Packing packing);

/// What Pack would give in PackedBytes(view, packing) bytes of `memory`, whatever is there.
PackedMatrix Place(const WeightView& view, Packing packing, std::byte* memory);

/// Packs into PackedBytes(view, packing) zeroed bytes at a 64-byte boundary. `view` is not needed afterwards.
PackedMatrix Pack(const WeightView& view, Packing packing, std::byte* memory, WorkerPool& workers);

/// Rounds up to a multiple.
constexpr int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace edgellm::cpu
