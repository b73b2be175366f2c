// Attention of single tokens (decoding, and short slices of prompts): a block for each token, key/value head and split of
// the context, a warp for each unit of 32 positions. The last block of a token and head to arrive adds the splits.
#include <algorithm>

#include "backend/cuda/kernels/attend.cuh"
#include "backend/cuda/launch.cuh"

namespace edgellm::cuda {
namespace {

constexpr int kAttendThreads = 512, kAttendWarps = kAttendThreads / 32;

template <int kDim>
struct AttendShared {
  QueryRows<kDim> query;
  float m[kAttendWarps][16], sum[kAttendWarps][16];
  bool last;
  alignas(16) float out[];  // [unit][row][kDim + 8]
};
template <int kDim>
inline constexpr int kOutStride = kDim + 8;

/// Rows of queries to shared memory as two halves; rows that are not there are zero.
template <int kDim>
__device__ void FetchQueries(AttendShared<kDim>& shared, const float* query, int rows, int dim) {
  for (int i = threadIdx.x; i < 16 * kDim / 2; i += kAttendThreads) {
    const int row = i / (kDim / 2), d = i % (kDim / 2) * 2;
    const float2 x = row < rows && d < dim ? *reinterpret_cast<const float2*>(query + row * dim + d) : float2{0, 0};
    const __half2 high = __floats2half2_rn(x.x, x.y);
    const float2 near = __half22float2(high);
    *reinterpret_cast<__half2*>(&shared.query.high[row][d]) = high;
    *reinterpret_cast<__half2*>(&shared.query.low[row][d]) = __floats2half2_rn(x.x - near.x, x.y - near.y);
  }
}

/// One warp's unit, whose keys are there: sums and weighted values to shared memory.
template <int kDim, bool kSixteen>
__device__ void AttendUnit(const AttendTask& task, AttendShared<kDim>& shared, const __half* const (&page)[2],
                           const KeyBlock (&keys)[kDim / 32], int unit, int context, int rows) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  float s[4][4] = {};
#pragma unroll
  for (int block = 0; block < kDim / 32; ++block) AddScores<kDim, kSixteen>(s, shared.query, keys[block], block);
  const int limit[2] = {context - unit * kUnit, context - unit * kUnit};
  uint32_t a[2][4];
  const UnitSums sums = Weigh(s, task.scale, limit, a);
  float o[kDim / 8][4] = {};
  Values<kDim>(o, a, page);
  for (int row = 0; row < (kSixteen ? 2 : 1); ++row) {
    const int r = g + 8 * row;
    if (t == 0) {
      shared.m[warp][r] = sums.m[row];
      shared.sum[warp][r] = sums.sum[row];
    }
    if (r >= rows) continue;
    float* to = shared.out + (warp * rows + r) * kOutStride<kDim> + 2 * t;
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) *reinterpret_cast<float2*>(to + 8 * n) = {o[n][2 * row], o[n][2 * row + 1]};
  }
}

/// a * 2^(from - to), exact for whole numbers.
__device__ __forceinline__ float Rescale(float from, float to) { return from <= kNone ? 0.0f : exp2f(from - to); }

template <int kDim, bool kSixteen>
__global__ void __launch_bounds__(kAttendThreads) Attend(const __grid_constant__ AttendTask task) {
  extern __shared__ __align__(16) uint8_t memory[];
  auto& shared = *reinterpret_cast<AttendShared<kDim>*>(memory);
  LetNextStart();
  const int kv_head = blockIdx.x, split = blockIdx.y, local = blockIdx.z, token = task.first_token + local;
  // The batch is on the device before its first kernel: this needs no waiting.
  const int sequence = task.staging.sequences[token];
  const int context = task.staging.positions[token] + 1;
  const int splits = context <= kWholePositions ? 1 : (context + kSplitPositions - 1) / kSplitPositions;
  if (sequence < 0 || split >= splits) return;
  const int rows = task.heads / task.kv_heads, dim = task.head_dim, warp = threadIdx.x / 32;
  const int end = splits == 1 ? context : min(context, (split + 1) * kSplitPositions);
  const int units = (end - split * kSplitPositions + kUnit - 1) / kUnit;
  const int unit = split * (kSplitPositions / kUnit) + warp;
  const __half* page[2];
  KeyBlock keys[kDim / 32];
  // Nor do keys of positions that an earlier forward has left.
  const bool has_unit = warp < units, old = has_unit && (unit + 1) * kUnit <= task.staging.starts[token];
  if (has_unit) {
    FindPages<kDim>(page, task.cache, task.staging.pages + static_cast<size_t>(sequence) * task.staging.pages_per_sequence,
                    kv_head, unit, context);
  }
  if (old) {
#pragma unroll
    for (int block = 0; block < kDim / 32; ++block) keys[block] = LoadKeys<kDim>(page, block);
  }
  WaitForPrevious();
  if (has_unit && !old) {
#pragma unroll
    for (int block = 0; block < kDim / 32; ++block) keys[block] = LoadKeys<kDim>(page, block);
  }
  FetchQueries<kDim>(shared, task.query + token * task.query_stride + kv_head * rows * dim, rows, dim);
  __syncthreads();
  if (has_unit) AttendUnit<kDim, kSixteen>(task, shared, page, keys, unit, context, rows);
  __syncthreads();

  const size_t partial_row = kDim + 2;
  float* partial = task.partial +
                   ((static_cast<size_t>(local) * task.kv_heads + kv_head) * task.splits + split) * rows * partial_row;
  for (int i = threadIdx.x; i < rows * dim; i += kAttendThreads) {
    const int row = i / dim, d = i % dim;
    float m = kNone;
    for (int u = 0; u < units; ++u) m = fmaxf(m, shared.m[u][row]);
    float sum = 0, o = 0;
    for (int u = 0; u < units; ++u) {
      const float factor = Rescale(shared.m[u][row], m);
      sum = fmaf(shared.sum[u][row], factor, sum);
      o = fmaf(shared.out[(u * rows + row) * kOutStride<kDim> + d], factor, o);
    }
    if (splits == 1) {
      task.out[token * task.out_stride + (kv_head * rows + row) * dim + d] = o / sum;
    } else {
      partial[row * partial_row + d] = o;
      if (d == 0) {
        partial[row * partial_row + kDim] = m;
        partial[row * partial_row + kDim + 1] = sum;
      }
    }
  }
  if (splits == 1) return;

  __threadfence();
  __syncthreads();
  uint32_t* arrived = task.arrived + local * task.kv_heads + kv_head;
  if (threadIdx.x == 0) shared.last = atomicAdd(arrived, 1u) == static_cast<uint32_t>(splits) - 1;
  __syncthreads();
  if (!shared.last) return;
  if (threadIdx.x == 0) *arrived = 0;
  __threadfence();
  const float* all = partial - static_cast<size_t>(split) * rows * partial_row;
  for (int i = threadIdx.x; i < rows * dim; i += kAttendThreads) {
    const int row = i / dim, d = i % dim;
    float m = kNone;
    for (int u = 0; u < splits; ++u) m = fmaxf(m, __ldcg(all + (u * rows + row) * partial_row + kDim));
    float sum = 0, o = 0;
    for (int u = 0; u < splits; ++u) {
      const float* from = all + (u * rows + row) * partial_row;
      const float factor = Rescale(__ldcg(from + kDim), m);
      sum = fmaf(__ldcg(from + kDim + 1), factor, sum);
      o = fmaf(__ldcg(from + d), factor, o);
    }
    task.out[token * task.out_stride + (kv_head * rows + row) * dim + d] = o / sum;
  }
}

template <int kDim, bool kSixteen>
void Run(const AttendTask& task, int tokens, const Launch& launch) {
  const int rows = task.heads / task.kv_heads;
  const size_t shared = sizeof(AttendShared<kDim>) + static_cast<size_t>(kAttendWarps * rows * kOutStride<kDim>) * sizeof(float);
  AllowSharedMemory(Attend<kDim, kSixteen>, shared);
  AttendTask part = task;
  for (; part.first_token < tokens; part.first_token += kAttendTokens) {
    const dim3 grid(static_cast<unsigned>(task.kv_heads), static_cast<unsigned>(task.splits),
                    static_cast<unsigned>(std::min(kAttendTokens, tokens - part.first_token)));
    LaunchKernel(Attend<kDim, kSixteen>, grid, kAttendThreads, shared, launch, part);
  }
}

template <int kDim>
void Dispatch(const AttendTask& task, int tokens, const Launch& launch) {
  if (task.heads / task.kv_heads <= 8) return Run<kDim, false>(task, tokens, launch);
  Run<kDim, true>(task, tokens, launch);
}

}  // namespace

void LaunchAttend(const AttendTask& task, int tokens, const Launch& launch) {
  switch (task.cache.dim) {
    case 32:
      return Dispatch<32>(task, tokens, launch);
    case 64:
      return Dispatch<64>(task, tokens, launch);
    case 96:
      return Dispatch<96>(task, tokens, launch);
    case 128:
      return Dispatch<128>(task, tokens, launch);
    case 256:
      return Dispatch<256>(task, tokens, launch);
    default:
      return;  // the binder lets no other size through
  }
}

}  // namespace edgellm::cuda
