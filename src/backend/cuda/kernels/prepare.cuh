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

/// Quads (four values) of a row that a thread works on at once, without a branch between them, so that their latencies
/// overlap.
inline constexpr int kQuads = 4;

/// Batch number `batch` of the thread's quads of a row, zeros past its end.
struct QuadBatch {
  float4 quads[kQuads];
};
__device__ __forceinline__ int QuadIndex(int batch, int j) { return threadIdx.x + (batch * kQuads + j) * kPrepareThreads; }
__device__ __forceinline__ QuadBatch LoadQuads(const float* x, int cols, int batch) {
  QuadBatch row;
#pragma unroll
  for (int j = 0; j < kQuads; ++j) {
    row.quads[j] = {0, 0, 0, 0};
    if (QuadIndex(batch, j) * 4 < cols) row.quads[j] = reinterpret_cast<const float4*>(x)[QuadIndex(batch, j)];
  }
  return row;
}
__device__ __forceinline__ int BatchesOf(int cols) { return (cols + 4 * kQuads * kPrepareThreads - 1) / (4 * kQuads * kPrepareThreads); }

__device__ __forceinline__ float AddSquares(const QuadBatch& batch, float sum) {
#pragma unroll
  for (int j = 0; j < kQuads; ++j) {
    const float4 v = batch.quads[j];
    sum = fmaf(v.x, v.x, fmaf(v.y, v.y, fmaf(v.z, v.z, fmaf(v.w, v.w, sum))));
  }
  return sum;
}

/// 1 / rms of a row whose first batch is there.
__device__ __forceinline__ float InverseRms(const QuadBatch& first, const float* x, int cols, float epsilon, float* scratch) {
  float sum = AddSquares(first, 0.0f);
  for (int batch = 1; batch < BatchesOf(cols); ++batch) sum = AddSquares(LoadQuads(x, cols, batch), sum);
  sum = OverBlock(sum, scratch, [](float v) { return SumOver(v); });
  return 1.0f / sqrtf(sum / static_cast<float>(cols) + epsilon);
}

__device__ __forceinline__ QuadBatch Normed(const QuadBatch& v, const QuadBatch& norm, float inverse) {
  QuadBatch out;
#pragma unroll
  for (int j = 0; j < kQuads; ++j) {
    const float4 x = v.quads[j], w = norm.quads[j];
    out.quads[j] = {x.x * inverse * w.x, x.y * inverse * w.y, x.z * inverse * w.z, x.w * inverse * w.w};
  }
  return out;
}

__device__ __forceinline__ float LargestOf(float4 v) {
  return fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
}

__device__ __forceinline__ uint32_t CodeOf(float x, float factor) {
  const int code = __float2int_rn(x * factor);
  return static_cast<uint32_t>(min(max(code, -127), 127)) & 255u;
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

/// Quantises the first kCount quads of a batch: groups lie within a warp's 32 quads, or `largest_of_row` is known.
template <int kCount>
__device__ __forceinline__ void QuantiseQuads(const PrepareTask& task, const QuadBatch& values, int batch, int quads,
                                              float largest_of_row, const PreparedRow& to) {
  constexpr float kSmallest = 1e-30f;
  const bool whole = task.group == 0;
  const int shift = whole ? 5 : __ffs(task.group / 4) - 1, lanes = 1 << shift;  // that share a group
  float largest[kCount];
#pragma unroll
  for (int j = 0; j < kCount; ++j) largest[j] = whole ? largest_of_row : fmaxf(task.floor, LargestOf(values.quads[j]));
  if (!whole) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
#pragma unroll
      for (int j = 0; j < kCount; ++j) {
        const float other = __shfl_xor_sync(~0u, largest[j], offset);
        if (offset < lanes) largest[j] = fmaxf(largest[j], other);
      }
    }
  }
#pragma unroll
  for (int j = 0; j < kCount; ++j) {
    const int quad = QuadIndex(batch, j);
    const float4 v = values.quads[j];
    const bool zero = largest[j] < kSmallest;
    const float factor = zero ? 0.0f : 127.0f / largest[j];
    const uint32_t word = CodeOf(v.x, factor) | CodeOf(v.y, factor) << 8 | CodeOf(v.z, factor) << 16 | CodeOf(v.w, factor) << 24;
    const bool first = !whole && (quad & (lanes - 1)) == 0 && quad * 4 < task.cols;
    if (first) to.scales[(quad >> shift) * to.step] = zero ? 0.0f : largest[j] / 127.0f;
    if (quad < quads) to.words[quad / 16 * to.block_words + quad % 4 * 4 + quad % 16 / 4] = word;
    if (task.sums) {
      int sum = __dp4a(static_cast<int>(word), 0x01010101, 0);
      for (int offset = lanes / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(~0u, sum, offset);
      if (first) to.sums[(quad >> shift) * to.step] = sum;
    }
  }
}

__device__ __forceinline__ void QuantiseBatch(const PrepareTask& task, const QuadBatch& values, int batch, int quads,
                                              float largest_of_row, const PreparedRow& to) {
  const int left = quads - batch * kQuads * kPrepareThreads;
  if (left <= kPrepareThreads) return QuantiseQuads<1>(task, values, batch, quads, largest_of_row, to);
  if (left <= 2 * kPrepareThreads) return QuantiseQuads<2>(task, values, batch, quads, largest_of_row, to);
  QuantiseQuads<kQuads>(task, values, batch, quads, largest_of_row, to);
}

/// The norm's first batch: constant, so that it can be loaded before the kernels before this one have ended.
__device__ __forceinline__ QuadBatch LoadNorm(const PrepareTask& task) {
  return task.norm != nullptr ? LoadQuads(task.norm, task.cols, 0) : QuadBatch{};
}

/// Prepares one row of `blocks` blocks, zeros past its end. Ends without a barrier.
__device__ __forceinline__ void PrepareRow(const PrepareTask& task, const QuadBatch& norm, const float* x, int blocks,
                                           const PreparedRow& to, float* scratch) {
  const int batches = BatchesOf(blocks * kBlockK), quads = blocks * (kBlockK / 4);
  QuadBatch values = LoadQuads(x, task.cols, 0);
  const bool normed = task.norm != nullptr;
  const float inverse = normed ? InverseRms(values, x, task.cols, task.epsilon, scratch) : 1.0f;
  if (normed) values = Normed(values, norm, inverse);
  const auto later = [&](int batch) {
    const QuadBatch v = LoadQuads(x, task.cols, batch);
    return normed ? Normed(v, LoadQuads(task.norm, task.cols, batch), inverse) : v;
  };
  float largest_of_row = task.floor;
  if (task.group == 0) {
    float largest = task.floor;
    for (int batch = 0; batch < batches; ++batch) {
      const QuadBatch v = batch == 0 ? values : later(batch);
#pragma unroll
      for (int j = 0; j < kQuads; ++j) largest = fmaxf(largest, LargestOf(v.quads[j]));
    }
    largest_of_row = OverBlock(largest, scratch, [](float v) { return MaxOver(v); });
    if (threadIdx.x == 0) to.scales[0] = largest_of_row < 1e-30f ? 0.0f : largest_of_row / 127.0f;
  }
  for (int batch = 0; batch < batches; ++batch) {
    QuadBatch next;
    if (batch + 1 < batches) next = later(batch + 1);
    QuantiseBatch(task, values, batch, quads, largest_of_row, to);
    values = next;
  }
}

}  // namespace edgellm::cuda
