// RMS norm and quantisation of activations by one block: the same function, hence the same bits, whether a linear layer
// prepares its one token by itself or a kernel of its own does it for a batch. Meaning: quant/activation.h.
#pragma once

#include "backend/cuda/kernels/ptx.cuh"
#include "backend/cuda/tasks.h"

namespace edgellm::cuda {

inline constexpr int kPrepareThreads = 512;
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

__device__ __forceinline__ float InverseRms(const float* x, int cols, float epsilon, float* scratch) {
  float sum = 0;
  for (int i = threadIdx.x; i < (cols + 3) / 4; i += kPrepareThreads) {
    const float4 v = reinterpret_cast<const float4*>(x)[i];
    sum = fmaf(v.x, v.x, fmaf(v.y, v.y, fmaf(v.z, v.z, fmaf(v.w, v.w, sum))));
  }
  sum = OverBlock(sum, scratch, [](float v) { return SumOver(v); });
  return 1.0f / sqrtf(sum / static_cast<float>(cols) + epsilon);
}

/// Four values of the row, normalised; zeros past its end.
__device__ __forceinline__ float4 LoadNormed(const PrepareTask& task, const float* x, float inverse, int quad) {
  if (quad * 4 >= task.cols) return {0, 0, 0, 0};
  float4 v = reinterpret_cast<const float4*>(x)[quad];
  if (task.norm != nullptr) {
    const float4 w = reinterpret_cast<const float4*>(task.norm)[quad];
    v = {v.x * inverse * w.x, v.y * inverse * w.y, v.z * inverse * w.z, v.w * inverse * w.w};
  }
  return v;
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

/// Prepares one row. `codes` + block * block_bytes is where the 64 bytes of this row's block go (the 16 bytes of lane t
/// = 0..3 in turn); scales and sums are `step` apart. Ends without a barrier.
__device__ __forceinline__ void PrepareRow(const PrepareTask& task, const float* x, int blocks, uint32_t* codes,
                                           int block_words, float* scales, int32_t* sums, int step, float* scratch) {
  constexpr float kSmallest = 1e-30f;
  const float inverse = task.norm != nullptr ? InverseRms(x, task.cols, task.epsilon, scratch) : 1.0f;
  const bool whole = task.group == 0;
  float largest_of_row = task.floor;
  if (whole) {
    float largest = task.floor;
    for (int quad = threadIdx.x; quad * 4 < task.cols; quad += kPrepareThreads) {
      largest = fmaxf(largest, LargestOf(LoadNormed(task, x, inverse, quad)));
    }
    largest_of_row = OverBlock(largest, scratch, [](float v) { return MaxOver(v); });
    if (threadIdx.x == 0) scales[0] = largest_of_row < kSmallest ? 0.0f : largest_of_row / 127.0f;
  }
  const int lanes = whole ? 32 : task.group / 4;  // that share a group: it is 32, 64 or 128
  const int quads = blocks * (kBlockK / 4);
  for (int base = threadIdx.x / 32 * 32; base < quads; base += kPrepareThreads) {
    const int quad = base + threadIdx.x % 32;
    const float4 v = LoadNormed(task, x, inverse, quad);
    const float largest = whole ? largest_of_row : MaxOverLanes(fmaxf(task.floor, LargestOf(v)), lanes);
    const bool zero = largest < kSmallest;
    const float factor = zero ? 0.0f : 127.0f / largest;
    const uint32_t word = CodeOf(v.x, factor) | CodeOf(v.y, factor) << 8 | CodeOf(v.z, factor) << 16 | CodeOf(v.w, factor) << 24;
    const bool first = !whole && quad % lanes == 0 && quad * 4 < task.cols;
    if (first) scales[quad / lanes * step] = zero ? 0.0f : largest / 127.0f;
    if (quad < quads) {
      const int within = quad % 16;
      codes[quad / 16 * block_words + within % 4 * 4 + within / 4] = word;
    }
    if (task.sums) {
      int sum = __dp4a(static_cast<int>(word), 0x01010101, 0);
      for (int offset = lanes / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(~0u, sum, offset);
      if (first) sums[quad / lanes * step] = sum;
    }
  }
}

}  // namespace edgellm::cuda
