// Attention over the pages of the KV cache. Definition, the same for one token and for a prompt, whatever runs it:
//   a unit is 32 consecutive positions. Its scores (in powers of two) give m = ceil(max), weights p = 2^(score - m)
//   rounded to f16, their sum, and the sum of p * value, from the matrix units.
//   Units are added in order; since the m are whole numbers, rescaling is exact, and it does not matter to which m.
//   Up to kSplitPositions positions that is all; longer contexts are added in splits of so many, and these in order. So the
//   order depends on a token's own position alone.
// Queries are split into two halves (value and rest), so that scores are as good as in float.
#pragma once

#include "backend/cuda/kernels/output.cuh"

namespace edgellm::cuda {

inline constexpr int kUnit = 32;
inline constexpr float kNone = -1e30f;  // the m of nothing: any finite m is larger

/// Query rows (heads that share a key/value head) in shared memory, as two halves: [row][kDim] plus padding so that the
/// eight rows of a fragment hit different banks.
template <int kDim>
struct QueryRows {
  static constexpr int kStride = kDim + 32;  // halves
  __half high[16][kStride], low[16][kStride];
};

/// The m and sum of one unit for the two rows of a thread.
struct UnitSums {
  float m[2], sum[2];
};

/// The keys of a unit for 32 dimensions: what a lane needs of them, by groups of 8 positions. kStride: halves from a
/// position to the next.
struct KeyBlock {
  uint4 part[4];
};
template <int kStride>
__device__ __forceinline__ KeyBlock LoadKeys(const __half* const (&page)[2], int block) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  KeyBlock keys;
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    const int position = 4 * (g / 2) + 2 * (n % 2) + g % 2;  // so that values can be read four positions at once
    keys.part[n] = *reinterpret_cast<const uint4*>(page[n / 2] + position * kStride + 32 * block + 8 * t);
  }
  return keys;
}

/// s += the products of 32 dimensions of queries and keys.
template <int kDim, bool kSixteen>
__device__ __forceinline__ void AddScores(float (&s)[4][4], const QueryRows<kDim>& rows, const KeyBlock& keys, int block) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
  for (int part = 0; part < 2; ++part) {
    const auto& source = part == 0 ? rows.high : rows.low;
    const uint4 first = *reinterpret_cast<const uint4*>(&source[g][32 * block + 8 * t]);
    uint4 second = {0, 0, 0, 0};
    if (kSixteen) second = *reinterpret_cast<const uint4*>(&source[g + 8][32 * block + 8 * t]);
    const uint32_t a0[4] = {first.x, second.x, first.y, second.y}, a1[4] = {first.z, second.z, first.w, second.w};
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      MmaHalf(s[n], a0, keys.part[n].x, keys.part[n].y);
      MmaHalf(s[n], a1, keys.part[n].z, keys.part[n].w);
    }
  }
}

/// Scores to weights in place of the fragments of p: a[2] of page h holds (page 0, page 1). `limit`: positions of this
/// unit that each of the two rows may see.
__device__ __forceinline__ UnitSums Weigh(float (&s)[4][4], float scale, const int (&limit)[2], uint32_t (&a)[2][4]) {
  const int t = threadIdx.x % 4;
  UnitSums unit;
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    float largest = kNone;
#pragma unroll
    for (int n = 0; n < 4; ++n) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const int position = 16 * (n / 2) + 4 * t + 2 * (n % 2) + c;
        float& x = s[n][2 * row + c];
        x = position < limit[row] ? x * scale : -INFINITY;
        largest = fmaxf(largest, x);
      }
    }
    largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 2));
    unit.m[row] = largest > kNone ? ceilf(largest) : kNone;
    float sum = 0;
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      const __half2 p = __floats2half2_rn(Exp2(s[n][2 * row] - unit.m[row]), Exp2(s[n][2 * row + 1] - unit.m[row]));
      sum += __low2float(p) + __high2float(p);
      a[n / 2][2 * (n % 2) + row] = *reinterpret_cast<const uint32_t*>(&p);
    }
    sum += __shfl_xor_sync(~0u, sum, 1);
    unit.sum[row] = sum + __shfl_xor_sync(~0u, sum, 2);
  }
  return unit;
}

/// o += p times the values of a unit, which begin at values[0] and [1]: o[n] are the 8 dimensions from 8n on, fragments of
/// mma.
template <int kDim>
__device__ __forceinline__ void AddValues(float (&o)[kDim / 8][4], const uint32_t (&a)[2][4], const __half* const (&values)[2]) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
  for (int n = 0; n < kDim / 8; ++n) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const uint2 v = *reinterpret_cast<const uint2*>(values[h] + (8 * n + g) * 16 + 4 * t);
      MmaHalf(o[n], a[h], v.x, v.y);
    }
  }
}

/// The pages of unit `unit`; where the second one is past the sequence's end, the first again (it is masked).
template <int kDim>
__device__ __forceinline__ void FindPages(const __half* (&page)[2], const LayerCache& cache, const int32_t* table, int kv_head,
                                          int unit, int context) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int index = 2 * unit + h;
    const int id = table[index * 16 < context ? index : 2 * unit];
    page[h] = reinterpret_cast<const __half*>(cache.base + id * cache.page_bytes) + kv_head * 32 * kDim;
  }
}

/// 2^(from - to), exact for whole numbers: by which what was scaled by `from` counts beside what is scaled by `to`.
__device__ __forceinline__ float Rescale(float from, float to) {
  return __int_as_float(max(__float2int_rn(from - to) + 127, 0) << 23);  // what is below the least normal number counts as nothing
}

/// Rows of queries to shared memory as two halves; `query` gives two numbers of a row, zeros where there is no row.
template <int kDim, int kRows, typename Query>
__device__ __forceinline__ void StoreQueries(QueryRows<kDim>& to, int thread, int threads, Query query) {
  for (int i = thread; i < kRows * kDim / 2; i += threads) {
    const int row = i / (kDim / 2), d = i % (kDim / 2) * 2;
    const float2 x = query(row, d);
    const __half2 high = __floats2half2_rn(x.x, x.y);
    const float2 near = __half22float2(high);
    *reinterpret_cast<__half2*>(&to.high[row][d]) = high;
    *reinterpret_cast<__half2*>(&to.low[row][d]) = __floats2half2_rn(x.x - near.x, x.y - near.y);
  }
}

}  // namespace edgellm::cuda
