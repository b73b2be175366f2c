// RMS norm and quantisation of activations by one block: the same functions, hence the same bits, whether a linear layer
// prepares its one token by itself or a kernel of its own does it for a batch. Meaning: quant/activation.h, with the
// norm's factor 1/rms applied to the layer's results instead of its input where groups are shorter than the row: the
// codes do not need it, and so need not wait until the whole row has been seen.
//
// A warp works on segments of 128 values, four a lane; warp w has segments w, w + 16, … What happens here every phase of
// a forward waits for: few instructions count.
#pragma once

#include "backend/cuda/kernels/ptx.cuh"
#include "backend/cuda/tasks.h"

namespace edgellm::cuda {

inline constexpr int kPrepareThreads = 512, kPrepareWarps = kPrepareThreads / 32;
inline constexpr int kSegment = 128;
/// Segments of a long row that a warp works on at once, so that their latencies overlap.
inline constexpr int kMostAtOnce = 2;
inline constexpr float kSmallest = 1e-30f;

/// The lane's values of kCount segments of its warp, from the one with number `first` on.
template <int kCount>
struct Segments {
  float4 v[kCount];
};
__device__ __forceinline__ int SegmentOf(int index) { return threadIdx.x / 32 + index * kPrepareWarps; }

/// Zeros past the row's end. Read from the L2 cache: other blocks have just written them.
template <int kCount>
__device__ __forceinline__ Segments<kCount> LoadSegments(const float* x, int cols, int first) {
  Segments<kCount> s;
#pragma unroll
  for (int j = 0; j < kCount; ++j) {
    const int at = SegmentOf(first + j) * kSegment + threadIdx.x % 32 * 4;
    s.v[j] = {0, 0, 0, 0};
    if (at < cols) s.v[j] = __ldcg(reinterpret_cast<const float4*>(x + at));
  }
  return s;
}

__device__ __forceinline__ float SquaresOf(float4 v) { return fmaf(v.x, v.x, fmaf(v.y, v.y, fmaf(v.z, v.z, v.w * v.w))); }
__device__ __forceinline__ float LargestOf(float4 v) {
  return fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
}
__device__ __forceinline__ float4 Times(float4 a, float4 b) { return {a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w}; }
__device__ __forceinline__ float4 Times(float4 a, float b) { return {a.x * b, a.y * b, a.z * b, a.w * b}; }

/// The largest of all lanes, of numbers that are not negative.
__device__ __forceinline__ float LargestOfWarp(float x) {
#if __CUDA_ARCH__ >= 800
  return __uint_as_float(__reduce_max_sync(~0u, __float_as_uint(x)));
#else
  return MaxOver(x);
#endif
}

/// a / b, rounded as division is, for numbers far from the limits of float; a quarter of the instructions of `/`.
__device__ __forceinline__ float Divide(float a, float b) {
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(b));
  r = fmaf(fmaf(-b, r, 1.0f), r, r);
  const float q = a * r;
  return fmaf(fmaf(-q, b, a), r, q);
}

/// Four codes of a group whose largest number is known; of |x| <= largest, so that nothing exceeds 127.
__device__ __forceinline__ uint32_t CodesOf(float4 v, float largest) {
  const float factor = largest < kSmallest ? 0.0f : Divide(127.0f, largest);
  const int a = __float2int_rn(v.x * factor), b = __float2int_rn(v.y * factor), c = __float2int_rn(v.z * factor),
            d = __float2int_rn(v.w * factor);
#if __CUDA_ARCH__ >= 800
  uint32_t high, word;
  asm("cvt.pack.sat.s8.s32.b32 %0, %1, %2, 0;" : "=r"(high) : "r"(d), "r"(c));
  asm("cvt.pack.sat.s8.s32.b32 %0, %1, %2, %3;" : "=r"(word) : "r"(b), "r"(a), "r"(high));
  return word;
#else
  return (a & 255) | (b & 255) << 8 | (c & 255) << 16 | (d & 255) << 24;
#endif
}
/// largest / 127, rounded as division is.
__device__ __forceinline__ float ScaleOf(float largest) {
  constexpr float kInverse = 1.0f / 127.0f;
  const float q = largest * kInverse;
  return largest < kSmallest ? 0.0f : fmaf(fmaf(-q, 127.0f, largest), kInverse, q);
}

/// Where the codes of a row go: `words` + block * block_words is the place of the 64 bytes of this row's block (16 bytes
/// of lane t = 0..3 in turn); scales and sums are `step` apart. Both have room for whole segments.
struct PreparedRow {
  uint32_t* words;
  int block_words;
  float* scales;
  int32_t* sums;
  int step;
};

__device__ __forceinline__ void StoreCodes(const PreparedRow& to, int segment, uint32_t word) {
  const int lane = threadIdx.x % 32, block = segment * 2 + lane / 16;
  to.words[block * to.block_words + lane % 4 * 4 + lane % 16 / 4] = word;
}

/// Sums of codes over `lanes` lanes that share a group.
__device__ __forceinline__ int SumOfCodes(uint32_t word, int lanes) {
  int sum = __dp4a(static_cast<int>(word), 0x01010101, 0);
  for (int offset = lanes / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(~0u, sum, offset);
  return sum;
}

/// Quantises segments in groups of 32, 64 or 128.
template <int kCount>
__device__ __forceinline__ void QuantiseSegments(const PrepareTask& task, const Segments<kCount>& s, int first, int segments,
                                                 const PreparedRow& to) {
  const int lane = threadIdx.x % 32, lanes = task.group / 4, shift = 31 - __clz(lanes);  // 8, 16 or 32 lanes share a group
  float largest[kCount];
#pragma unroll
  for (int j = 0; j < kCount; ++j) largest[j] = LargestOf(s.v[j]);
  if (lanes == 32) {
#pragma unroll
    for (int j = 0; j < kCount; ++j) largest[j] = LargestOfWarp(largest[j]);
  } else {
    for (int offset = lanes / 2; offset > 0; offset /= 2) {
#pragma unroll
      for (int j = 0; j < kCount; ++j) largest[j] = fmaxf(largest[j], __shfl_xor_sync(~0u, largest[j], offset));
    }
  }
#pragma unroll
  for (int j = 0; j < kCount; ++j) {
    const int segment = SegmentOf(first + j);
    if (segment >= segments) return;
    const uint32_t word = CodesOf(s.v[j], largest[j]);
    StoreCodes(to, segment, word);
    const int group = segment * 32 + lane >> shift;
    const bool leads = (lane & lanes - 1) == 0;
    if (leads) to.scales[group * to.step] = ScaleOf(largest[j]);
    if (task.sums) {
      const int sum = SumOfCodes(word, lanes);
      if (leads) to.sums[group * to.step] = sum;
    }
  }
}

/// Scratch of a block: a sum of squares for every segment of rows up to 32,768 values, read by fours; a maximum a warp.
inline constexpr int kMostSegments = 256;
struct PrepareScratch {
  alignas(16) float squares[kMostSegments];
  float largest[kPrepareWarps];
};

/// 1/rms of a row whose segments' squares are in the scratch. Added along one fixed tree.
__device__ __forceinline__ float InverseRms(const PrepareScratch& scratch, int cols, float epsilon) {
  float4 sum = {0, 0, 0, 0};
  for (int i = 0; i * kSegment < cols; i += 4) {
    const float4 v = *reinterpret_cast<const float4*>(scratch.squares + i);
    sum = {sum.x + v.x, sum.y + v.y, sum.z + v.z, sum.w + v.w};
  }
  return 1.0f / sqrtf(((sum.x + sum.y) + (sum.z + sum.w)) / static_cast<float>(cols) + epsilon);
}

/// Squares of segments to the scratch; zeros up to a whole four.
template <int kCount>
__device__ __forceinline__ void StoreSquares(const Segments<kCount>& s, int first, int segments, PrepareScratch& scratch) {
  float sums[kCount];
#pragma unroll
  for (int j = 0; j < kCount; ++j) sums[j] = SquaresOf(s.v[j]);
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
#pragma unroll
    for (int j = 0; j < kCount; ++j) sums[j] += __shfl_xor_sync(~0u, sums[j], offset);
  }
#pragma unroll
  for (int j = 0; j < kCount; ++j) {
    const int segment = SegmentOf(first + j);
    if (threadIdx.x % 32 == 0 && segment < (segments + 3) / 4 * 4) scratch.squares[segment] = sums[j];
  }
}

template <int kCount>
__device__ __forceinline__ Segments<kCount> Weighted(const Segments<kCount>& s, const Segments<kCount>& norm) {
  Segments<kCount> out;
#pragma unroll
  for (int j = 0; j < kCount; ++j) out.v[j] = Times(s.v[j], norm.v[j]);
  return out;
}

/// Norm weights that are constant, and so can be loaded before the kernels before this one have ended.
inline constexpr int kEarlyNorm = 2;
using EarlyNorm = Segments<kEarlyNorm>;
__device__ __forceinline__ EarlyNorm LoadNorm(const PrepareTask& task) {
  return task.norm != nullptr ? LoadSegments<kEarlyNorm>(task.norm, task.cols, 0) : EarlyNorm{};
}

/// Quantises segments whose values are there.
template <int kCount>
__device__ __forceinline__ void PrepareLoaded(const PrepareTask& task, const Segments<kCount>& x, const Segments<kCount>& norm, int first,
                                              int segments, const PreparedRow& to, PrepareScratch& scratch) {
  if (task.norm == nullptr) return QuantiseSegments(task, x, first, segments, to);
  StoreSquares(x, first, segments, scratch);
  QuantiseSegments(task, Weighted(x, norm), first, segments, to);
}

/// A row whose values share one scale: it is normalised before its maximum is looked for, with barriers between. The first
/// kMostAtOnce segments of a warp are kept, the rest is read again.
__device__ __forceinline__ void PrepareWholeRow(const PrepareTask& task, const EarlyNorm& norm, const float* x, int segments,
                                                const PreparedRow& to, PrepareScratch& scratch) {
  static_assert(kMostAtOnce == kEarlyNorm);
  Segments<kMostAtOnce> kept = LoadSegments<kMostAtOnce>(x, task.cols, 0);
  float inverse = 1.0f;
  if (task.norm != nullptr) {
    StoreSquares(kept, 0, segments, scratch);
    for (int first = kMostAtOnce; first * kPrepareWarps < segments; first += kMostAtOnce) {
      StoreSquares(LoadSegments<kMostAtOnce>(x, task.cols, first), first, segments, scratch);
    }
    __syncthreads();
    inverse = InverseRms(scratch, task.cols, task.epsilon);
  }
  const auto normed = [&](const Segments<kMostAtOnce>& s, const Segments<kMostAtOnce>& weights) {
    Segments<kMostAtOnce> out;
#pragma unroll
    for (int j = 0; j < kMostAtOnce; ++j) out.v[j] = Times(Times(s.v[j], inverse), weights.v[j]);
    return out;
  };
  const auto later = [&](int first) {
    const Segments<kMostAtOnce> s = LoadSegments<kMostAtOnce>(x, task.cols, first);
    return task.norm != nullptr ? normed(s, LoadSegments<kMostAtOnce>(task.norm, task.cols, first)) : s;
  };
  if (task.norm != nullptr) kept = normed(kept, norm);
  float largest = 0;
  const auto look = [&](const Segments<kMostAtOnce>& s) {
#pragma unroll
    for (int j = 0; j < kMostAtOnce; ++j) largest = fmaxf(largest, LargestOf(s.v[j]));
  };
  look(kept);
  for (int first = kMostAtOnce; first * kPrepareWarps < segments; first += kMostAtOnce) look(later(first));
  largest = LargestOfWarp(largest);
  if (threadIdx.x % 32 == 0) scratch.largest[threadIdx.x / 32] = largest;
  __syncthreads();
  largest = fmaxf(task.floor, LargestOfWarp(scratch.largest[threadIdx.x % kPrepareWarps]));
  if (threadIdx.x == 0) to.scales[0] = ScaleOf(largest);
  const auto store = [&](const Segments<kMostAtOnce>& s, int first) {
#pragma unroll
    for (int j = 0; j < kMostAtOnce; ++j) {
      if (SegmentOf(first + j) < segments) StoreCodes(to, SegmentOf(first + j), CodesOf(s.v[j], largest));
    }
  };
  store(kept, 0);
  for (int first = kMostAtOnce; first * kPrepareWarps < segments; first += kMostAtOnce) store(later(first), first);
}

/// Prepares one row of `segments` segments, zeros past its end. Ends without a barrier; after one, ResultFactor says what
/// the layer's results must be multiplied by. kWholeRow: all values share a scale (task.group is 0).
template <bool kWholeRow>
__device__ __forceinline__ void PrepareRow(const PrepareTask& task, const EarlyNorm& norm, const float* x, int segments,
                                           const PreparedRow& to, PrepareScratch& scratch) {
  if constexpr (kWholeRow) return PrepareWholeRow(task, norm, x, segments, to, scratch);
  if (segments <= kPrepareWarps) {
    return PrepareLoaded<1>(task, LoadSegments<1>(x, task.cols, 0), {norm.v[0]}, 0, segments, to, scratch);
  }
  if (segments <= 2 * kPrepareWarps) {
    return PrepareLoaded<2>(task, LoadSegments<2>(x, task.cols, 0), norm, 0, segments, to, scratch);
  }
  Segments<2> next = LoadSegments<2>(x, task.cols, 0);
  for (int first = 0; first * kPrepareWarps < segments; first += 2) {
    const Segments<2> here = next;
    next = LoadSegments<2>(x, task.cols, first + 2);
    Segments<2> weights = norm;
    if (first > 0 && task.norm != nullptr) weights = LoadSegments<2>(task.norm, task.cols, first);
    PrepareLoaded<2>(task, here, weights, first, segments, to, scratch);
  }
}

__device__ __forceinline__ float ResultFactor(const PrepareTask& task, const PrepareScratch& scratch) {
  return task.norm != nullptr && task.group != 0 ? InverseRms(scratch, task.cols, task.epsilon) : 1.0f;
}

}  // namespace edgellm::cuda
