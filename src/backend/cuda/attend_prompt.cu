// Attention of prompts: a block for 128 rows (tokens of one sequence, times the heads that share a key/value head), a warp
// for 16 of them. Keys and values go through shared memory, once for all rows. The same numbers as attend.cu, by the
// definition in kernels/attend.cuh: units are added in order; whoever's context exceeds kSplitPositions folds what it has
// every kSplitPositions.
#include "backend/cuda/kernels/attend.cuh"
#include "backend/cuda/launch.cuh"

namespace edgellm::cuda {
namespace {

constexpr int kThreads = kPromptAttendRows * 2, kWarps = kThreads / 32;
constexpr int kSplitUnits = kSplitPositions / kUnit;

/// A unit in shared memory. Keys have some room between positions, so that lanes hit different banks.
template <int kDim>
struct UnitMemory {
  static constexpr int kStride = kDim + 32;  // halves
  __half keys[2][16][kStride];
  __half values[2][kDim][16];
};

template <int kDim>
struct PromptAttendShared {
  QueryRows<kDim> query[kWarps];
  UnitMemory<kDim> units[2];
  float folded[kDim / 2 + 4][kThreads];  // of each thread: what came before this split
};

/// Sums of the two rows of a thread.
template <int kDim>
struct RowSums {
  float m[2] = {kNone, kNone}, sum[2] = {0, 0}, o[kDim / 8][4] = {};

  /// Adds other sums that are scaled by 2^-other_m.
  __device__ __forceinline__ void Add(const float (&other_m)[2], const float (&other_sum)[2], const float (&other)[kDim / 8][4]) {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      const float largest = fmaxf(m[row], other_m[row]), mine = Rescale(m[row], largest), theirs = Rescale(other_m[row], largest);
      m[row] = largest;
      sum[row] = fmaf(other_sum[row], theirs, sum[row] * mine);
#pragma unroll
      for (int n = 0; n < kDim / 8; ++n) {
#pragma unroll
        for (int c = 2 * row; c < 2 * row + 2; ++c) o[n][c] = fmaf(other[n][c], theirs, o[n][c] * mine);
      }
    }
  }
};

/// Asks for a unit's keys and values.
template <int kDim>
__device__ void FetchUnit(const AttendTask& task, const int32_t* table, int kv_head, int unit, int context, UnitMemory<kDim>& to) {
  const __half* page[2];
  FindPages<kDim>(page, task.cache, table, kv_head, unit, context);
  constexpr int kPieces = kDim / 8;  // of a position
  for (int i = threadIdx.x; i < 2 * 16 * kPieces; i += kThreads) {
    const int h = i / (16 * kPieces), position = i / kPieces % 16, piece = i % kPieces;
    CopyAsync16(&to.keys[h][position][piece * 8], page[h] + position * kDim + piece * 8);
    CopyAsync16(&to.values[h][0][0] + i % (16 * kPieces) * 8, page[h] + 16 * kDim + i % (16 * kPieces) * 8);
  }
}

/// The rows of the thread whose context is longer than one split: what they have goes to the folded sums.
template <int kDim>
__device__ __forceinline__ void Fold(RowSums<kDim>& sums, float (&folded)[kDim / 2 + 4][kThreads], const bool (&rows)[2]) {
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    if (!rows[row]) continue;
    float& m = folded[kDim / 2 + row][threadIdx.x];
    float& sum = folded[kDim / 2 + 2 + row][threadIdx.x];
    const float largest = fmaxf(m, sums.m[row]), before = Rescale(m, largest), mine = Rescale(sums.m[row], largest);
    m = largest;
    sum = fmaf(sums.sum[row], mine, sum * before);
    sums.m[row] = kNone;
    sums.sum[row] = 0;
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        float& o = folded[n * 4 + 2 * row + c][threadIdx.x];
        o = fmaf(sums.o[n][2 * row + c], mine, o * before);
        sums.o[n][2 * row + c] = 0;
      }
    }
  }
}

template <int kDim>
__global__ void __launch_bounds__(kThreads) AttendPrompt(const __grid_constant__ AttendTask task) {
  extern __shared__ __align__(16) uint8_t memory[];
  auto& shared = *reinterpret_cast<PromptAttendShared<kDim>*>(memory);
  LetNextStart();
  WaitForPrevious();
  const int first_token = task.staging.block_tokens[blockIdx.x], count = task.staging.block_counts[blockIdx.x], kv_head = blockIdx.y;
  const int heads = task.heads / task.kv_heads, dim = task.head_dim, warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int32_t* table = task.staging.pages + static_cast<size_t>(task.staging.sequences[first_token]) * task.staging.pages_per_sequence;
  const int first_position = task.staging.positions[first_token], context = first_position + count;
  const int units = (context + kUnit - 1) / kUnit;

  FetchUnit<kDim>(task, table, kv_head, 0, context, shared.units[0]);
  CopyCommit();
  StoreQueries<kDim, 16>(shared.query[warp], lane, 32, [&](int row, int d) {
    const int token = (warp * 16 + row) / heads, head = (warp * 16 + row) % heads;
    if (token >= count || d >= dim) return float2{0, 0};
    const float* query = task.query + (first_token + token) * task.query_stride + (kv_head * heads + head) * dim;
    return *reinterpret_cast<const float2*>(query + d);
  });
  // What the two rows of this thread are, and how many positions each may see; none where there is no row.
  int token[2], seen[2];
  bool long_row[2];
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    token[row] = (warp * 16 + g + 8 * row) / heads;
    seen[row] = token[row] < count ? first_position + token[row] + 1 : 0;
    long_row[row] = seen[row] > kSplitPositions;
    shared.folded[kDim / 2 + row][threadIdx.x] = kNone;
    shared.folded[kDim / 2 + 2 + row][threadIdx.x] = 0;
  }
  for (int i = 0; i < kDim / 2; ++i) shared.folded[i][threadIdx.x] = 0;
  const int last_of_warp = min(count - 1, (warp * 16 + 15) / heads), seen_by_warp = warp * 16 / heads < count ? first_position + last_of_warp + 1 : 0;

  RowSums<kDim> sums;
  for (int unit = 0; unit < units; ++unit) {
    CopyWait<0>();
    __syncthreads();
    if (unit + 1 < units) FetchUnit<kDim>(task, table, kv_head, unit + 1, context, shared.units[(unit + 1) % 2]);
    CopyCommit();
    if (unit * kUnit < seen_by_warp) {
      const UnitMemory<kDim>& here = shared.units[unit % 2];
      const __half* const keys[2] = {&here.keys[0][0][0], &here.keys[1][0][0]};
      const __half* const values[2] = {&here.values[0][0][0], &here.values[1][0][0]};
      float s[4][4] = {};
#pragma unroll
      for (int block = 0; block < kDim / 32; ++block) {
        AddScores<kDim, true>(s, shared.query[warp], LoadKeys<UnitMemory<kDim>::kStride>(keys, block), block);
      }
      const int limit[2] = {seen[0] - unit * kUnit, seen[1] - unit * kUnit};
      uint32_t a[2][4];
      const UnitSums of_unit = Weigh(s, task.scale, limit, a);
      float o[kDim / 8][4] = {};
      AddValues<kDim>(o, a, values);
      sums.Add(of_unit.m, of_unit.sum, o);
    }
    if ((unit + 1) % kSplitUnits == 0) Fold<kDim>(sums, shared.folded, long_row);
  }
  Fold<kDim>(sums, shared.folded, long_row);
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    if (seen[row] == 0) continue;
    const int head = (warp * 16 + g + 8 * row) % heads;
    float* to = task.out + (first_token + token[row]) * task.out_stride + (kv_head * heads + head) * dim;
    const float sum = long_row[row] ? shared.folded[kDim / 2 + 2 + row][threadIdx.x] : sums.sum[row];
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const float o = long_row[row] ? shared.folded[n * 4 + 2 * row + c][threadIdx.x] : sums.o[n][2 * row + c];
        const int d = 8 * n + 2 * t + c;
        if (d < dim) to[d] = o / sum;
      }
    }
  }
}

template <int kDim>
void Run(const AttendTask& task, int blocks, const Launch& launch) {
  constexpr size_t kShared = sizeof(PromptAttendShared<kDim>);
  AllowSharedMemory(AttendPrompt<kDim>, kShared);
  LaunchKernel(AttendPrompt<kDim>, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(task.kv_heads)), kThreads, kShared, launch, task);
}

}  // namespace

size_t PromptAttendSharedBytes(int dim) {
  switch (dim) {
    case 32:
      return sizeof(PromptAttendShared<32>);
    case 64:
      return sizeof(PromptAttendShared<64>);
    case 96:
      return sizeof(PromptAttendShared<96>);
    default:
      return sizeof(PromptAttendShared<128>);
  }
}

void LaunchAttendPrompt(const AttendTask& task, int blocks, const Launch& launch) {
  switch (task.cache.dim) {
    case 32:
      return Run<32>(task, blocks, launch);
    case 64:
      return Run<64>(task, blocks, launch);
    case 96:
      return Run<96>(task, blocks, launch);
    case 128:
      return Run<128>(task, blocks, launch);
    default:
      return;  // PromptAttendFits lets no other size through
  }
}

}  // namespace edgellm::cuda
