// What the sampling kernels share: a row's logits by tiles, adjusted; sums, maxima and sorting within a block of 1024
// threads. Everything inline; knows no job's course.
#pragma once

#include <cstdint>

#include "backend/cuda/sample.h"

namespace edgellm::cuda {

inline constexpr int kSampleThreads = 1024;
inline constexpr int kTile = 4 * kSampleThreads;  // logits that a block looks at together

/// What one thread sees of a tile: four logits, the first of token `id`.
struct TileValues {
  float x[4];
  int id;
  uint32_t usable;  // bit i: x[i] may be drawn
};

/// A row as a job sees it.
struct SampleRow {
  const float* logits;
  int vocab;
  const SampleJob* job;
  float* tile;  // [kTile], shared memory, for adjustments
  int adjustment_count;     // the job's
  const uint32_t* allowed;  // likewise

  __device__ __forceinline__ int tiles() const { return (vocab + kTile - 1) / kTile; }

  /// All threads of the block call it together.
  __device__ __forceinline__ TileValues Load(int index) const {
    TileValues v;
    v.id = index * kTile + 4 * static_cast<int>(threadIdx.x);
    v.usable = 0;
    float4 x = make_float4(0, 0, 0, 0);
    if (v.id < vocab) {
      x = *reinterpret_cast<const float4*>(logits + v.id);  // rows are padded to whole fours
      const int left = vocab - v.id;
      v.usable = left >= 4 ? 15u : (1u << left) - 1u;
      if (allowed != nullptr) v.usable &= allowed[v.id / 32] >> (v.id % 32);
    }
    if (adjustment_count > 0) {
      reinterpret_cast<float4*>(tile)[threadIdx.x] = x;
      __syncthreads();
      for (int i = static_cast<int>(threadIdx.x); i < adjustment_count; i += kSampleThreads) {
        const TokenAdjustment adjustment = job->adjustments[i];
        const int at = adjustment.token - index * kTile;
        if (at >= 0 && at < kTile) tile[at] = AdjustedLogit(tile[at], job->penalties, adjustment);
      }
      __syncthreads();
      x = reinterpret_cast<const float4*>(tile)[threadIdx.x];
    }
    v.x[0] = x.x;
    v.x[1] = x.y;
    v.x[2] = x.z;
    v.x[3] = x.w;
    return v;
  }

  /// visit(logit, token) for what may be drawn of tiles first, first + step, ...
  template <typename Visit>
  __device__ __forceinline__ void ForEach(int first, int step, const Visit& visit) const {
    for (int index = first; index < tiles(); index += step) {
      const TileValues v = Load(index);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if ((v.usable >> i & 1u) != 0) visit(v.x[i], v.id + i);
      }
    }
  }
};

/// The order of candidates as integers: by logit, of equal ones the lower id first. Never zero.
__device__ __forceinline__ uint64_t Ranked(float logit, int token) {
  return static_cast<uint64_t>(OrderedKey(logit)) << 32 | static_cast<uint32_t>(~token);
}
__device__ __forceinline__ int TokenOf(uint64_t rank) { return static_cast<int>(~static_cast<uint32_t>(rank)); }
__device__ __forceinline__ float LogitOf(uint64_t rank) { return LogitOfKey(static_cast<uint32_t>(rank >> 32)); }

/// Falling with the logit; the same for equal ones.
__device__ __forceinline__ int BucketOf(float logit, float highest) {
  const float below = logit == highest ? 0.0f : (highest - logit) * 32.0f;
  return below < static_cast<float>(kBuckets - 1) ? static_cast<int>(below) : kBuckets - 1;
}

/// Adds to a number of 64 bits in shared memory by its halves: devices add only 32 at once there.
__device__ __forceinline__ void AddTo(uint32_t* low, uint32_t* high, uint64_t amount) {
  const auto part = static_cast<uint32_t>(amount);
  auto rest = static_cast<uint32_t>(amount >> 32);
  if (part != 0) {
    const uint32_t sum = atomicAdd(low, part) + part;
    rest += sum < part ? 1u : 0u;
  }
  if (rest != 0) atomicAdd(high, rest);
}

/// The sum over this thread and those before it, and over all. `scratch`: 32 numbers of shared memory.
__device__ __forceinline__ uint64_t InclusiveSum(uint64_t x, uint64_t* scratch, uint64_t* total) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const auto within_warp = [lane](uint64_t sum) {
#pragma unroll
    for (int offset = 1; offset < 32; offset *= 2) {
      const uint64_t before = __shfl_up_sync(~0u, static_cast<unsigned long long>(sum), static_cast<unsigned>(offset));
      sum += lane >= offset ? before : 0;
    }
    return sum;
  };
  x = within_warp(x);
  __syncthreads();  // whoever used the scratch memory before has done
  if (lane == 31) scratch[warp] = x;
  __syncthreads();
  if (warp == 0) scratch[lane] = within_warp(scratch[lane]);
  __syncthreads();
  *total = scratch[31];
  return warp > 0 ? x + scratch[warp - 1] : x;
}

/// The largest of all threads' numbers, for each of them.
__device__ __forceinline__ uint64_t Largest(uint64_t x, uint64_t* scratch) {
  const auto of_warp = [](uint64_t largest) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
      const uint64_t other = __shfl_xor_sync(~0u, static_cast<unsigned long long>(largest), offset);
      largest = largest > other ? largest : other;
    }
    return largest;
  };
  x = of_warp(x);
  __syncthreads();
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  return of_warp(scratch[threadIdx.x % 32]);
}

/// Falling order, of `count` numbers in shared memory that has room for the next power of two; all above zero.
__device__ __forceinline__ void SortFalling(uint64_t* list, int count) {
  int size = 2;
  while (size < count) size *= 2;
  for (int i = count + static_cast<int>(threadIdx.x); i < size; i += kSampleThreads) list[i] = 0;
  __syncthreads();
  const bool by_one_warp = size <= 64;
  if (by_one_warp && threadIdx.x >= 32) size = 0;
  for (int run = 2; run <= size; run *= 2) {
    for (int stride = run / 2; stride > 0; stride /= 2) {
      for (int i = static_cast<int>(threadIdx.x); i < size / 2; i += kSampleThreads) {
        const int low = 2 * i - (i & (stride - 1)), high = low + stride;
        const uint64_t a = list[low], b = list[high];
        const bool falling = (low & run) == 0;
        if ((a < b) == falling) {
          list[low] = b;
          list[high] = a;
        }
      }
      if (by_one_warp) {
        __syncwarp();
      } else {
        __syncthreads();
      }
    }
  }
  __syncthreads();
}

/// True in all threads of the last of `blocks` blocks that come here; what the others wrote before can be seen.
__device__ __forceinline__ bool ArrivesLast(uint32_t* arrived, uint32_t blocks) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last = atomicAdd(arrived, 1u) == blocks - 1;
  __syncthreads();
  __threadfence();
  return last;
}

/// The token of a row is known.
__device__ __forceinline__ void Take(const SampleTask& task, int row, int token) {
  task.results[row].token = token;
  task.results[row].logit = token < 0 ? 0.0f : task.logits[static_cast<size_t>(row) * task.stride + static_cast<size_t>(token)];
  task.tokens[row] = token;
}

}  // namespace edgellm::cuda
