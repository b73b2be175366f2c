// Attention of single tokens (decoding, and short slices of prompts): a block for each token, key/value head and split of
// the context, a warp for a unit of 32 positions. The last block of a token and head to arrive adds the splits.
#include <algorithm>

#include "backend/cuda/kernels/attend.cuh"
#include "backend/cuda/launch.cuh"

namespace edgellm::cuda {
namespace {

/// Half of a multiprocessor's registers (but for the largest heads), as blocks of linear layers have: so every
/// multiprocessor has one block of this kernel and one of the next, and none has two of the same.
constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kMostUnits = kSplitPositions / kUnit;  // of a block
static_assert(kWarps == kMostUnits);

template <int kDim>
struct AttendShared {
  QueryRows<kDim> query;
  float m[kMostUnits][16], sum[kMostUnits][16];  // m: then the factors by which units count
  float row_m[16];
  bool last;
  alignas(16) float out[];  // [unit][row][kDim + 8]
};
template <int kDim>
inline constexpr int kOutStride = kDim + 8;

/// One warp's unit, whose keys are there: sums and weighted values to shared memory.
template <int kDim, bool kSixteen>
__device__ void AttendUnit(const AttendTask& task, AttendShared<kDim>& shared, const __half* const (&page)[2],
                           const KeyBlock (&keys)[kDim / 32], int unit, int of_block, int context, int rows) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  float s[4][4] = {};
#pragma unroll
  for (int block = 0; block < kDim / 32; ++block) AddScores<kDim, kSixteen>(s, shared.query, keys[block], block);
  const int limit[2] = {context - unit * kUnit, context - unit * kUnit};
  uint32_t a[2][4];
  const UnitSums sums = Weigh(s, task.scale, limit, a);
  float o[kDim / 8][4] = {};
  const __half* const values[2] = {page[0] + 16 * kDim, page[1] + 16 * kDim};
  AddValues<kDim>(o, a, values);
  for (int row = 0; row < (kSixteen ? 2 : 1); ++row) {
    const int r = g + 8 * row;
    if (t == 0) {
      shared.m[of_block][r] = sums.m[row];
      shared.sum[of_block][r] = sums.sum[row];
    }
    if (r >= rows) continue;
    float* to = shared.out + (of_block * rows + r) * kOutStride<kDim> + 2 * t;
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) *reinterpret_cast<float2*>(to + 8 * n) = {o[n][2 * row], o[n][2 * row + 1]};
  }
}

/// Each unit's m to the factor by which it counts: one thread a unit and row. All threads must come.
template <int kDim>
__device__ __forceinline__ void MakeFactors(AttendShared<kDim>& shared, int units) {
  const int row = threadIdx.x % 16, unit = threadIdx.x / 16;
  float m = kNone;
  for (int u = 0; u < units; ++u) m = fmaxf(m, shared.m[u][row]);
  const float mine = unit < units ? shared.m[unit][row] : kNone;
  __syncthreads();
  if (unit >= units) return;
  shared.m[unit][row] = Rescale(mine, m);
  if (unit == 0) shared.row_m[row] = m;
}

template <int kDim, bool kSixteen>
__global__ void __launch_bounds__(kThreads, kDim <= 128 ? 2 : 1) Attend(const __grid_constant__ AttendTask task, int tokens) {
  extern __shared__ __align__(16) uint8_t memory[];
  auto& shared = *reinterpret_cast<AttendShared<kDim>*>(memory);
  LetNextStart();
  // Blocks past the work only wait, like all others: every multiprocessor has one.
  const int index = blockIdx.x, kv_head = index % task.kv_heads, split = index / task.kv_heads % task.splits;
  const int local = index / task.kv_heads / task.splits, token = task.first_token + local;
  if (local >= tokens) return WaitForPrevious();
  // The batch is on the device before its first kernel: this needs no waiting.
  const int sequence = task.staging.sequences[token];
  const int context = task.staging.positions[token] + 1;
  const int splits = (context + kSplitPositions - 1) / kSplitPositions;
  if (sequence < 0 || split >= splits) return WaitForPrevious();
  const int rows = task.heads / task.kv_heads, dim = task.head_dim, warp = threadIdx.x / 32;
  const int end = min(context, (split + 1) * kSplitPositions);
  const int units = (end - split * kSplitPositions + kUnit - 1) / kUnit;
  const int first_unit = split * (kSplitPositions / kUnit);
  const int32_t* table = task.staging.pages + static_cast<size_t>(sequence) * task.staging.pages_per_sequence;
  const __half* page[2];
  KeyBlock keys[kDim / 32];
  const auto load_keys = [&] {
#pragma unroll
    for (int block = 0; block < kDim / 32; ++block) keys[block] = LoadKeys<kDim>(page, block);
  };
  // Nor do keys of positions that an earlier forward has left.
  const bool old = warp < units && (first_unit + warp + 1) * kUnit <= task.staging.starts[token];
  if (warp < units) FindPages<kDim>(page, task.cache, table, kv_head, first_unit + warp, context);
  if (old) load_keys();
  // Values are wanted a little later: they come nearer, past the weights that stream meanwhile.
  const auto bring = [&](const __half* from, int halves) { PrefetchL2(from, static_cast<uint32_t>(halves) * 2); };
  if (warp < units && threadIdx.x % 32 == 0) {
    bring(page[0] + 16 * kDim, 16 * kDim);
    bring(page[1] + 16 * kDim, 16 * kDim);
  }
  WaitForPrevious();
  if (warp < units && !old) load_keys();
  const float* query = task.query + token * task.query_stride + kv_head * rows * dim;
  StoreQueries<kDim, kSixteen ? 16 : 8>(shared.query, threadIdx.x, kThreads, [&](int row, int d) {
    return row < rows && d < dim ? *reinterpret_cast<const float2*>(query + row * dim + d) : float2{0, 0};
  });
  __syncthreads();
  if (warp < units) AttendUnit<kDim, kSixteen>(task, shared, page, keys, first_unit + warp, warp, context, rows);
  __syncthreads();
  MakeFactors(shared, units);
  __syncthreads();

  const size_t partial_row = kDim + 2;
  float* partial = task.partial +
                   ((static_cast<size_t>(local) * task.kv_heads + kv_head) * task.splits + split) * rows * partial_row;
  for (int i = threadIdx.x; i < rows * dim; i += kThreads) {
    const int row = i / dim, d = i % dim;
    float sum = 0, o = 0;
    for (int u = 0; u < units; ++u) {
      const float factor = shared.m[u][row];
      sum = fmaf(shared.sum[u][row], factor, sum);
      o = fmaf(shared.out[(u * rows + row) * kOutStride<kDim> + d], factor, o);
    }
    if (splits == 1) {
      task.out[token * task.out_stride + (kv_head * rows + row) * dim + d] = o / sum;
    } else {
      partial[row * partial_row + d] = o;
      if (d == 0) {
        partial[row * partial_row + kDim] = shared.row_m[row];
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
  for (int i = threadIdx.x; i < rows * dim; i += kThreads) {
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
  const size_t shared = sizeof(AttendShared<kDim>) + static_cast<size_t>(kMostUnits * rows * kOutStride<kDim>) * sizeof(float);
  const auto kernel = Attend<kDim, kSixteen>;
  AllowSharedMemory(kernel, shared);
  AttendTask part = task;
  for (; part.first_token < tokens; part.first_token += kAttendTokens) {
    const int count = std::min(kAttendTokens, tokens - part.first_token);
    const int grid = std::max(count * task.kv_heads * task.splits, launch.processors);
    LaunchKernel(kernel, dim3(static_cast<unsigned>(grid)), kThreads, shared, launch, part, count);
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
