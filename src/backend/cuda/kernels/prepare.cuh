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
inline constexpr float kSmallest = 1e-30f;

/// The lane's values of kCount segments of its warp, from the one with number `first` on. kCount: how many are under way at
/// once; 1 where rows have no more than kSliceK values. It changes no result.
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

/// Quantises segments in groups of 32, 64 or 128; with sums of codes where `sums`.
template <int kCount>
__device__ __forceinline__ void QuantiseSegments(const Segments<kCount>& s, int group, bool sums, int first, int segments,
                                                 const PreparedRow& to) {
  const int lane = threadIdx.x % 32, lanes = group / 4, shift = 31 - __clz(lanes);  // 8, 16 or 32 lanes share a group
  float largest[kCount];
#pragma unroll
  for (int j = 0; j < kCount; ++j) {
    largest[j] = LargestOf(s.v[j]);
    if (lanes == 32) {
      largest[j] = LargestOfWarp(largest[j]);
    } else {
      for (int offset = lanes / 2; offset > 0; offset /= 2) largest[j] = fmaxf(largest[j], __shfl_xor_sync(~0u, largest[j], offset));
    }
  }
#pragma unroll
  for (int j = 0; j < kCount; ++j) {
    const int segment = SegmentOf(first + j);
    if (segment >= segments) continue;
    const uint32_t word = CodesOf(s.v[j], largest[j]);
    StoreCodes(to, segment, word);
    const int of_row = segment * 32 + lane >> shift;
    const bool leads = (lane & lanes - 1) == 0;
    if (leads) to.scales[of_row * to.step] = ScaleOf(largest[j]);
    if (sums) {
      const int sum = SumOfCodes(word, lanes);
      if (leads) to.sums[of_row * to.step] = sum;
    }
  }
}

/// Scratch of a block: what each thread has of a row's sum of squares, and a maximum a warp.
struct PrepareScratch {
  alignas(16) float squares[kPrepareThreads];
  float largest[kPrepareWarps];
};

/// 1 / sqrt(x), to the last bit or next to it; the same wherever it is asked for.
__device__ __forceinline__ float InverseRoot(float x) {
  float r;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return fmaf(fmaf(-x * r, r, 1.0f), 0.5f * r, r);
}

/// 1/rms of a row whose squares are in the scratch, along one fixed tree. By a whole warp; every lane has it.
__device__ __forceinline__ float InverseRms(const PrepareScratch& scratch, int cols, float epsilon) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kPrepareThreads / 128; ++i) {
    const float4 v = *reinterpret_cast<const float4*>(scratch.squares + i * 128 + threadIdx.x % 32 * 4);
    sum += (v.x + v.y) + (v.z + v.w);
  }
  return InverseRoot(Divide(SumOver(sum), static_cast<float>(cols)) + epsilon);
}

/// Norm weights that are constant, and so can be loaded before the kernels before this one have ended.
template <int kCount>
__device__ __forceinline__ Segments<kCount> LoadNorm(const PrepareTask& task) {
  return task.norm != nullptr ? LoadSegments<kCount>(task.norm, task.cols, 0) : Segments<kCount>{};
}

/// Calls visit(segments, their norm weights, number of the first) for all of the warp's segments of a row, the first of
/// which may be there already. Without a norm the weights are not to be used.
template <int kCount, typename Visit>
__device__ __forceinline__ void VisitSegments(const PrepareTask& task, const Segments<kCount>& norm, const float* x, int segments,
                                              const Segments<kCount>* there, Visit visit) {
  visit(there != nullptr ? *there : LoadSegments<kCount>(x, task.cols, 0), norm, 0);
  if constexpr (kCount > 1) {
#pragma unroll 1
    for (int first = kCount; first * kPrepareWarps < segments; first += kCount) {
      const Segments<kCount> s = LoadSegments<kCount>(x, task.cols, first);
      visit(s, task.norm != nullptr ? LoadSegments<kCount>(task.norm, task.cols, first) : norm, first);
    }
  }
}

/// A row whose values share one scale: it is normalised before its maximum is looked for, with barriers between. The first
/// segments of a warp are kept, the rest is read again.
template <int kCount>
__device__ __forceinline__ void PrepareWholeRow(const PrepareTask& task, const Segments<kCount>& norm, const float* x, int segments,
                                                const PreparedRow& to, PrepareScratch& scratch) {
  using Values = Segments<kCount>;
  const Values kept = LoadSegments<kCount>(x, task.cols, 0);
  float inverse = 1.0f, largest = 0;
  if (task.norm != nullptr) {
    float square = 0;
    VisitSegments<kCount>(task, norm, x, segments, &kept, [&](const Values& s, const Values&, int) {
#pragma unroll
      for (int j = 0; j < kCount; ++j) square += SquaresOf(s.v[j]);
    });
    scratch.squares[threadIdx.x] = square;
    __syncthreads();
    inverse = InverseRms(scratch, task.cols, task.epsilon);
  }
  const auto normed = [&](float4 v, float4 weight) { return task.norm != nullptr ? Times(Times(v, inverse), weight) : v; };
  VisitSegments<kCount>(task, norm, x, segments, &kept, [&](const Values& s, const Values& weights, int) {
#pragma unroll
    for (int j = 0; j < kCount; ++j) largest = fmaxf(largest, LargestOf(normed(s.v[j], weights.v[j])));
  });
  largest = LargestOfWarp(largest);
  if (threadIdx.x % 32 == 0) scratch.largest[threadIdx.x / 32] = largest;
  __syncthreads();
  largest = fmaxf(task.floor, LargestOfWarp(scratch.largest[threadIdx.x % kPrepareWarps]));
  if (threadIdx.x == 0) to.scales[0] = ScaleOf(largest);
  VisitSegments<kCount>(task, norm, x, segments, &kept, [&](const Values& s, const Values& weights, int first) {
#pragma unroll
    for (int j = 0; j < kCount; ++j) {
      if (SegmentOf(first + j) < segments) StoreCodes(to, SegmentOf(first + j), CodesOf(normed(s.v[j], weights.v[j]), largest));
    }
  });
}

/// Prepares one row of `segments` segments, zeros past its end. `group`: values that share a scale, 0 for the whole row.
/// Ends without a barrier; after one, ResultFactor says what the layer's results must be multiplied by.
template <int kCount>
__device__ __forceinline__ void PrepareRow(const PrepareTask& task, int group, bool sums, const Segments<kCount>& norm, const float* x,
                                           int segments, const PreparedRow& to, PrepareScratch& scratch) {
  if (group == 0) return PrepareWholeRow<kCount>(task, norm, x, segments, to, scratch);
  float square = 0;
  VisitSegments<kCount>(task, norm, x, segments, nullptr, [&](Segments<kCount> s, const Segments<kCount>& weights, int first) {
    if (task.norm != nullptr) {
#pragma unroll
      for (int j = 0; j < kCount; ++j) {
        square += SquaresOf(s.v[j]);
        s.v[j] = Times(s.v[j], weights.v[j]);
      }
    }
    QuantiseSegments(s, group, sums, first, segments, to);
  });
  if (task.norm != nullptr) scratch.squares[threadIdx.x] = square;
}

/// By a whole warp.
__device__ __forceinline__ bool HasResultFactor(const PrepareTask& task, int group) { return task.norm != nullptr && group != 0; }
__device__ __forceinline__ float ResultFactor(const PrepareTask& task, int group, const PrepareScratch& scratch) {
  return HasResultFactor(task, group) ? InverseRms(scratch, task.cols, task.epsilon) : 1.0f;
}

}  // namespace edgellm::cuda
