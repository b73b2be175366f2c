// y = W x for one token. What counts is the time from the arrival of the input to the end, which every phase of a forward
// adds to the next: so few instructions, little code, no local memory, and weights that are there already. Each block
// takes an equal share of the pairs of rows. A warp multiplies a pair by a slice of 2,048 values of the input, which its
// lanes keep in registers; warps that share a pair are a team. Each team has a ring of its own in shared memory for its
// pairs, which it fills as it goes, for the first time before the kernel before has ended: up to 100 KB for all teams.
#pragma once

#include "backend/cuda/kernels/codes.cuh"
#include "backend/cuda/kernels/output.cuh"
#include "backend/cuda/kernels/prepare.cuh"

namespace edgellm::cuda {

inline constexpr int kTokenThreads = kPrepareThreads, kTokenWarps = kTokenThreads / 32;
inline constexpr int kMostDepth = 4;  // of a team's ring

/// A stage's 128 values of k are four lanes' (16 bytes of a chunk each); a slice is two steps of eight stages.
inline constexpr int kTokenSteps = 2, kStepStages = 32 / 4, kSliceOfStages = kTokenSteps * kStepStages;
static_assert(kSliceOfStages * kStageK == kSliceK);

/// How the work of a launch is cut, and where things lie in shared memory (bytes); made on the host. The rings come first.
struct TokenShape {
  int stages;         // of a row
  int slices;         // of a row: warps of a team
  int teams, depth;
  int pair_bytes, pair_scales;           // of PackedMatrix, where every instruction counts
  int slot_bytes, slot_scales, slot_zeros;  // a slot holds a pair; where what is not codes lies in it
  int input, input_scales, input_sums, sums;
};

/// The stream of a block's pairs into the rings: pair i is team i % teams' in its round i / teams, and lies in slot
/// round % depth of its ring.
template <int kGroup, bool kZeros>
struct PairStream {
  const PackedMatrix& m;
  const TokenShape& s;
  uint8_t* rings;
  uint64_t* barriers;  // [team][slot]
  uint32_t* left;      // likewise: warps of the team that are through with it
  int first, count;    // pairs of the block
  int team, slice;     // of this warp

  __device__ __forceinline__ uint8_t* Slot(int of_team, int slot) const { return rings + (slot * s.teams + of_team) * s.slot_bytes; }

  /// By one thread of the team where the chip copies by itself, else by all threads, for all teams.
  __device__ __forceinline__ void Issue(int round, int slot, const StreamPolicy& stream) const {
#if __CUDA_ARCH__ >= 900
    const int pair = round * s.teams + team;
    if (pair >= count) return;
    const auto at = static_cast<size_t>(first + pair);
    uint8_t* to = Slot(team, slot);
    uint64_t* barrier = barriers + team * s.depth + slot;
    ExpectBytes(barrier, s.pair_bytes + (kZeros ? 2 : 1) * s.pair_scales);
    CopyBulk(to, m.data + at * s.pair_bytes, s.pair_bytes, barrier, stream);
    if (kGroup != 0) CopyBulk(to + s.slot_scales, m.scales + at * s.pair_scales, s.pair_scales, barrier, stream);
    if (kZeros) CopyBulk(to + s.slot_zeros, m.zeros + at * s.pair_scales, s.pair_scales, barrier, stream);
#else
    const int pairs = min(s.teams, count - round * s.teams);
    for (int i = 0; i < pairs; ++i) {
      const auto at = static_cast<size_t>(first + round * s.teams + i);
      uint8_t* to = Slot(i, slot);
      for (int j = threadIdx.x * 16; j < s.pair_bytes; j += kTokenThreads * 16) CopyAsync16(to + j, m.data + at * s.pair_bytes + j);
      for (int j = threadIdx.x * 16; j < s.pair_scales; j += kTokenThreads * 16) {
        CopyAsync16(to + s.slot_scales + j, m.scales + at * s.pair_scales + j);
        if (kZeros) CopyAsync16(to + s.slot_zeros + j, m.zeros + at * s.pair_scales + j);
      }
    }
    CopyCommit();
#endif
  }

  /// All that can be under way at once.
  __device__ __forceinline__ void Start(const StreamPolicy& stream) const {
#if __CUDA_ARCH__ >= 900
    if (threadIdx.x % 32 != 0 || slice != 0 || team >= s.teams) return;
#pragma unroll 1
    for (int slot = 0; slot < s.depth; ++slot) {
      InitBarrier(barriers + team * s.depth + slot);
      left[team * s.depth + slot] = 0;
    }
    PublishBarriers();
#pragma unroll 1
    for (int slot = 0; slot < s.depth; ++slot) Issue(slot, slot, stream);
#else
    Issue(0, 0, stream);
#endif
  }
  /// Until the team's pair of a round has arrived. Older chips have one more round under way meanwhile, where there is room.
  __device__ __forceinline__ void Wait(int round, int slot, uint32_t parity, const StreamPolicy& stream) const {
#if __CUDA_ARCH__ >= 900
    WaitBarrier(barriers + team * s.depth + slot, parity);
#else
    if (s.depth == 1 && round > 0) Issue(round, 0, stream);
    CopyWait<0>();
    __syncthreads();
    if (s.depth > 1) Issue(round + 1, slot + 1 == s.depth ? 0 : slot + 1, stream);
#endif
  }
  /// By every warp when it is through with a pair: the last one of the team has another brought to its place.
  __device__ __forceinline__ void Leave(int round, int slot, const StreamPolicy& stream) const {
#if __CUDA_ARCH__ >= 900
    __syncwarp();
    if (threadIdx.x % 32 != 0 || (round + s.depth) * s.teams + team >= count) return;
    if (s.slices > 1) {
      uint32_t* mine = left + team * s.depth + slot;
      if (atomicAdd(mine, 1u) != static_cast<uint32_t>(s.slices) - 1) return;
      *mine = 0;
    }
    Issue(round + s.depth, slot, stream);
#else
    __syncthreads();
#endif
  }
};

/// Adds a lane's 32 products of a stage (its bytes of the chunks of a pair) to `a` and `b`, by groups; x: four k a word.
template <Codes kCodes, int kParts>
__device__ __forceinline__ void MultiplyStage(const uint8_t* codes, const uint32_t (&x)[8], int32_t (&a)[kParts], int32_t (&b)[kParts]) {
  constexpr int kSteps = kChunkSteps<kCodes>;
#pragma unroll
  for (int chunk = 0; chunk < kStageK / ChunkK(kCodes); ++chunk) {
    const uint4 w = *reinterpret_cast<const uint4*>(codes + chunk * kPairChunkBytes);
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      uint32_t f[4];
      if (step == 0) Unpack<kCodes, 0>(w, f);
      if (kSteps >= 2 && step == 1) Unpack<kCodes, 1 % kSteps>(w, f);
      if (kSteps >= 4 && step == 2) Unpack<kCodes, 2 % kSteps>(w, f);
      if (kSteps >= 4 && step == 3) Unpack<kCodes, 3 % kSteps>(w, f);
      const int k32 = chunk * kSteps + step, part = k32 * kParts / 4;
      a[part] = __dp4a(static_cast<int>(f[0]), static_cast<int>(x[2 * k32]), a[part]);
      b[part] = __dp4a(static_cast<int>(f[1]), static_cast<int>(x[2 * k32]), b[part]);
      a[part] = __dp4a(static_cast<int>(f[2]), static_cast<int>(x[2 * k32 + 1]), a[part]);
      b[part] = __dp4a(static_cast<int>(f[3]), static_cast<int>(x[2 * k32 + 1]), b[part]);
    }
  }
}

/// What a lane keeps of the input: the codes of its stage of each step; the scales of the stage whose sums it ends up with.
/// Past the row's end codes and scales are zero, and the last stage stands for those that are not there.
template <Codes kCodes, int kGroup, bool kZeros>
struct LaneInput {
  static constexpr int kParts = kGroup == 0 || kGroup > kStageK ? 1 : kStageK / kGroup;  // groups of a stage
  uint32_t x[kTokenSteps][8];
  int codes_at[kTokenSteps];
  float scale[kParts];
  int32_t sum[kParts];
  int group;      // the first of its stage
  bool two;       // the second step has something

  __device__ __forceinline__ void Load(const uint8_t* shared, const TokenShape& s, int slice) {
    constexpr int kStageBytes = kStageK / ChunkK(kCodes) * kPairChunkBytes;
    const int lane = threadIdx.x % 32, t = lane % 4, first = slice * kSliceOfStages + lane / 4;
    const float* scales = reinterpret_cast<const float*>(shared + s.input_scales);
    const int32_t* sums = reinterpret_cast<const int32_t*>(shared + s.input_sums);
    two = slice * kSliceOfStages + kStepStages < s.stages;
#pragma unroll
    for (int step = 0; step < kTokenSteps; ++step) {
      const int stage = first + step * kStepStages;
      codes_at[step] = min(stage, s.stages - 1) * kStageBytes + t * 16;
#pragma unroll
      for (int block = 0; block < 2; ++block) {
        uint4 v = {0, 0, 0, 0};
        if (stage < s.stages) v = *reinterpret_cast<const uint4*>(shared + s.input + (stage * 2 + block) * 64 + t * 16);
        x[step][block * 4] = v.x;
        x[step][block * 4 + 1] = v.y;
        x[step][block * 4 + 2] = v.z;
        x[step][block * 4 + 3] = v.w;
      }
    }
    constexpr int kWhole = kGroup > kStageK ? kGroup / kStageK : 1;  // stages of a group, which may end in its midst
    const int own = first + t / 2 * kStepStages, there = min(own, s.stages - 1);
    const bool counts = own / kWhole * kWhole < s.stages;
    group = kGroup == 0 ? 0 : there * kStageK / kGroup;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      // Ternary layers quantise a token's whole row with one scale.
      const int at = kCodes == Codes::kTernary ? 0 : group + part;
      scale[part] = counts ? scales[at] : 0.0f;
      sum[part] = kZeros && counts ? sums[at] : 0;
    }
  }
};

/// The sum of a slice of a pair of rows, of row lane % 2. Integers, as bits of a float, where the row is one group.
template <Codes kCodes, int kGroup, bool kZeros>
__device__ __forceinline__ float MultiplySlice(const LaneInput<kCodes, kGroup, kZeros>& in, const uint8_t* codes, const uint8_t* scales,
                                               const uint8_t* zeros) {
  constexpr int kParts = LaneInput<kCodes, kGroup, kZeros>::kParts;
  const int lane = threadIdx.x % 32;
  const bool odd = lane % 2 != 0, second = lane % 4 / 2 != 0;
  int32_t a[kTokenSteps][kParts] = {}, b[kTokenSteps][kParts] = {};
  MultiplyStage<kCodes, kParts>(codes + in.codes_at[0], in.x[0], a[0], b[0]);
  if (in.two) MultiplyStage<kCodes, kParts>(codes + in.codes_at[1], in.x[1], a[1], b[1]);
  if constexpr (kGroup == 0) {
    int32_t sum = odd ? b[0][0] + b[1][0] : a[0][0] + a[1][0];
    sum += __shfl_xor_sync(~0u, odd ? a[0][0] + a[1][0] : b[0][0] + b[1][0], 1);
#pragma unroll
    for (int offset = 2; offset < 32; offset *= 2) sum += __shfl_xor_sync(~0u, sum, offset);
    return __int_as_float(sum);
  } else {
    // Four lanes have four sums in parts: of two rows, in two steps. Each lane ends up with one: row t % 2, step t / 2.
    float value[kParts], factor[kParts];
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      int32_t of_row[kTokenSteps];
#pragma unroll
      for (int step = 0; step < kTokenSteps; ++step) {
        const int32_t give = odd ? a[step][part] : b[step][part];
        of_row[step] = (odd ? b[step][part] : a[step][part]) + __shfl_xor_sync(~0u, give, 1);
      }
      int32_t dot = (second ? of_row[1] : of_row[0]) + __shfl_xor_sync(~0u, second ? of_row[0] : of_row[1], 2);
      if (kGroup > kStageK) dot += __shfl_xor_sync(~0u, dot, 4);
      const int at = (in.group + part) * 2 + lane % 2;
      const float zero = kZeros ? __half2float(reinterpret_cast<const __half*>(zeros)[at]) : 0.0f;
      const float scale = kCodes == Codes::kTernary ? reinterpret_cast<const float*>(scales)[at]
                                                    : __half2float(reinterpret_cast<const __half*>(scales)[at]);
      value[part] = ValueOf<kCodes>(dot, kZeros, zero, in.sum[part]);
      factor[part] = scale * in.scale[part];
    }
    // The groups of a strip in order, from stage to stage.
    constexpr int kStripStages = StripK(kCodes) / kStageK, kStep = kGroup > kStageK ? kGroup / kStageK : 1;  // stages of a link
    const auto chain = [&](float sum) {
#pragma unroll
      for (int part = 0; part < kParts; ++part) sum = fmaf(value[part], factor[part], sum);
      return sum;
    };
    float strip = chain(0.0f);
#pragma unroll
    for (int stage = kStep; stage < kStripStages; stage += kStep) {
      const float before = __shfl_up_sync(~0u, strip, 4 * kStep);
      if (lane / 4 % kStripStages / kStep == stage / kStep) strip = chain(before);
    }
    float slice = 0;
#pragma unroll
    for (int step = 0; step < kTokenSteps; ++step) {
#pragma unroll
      for (int stage = kStripStages - 1; stage < kStepStages; stage += kStripStages) {
        slice += __shfl_sync(~0u, strip, stage * 4 + step * 2 + lane % 2);
      }
    }
    return slice;
  }
}

/// 1/rms, by which results are multiplied: the last warp computes it while the others multiply; on older chips every warp
/// does, when it needs it.
struct SharedFactor {
  uint64_t there;
  float value;

  __device__ __forceinline__ void Init() {
#if __CUDA_ARCH__ >= 900
    if (threadIdx.x == 0) InitBarrier(&there);
#endif
  }
  __device__ __forceinline__ void Compute(const PrepareTask& input, const PrepareScratch& scratch) {
#if __CUDA_ARCH__ >= 900
    if (threadIdx.x / 32 != kTokenWarps - 1) return;
    const float factor = InverseRms(scratch, input.cols, input.epsilon);
    if (threadIdx.x % 32 != 0) return;
    value = factor;
    ArriveAtBarrier(&there);
#endif
  }
  /// By a whole warp.
  __device__ __forceinline__ float Get(const PrepareTask& input, const PrepareScratch& scratch) {
#if __CUDA_ARCH__ >= 900
    WaitBarrier(&there, 0);
    return *const_cast<volatile float*>(&value);
#else
    return InverseRms(scratch, input.cols, input.epsilon);
#endif
  }
};

/// kLong: rows of more than a slice. kClass: what can be known of the output.
template <Codes kCodes, int kGroup, bool kZeros, bool kLong, OutputClass kClass>
__global__ void __launch_bounds__(kTokenThreads, 2)
    TokenLinear(const __grid_constant__ LinearTask task, const __grid_constant__ TokenShape s) {
  extern __shared__ __align__(128) uint8_t shared[];
  __shared__ PrepareScratch scratch;
  __shared__ uint64_t barriers[kTokenWarps * kMostDepth];
  __shared__ uint32_t left[kTokenWarps * kMostDepth];
  __shared__ SharedFactor shared_factor;
  const PackedMatrix& m = task.matrix;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const auto all = static_cast<uint32_t>(m.pairs());
  const int first = static_cast<int>(all * blockIdx.x / gridDim.x);
  const int count = static_cast<int>(all * (blockIdx.x + 1) / gridDim.x) - first;
  LetNextStart();
  const StreamPolicy stream;
  const int team = kLong ? warp / s.slices : warp, slice = kLong ? warp - team * s.slices : 0;
  const PairStream<kGroup, kZeros> weights = {m, s, shared, barriers, left, first, count, team, slice};
  shared_factor.Init();
  weights.Start(stream);
  // The pair that this thread finishes: the warp's, one a lane, or, where it takes several warps to add one, any.
  const int my_step = kLong ? kTokenThreads : 32 * s.teams;
  int mine = kLong ? static_cast<int>(threadIdx.x) : team < s.teams ? team + lane * s.teams : count;
  FinishInput finish;
  if (mine < count) finish = LoadFinish<kClass>(task.out, task.staging, first + mine, 0);
  constexpr int kAtOnce = !kLong ? 1 : kCodes == Codes::kTernary ? 2 : 4;  // as registers allow
  const auto norm = LoadNorm<kAtOnce>(task.input);
  const float* x = task.input.x;
  if (task.input.gather != nullptr) x += task.input.gather[0] * task.input.stride;
  WaitForPrevious();
  uint8_t* codes = shared + s.input;
  float* x_scales = reinterpret_cast<float*>(shared + s.input_scales);
  const PreparedRow to = {reinterpret_cast<uint32_t*>(codes), 16, x_scales, reinterpret_cast<int32_t*>(shared + s.input_sums), 1};
  PrepareRow<kAtOnce>(task.input, kCodes == Codes::kTernary ? 0 : kGroup, kZeros, norm, x, s.stages, to, scratch);
  float2 old = {0, 0};
  if (mine < count) old = LoadOld<kClass>(task.out, first + mine, 0);
  __syncthreads();

  const bool has_factor = HasResultFactor(task.input, kCodes == Codes::kTernary ? 0 : kGroup);
  if (has_factor) shared_factor.Compute(task.input, scratch);
  const auto factor_of_results = [&] { return has_factor ? shared_factor.Get(task.input, scratch) : 1.0f; };
  float2* sums = reinterpret_cast<float2*>(shared + s.sums);
  LaneInput<kCodes, kGroup, kZeros> in;
  if (team < s.teams) in.Load(shared, s, slice);
  const auto finish_pair = [&](float2 sum, float factor) {
    if constexpr (kGroup == 0) {
      const float2 scale = reinterpret_cast<const float2*>(m.scales)[first + mine];
      sum = {fmaf(ValueOf<kCodes>(__float_as_int(sum.x), false, 0, 0), scale.x * x_scales[0], 0.0f),
             fmaf(ValueOf<kCodes>(__float_as_int(sum.y), false, 0, 0), scale.y * x_scales[0], 0.0f)};
    }
    Finish<kClass>(finish, old, task.out, first + mine, 0, sum.x * factor, sum.y * factor);
    mine += my_step;
    if (mine >= count) return;
    finish = LoadFinish<kClass>(task.out, task.staging, first + mine, 0);
    old = LoadOld<kClass>(task.out, first + mine, 0);
  };
  int slot = 0;
  uint32_t parity = 0;
  float2 sum = {0, 0};
#pragma unroll 1
  for (int round = 0; round * s.teams < count; ++round) {
    const int pair = round * s.teams + team;
    const bool has_pair = team < s.teams && pair < count;
#if __CUDA_ARCH__ >= 900
    if (!has_pair) break;  // older chips go from round to round together
#endif
    weights.Wait(round, slot, parity, stream);
    if (has_pair) {
      const uint8_t* here = weights.Slot(team, slot);
      const float row = MultiplySlice<kCodes, kGroup, kZeros>(in, here, here + s.slot_scales, here + s.slot_zeros);
      if constexpr (kLong) {
        if (lane < 2) reinterpret_cast<float*>(sums + pair * s.slices + slice)[lane] = row;
      } else {
        const float other = __shfl_xor_sync(~0u, row, 1);
        if (lane == round % 32) sum = lane % 2 == 0 ? float2{row, other} : float2{other, row};
        if (round % 32 == 31 || pair + s.teams >= count) {
          const float factor = factor_of_results();
          if (mine <= pair) finish_pair(sum, factor);
        }
      }
    }
    weights.Leave(round, slot, stream);
    if (++slot == s.depth) {
      slot = 0;
      parity ^= 1;
    }
  }
  if constexpr (kLong) {
    __syncthreads();
    const float factor = factor_of_results();
    while (mine < count) {
      const float2* from = sums + mine * s.slices;
      float2 total = from[0];
      for (int i = 1; i < s.slices; ++i) {
        if constexpr (kGroup == 0) {
          total = {__int_as_float(__float_as_int(total.x) + __float_as_int(from[i].x)),
                   __int_as_float(__float_as_int(total.y) + __float_as_int(from[i].y))};
        } else {
          total = {total.x + from[i].x, total.y + from[i].y};
        }
      }
      finish_pair(total, factor);
    }
  }
}

}  // namespace edgellm::cuda
