// RMS norm and quantisation of activations by one block: the same function, hence the same bits, whether a linear layer
// prepares its one token by itself or a kernel of its own does it for a batch. Meaning: quant/activation.h.
#pragma once

#include "backend/cuda/kernels/ptx.cuh"
#include "backend/cuda/tasks.h"

namespace edgellm::cuda {

inline constexpr int kPrepareThreads = 256;
inline constexpr int kPrepareWarps = kPrepareThreads / 32;

/// A value that all threads of the block agree on; `scratch` holds kPrepareWarps floats.
template <typename Reduce>
__device__ __forceinline__ float OverBlock(float value, float* scratch, Reduce reduce) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  value = reduce(value);
  __syncthreads();  // whoever still reads the scratch of an earlier call
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  return reduce(lane < kPrepareWarps ? scratch[lane] : 0.0f);
}

/// Quads (four values) of a row that a thread holds in registers; longer rows are read again.
inline constexpr int kHeldQuads = 4;

/// The thread's first quads of a row, zeros past its end.
struct HeldRow {
  float4 quads[kHeldQuads];
};
__device__ __forceinline__ HeldRow LoadRow(const float* x, int cols) {
  HeldRow row;
#pragma unroll
  for (int j = 0; j < kHeldQuads; ++j) {
    const int quad = threadIdx.x + j * kPrepareThreads;
    row.quads[j] = {0, 0, 0, 0};
    if (quad * 4 < cols) row.quads[j] = reinterpret_cast<const float4*>(x)[quad];
  }
  return row;
}

__device__ __forceinline__ float AddSquares(float4 v, float sum) {
  return fmaf(v.x, v.x, fmaf(v.y, v.y, fmaf(v.z, v.z, fmaf(v.w, v.w, sum))));
}

__device__ __forceinline__ float InverseRms(const HeldRow& row, const float* x, int cols, float epsilon, float* scratch) {
  float sum = 0;
#pragma unroll
  for (int j = 0; j < kHeldQuads; ++j) sum = AddSquares(row.quads[j], sum);
  for (int quad = threadIdx.x + kHeldQuads * kPrepareThreads; quad * 4 < cols; quad += kPrepareThreads) {
    sum = AddSquares(reinterpret_cast<const float4*>(x)[quad], sum);
  }
  sum = OverBlock(sum, scratch, [](float v) { return SumOver(v); });
  return 1.0f / sqrtf(sum / static_cast<float>(cols) + epsilon);
}

/// v normalised, where there is a norm.
__device__ __forceinline__ float4 Normed(const PrepareTask& task, float4 v, float inverse, int quad) {
  if (task.norm == nullptr || quad * 4 >= task.cols) return v;
  const float4 w = reinterpret_cast<const float4*>(task.norm)[quad];
  return {v.x * inverse * w.x, v.y * inverse * w.y, v.z * inverse * w.z, v.w * inverse * w.w};
}

/// The same of a quad that is not held.
__device__ __forceinline__ float4 LoadNormed(const PrepareTask& task, const float* x, float inverse, int quad) {
  if (quad * 4 >= task.cols) return {0, 0, 0, 0};
  return Normed(task, reinterpret_cast<const float4*>(x)[quad], inverse, quad);
}

__device__ __forceinline__ float LargestOf(float4 v) {
  return fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
}

__device__ __forceinline__ uint32_t CodeOf(float x, float factor) {
  const int code = __float2int_rn(x * factor);
  return static_cast<uint32_t>(min(max(code, -127), 127)) & 255u;
}

__device__ __forceinline__ float MaxOverLanes(float x, int lanes) {
  for (int offset = lanes / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, offset));
  return x;
}

/// Where the codes of a row go: `words` + block * block_words is the place of the 64 bytes of this row's block (16 bytes
/// of lane t = 0..3 in turn); scales and sums are `step` apart.
struct PreparedRow {
  uint32_t* words;
  int block_words;
  float* scales;
  int32_t* sums;
  int step;
};

/// Quantises four values, of a group that lies within the warp or of a row whose largest value is known.
__device__ __forceinline__ void QuantiseQuad(const PrepareTask& task, float4 v, int quad, int quads, float largest_of_row,
                                             const PreparedRow& to) {
  constexpr float kSmallest = 1e-30f;
  const bool whole = task.group == 0;
  const int shift = whole ? 5 : __ffs(task.group / 4) - 1, lanes = 1 << shift;  // that share a group
  const float largest = whole ? largest_of_row : MaxOverLanes(fmaxf(task.floor, LargestOf(v)), lanes);
  const bool zero = largest < kSmallest;
  const float factor = zero ? 0.0f : 127.0f / largest;
  const uint32_t word = CodeOf(v.x, factor) | CodeOf(v.y, factor) << 8 | CodeOf(v.z, factor) << 16 | CodeOf(v.w, factor) << 24;
  const bool first = !whole && (quad & (lanes - 1)) == 0 && quad * 4 < task.cols;
  if (first) to.scales[(quad >> shift) * to.step] = zero ? 0.0f : largest / 127.0f;
  if (quad < quads) {
    const int within = quad % 16;
    to.words[quad / 16 * to.block_words + within % 4 * 4 + within / 4] = word;
  }
  if (task.sums) {
    int sum = __dp4a(static_cast<int>(word), 0x01010101, 0);
    for (int offset = lanes / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(~0u, sum, offset);
    if (first) to.sums[(quad >> shift) * to.step] = sum;
  }
}

/// Prepares one row of `blocks` blocks, zeros past its end. Ends without a barrier.
__device__ __forceinline__ void PrepareRow(const PrepareTask& task, const float* x, int blocks, const PreparedRow& to,
                                           float* scratch) {
  const HeldRow row = LoadRow(x, task.cols);
  const float inverse = task.norm != nullptr ? InverseRms(row, x, task.cols, task.epsilon, scratch) : 1.0f;
  float largest_of_row = task.floor;
  if (task.group == 0) {
    float largest = task.floor;
#pragma unroll
    for (int j = 0; j < kHeldQuads; ++j) {
      largest = fmaxf(largest, LargestOf(Normed(task, row.quads[j], inverse, threadIdx.x + j * kPrepareThreads)));
    }
    for (int quad = threadIdx.x + kHeldQuads * kPrepareThreads; quad * 4 < task.cols; quad += kPrepareThreads) {
      largest = fmaxf(largest, LargestOf(LoadNormed(task, x, inverse, quad)));
    }
    largest_of_row = OverBlock(largest, scratch, [](float v) { return MaxOver(v); });
    if (threadIdx.x == 0) to.scales[0] = largest_of_row < 1e-30f ? 0.0f : largest_of_row / 127.0f;
  }
  const int quads = blocks * (kBlockK / 4), first_of_warp = threadIdx.x / 32 * 32;
#pragma unroll
  for (int j = 0; j < kHeldQuads; ++j) {
    if (first_of_warp + j * kPrepareThreads >= quads) return;
    const int quad = threadIdx.x + j * kPrepareThreads;
    QuantiseQuad(task, Normed(task, row.quads[j], inverse, quad), quad, quads, largest_of_row, to);
  }
#pragma unroll 2
  for (int base = first_of_warp + kHeldQuads * kPrepareThreads; base < quads; base += kPrepareThreads) {
    const int quad = base + threadIdx.x % 32;
    QuantiseQuad(task, LoadNormed(task, x, inverse, quad), quad, quads, largest_of_row, to);
  }
}

}  // namespace edgellm::cuda
