// y = W x for 1 to 8 tokens. What counts is the time from the arrival of the input to the end, which every phase of a
// forward adds to the next: so few instructions, no local memory, and weights that are there already. They stream in
// sections of 16 strips into a ring in shared memory, the first of them before the kernel before has ended, since they do
// not depend on it. Each warp takes one strip (four chunks of a tile) of a section and adds its groups in registers; the
// strips of a row meet in shared memory, where a quad of lanes a pair of rows and token adds and finishes them.
#pragma once

#include "backend/cuda/kernels/codes.cuh"
#include "backend/cuda/kernels/output.cuh"
#include "backend/cuda/kernels/prepare.cuh"

namespace edgellm::cuda {

inline constexpr int kDecodeThreads = kPrepareThreads, kDecodeWarps = kDecodeThreads / 32;
inline constexpr int kMostSlots = 4;  // of the ring

/// How the work of a launch is cut, and where things lie in shared memory (bytes); made on the host.
struct DecodeShape {
  int strips;              // of a row
  uint32_t per_strips;     // 2^16 / strips, rounded up: for divisions of small numbers
  int missing;             // bytes that the last strip of a row lacks
  int step;                // kDecodeWarps % strips
  int segments;            // of the input, whole strips
  int slots;               // of the ring
  int sums_mask;           // room for the sums of so many strips, less one: a power of two
  int finish_sections;     // after so many sections tiles are finished: as seldom as there is room for sums
  int input, input_scales, input_sums, sums;  // offsets; the ring comes first
};

template <Codes kCodes, int kGroup, bool kZeros>
struct DecodeFormat {
  static constexpr int kSteps = kStripChunks * kChunkSteps<kCodes>;      // of a strip: matrix steps of 32 k
  static constexpr int kGroups = kGroup == 0 ? 0 : StripK(kCodes) / kGroup;  // of a strip
  static constexpr int kScaleBytes = kGroups * (kCodes == Codes::kTernary ? 8 : 4);  // of a strip and g
  static constexpr int kSectionCodes = kDecodeWarps * kStripBytes, kSectionScales = kDecodeWarps * 8 * kScaleBytes;
  static constexpr int kSlotBytes = kSectionCodes + (kZeros ? 2 : 1) * kSectionScales;
};

/// The stream of a block's strips into the ring: strip i of the block is strip i % strips of its tile i / strips.
template <typename Format, bool kZeros>
struct SectionStream {
  const PackedMatrix& m;
  const DecodeShape& s;
  uint8_t* ring;
  uint64_t* barriers;
  int first_tile, count;  // strips of the block

  __device__ __forceinline__ int sections() const { return (count + kDecodeWarps - 1) / kDecodeWarps; }

  /// By the first thread where the chip copies by itself, else by all.
  __device__ __forceinline__ void Issue(int section, int slot, const StreamPolicy& stream) const {
    const int first = section * kDecodeWarps, last = min(count, first + kDecodeWarps);
    const int first_row = first / s.strips, last_row = last / s.strips;
    const int row_bytes = m.chunks * kChunkBytes;
    const int begin = first_row * row_bytes + (first - first_row * s.strips) * kStripBytes;
    const int end = last_row * row_bytes + (last - last_row * s.strips) * kStripBytes;
    const size_t tile = static_cast<size_t>(first_tile);
    const uint8_t* codes = m.data + tile * row_bytes + begin;
    const size_t scale_at = (tile * s.strips + first) * 8 * Format::kScaleBytes;
    const int scale_bytes = (last - first) * 8 * Format::kScaleBytes;
    uint8_t* to = ring + slot * Format::kSlotBytes;
#if __CUDA_ARCH__ >= 900
    ExpectBytes(barriers + slot, end - begin + (kZeros ? 2 : 1) * scale_bytes);
    CopyBulk(to, codes, end - begin, barriers + slot, stream);
    if (Format::kGroups > 0) CopyBulk(to + Format::kSectionCodes, m.scales + scale_at, scale_bytes, barriers + slot, stream);
    if (kZeros) CopyBulk(to + Format::kSectionCodes + Format::kSectionScales, m.zeros + scale_at, scale_bytes, barriers + slot, stream);
#else
    for (int i = threadIdx.x * 16; i < end - begin; i += kDecodeThreads * 16) CopyAsync16(to + i, codes + i);
    for (int i = threadIdx.x * 16; i < scale_bytes; i += kDecodeThreads * 16) {
      CopyAsync16(to + Format::kSectionCodes + i, m.scales + scale_at + i);
      if (kZeros) CopyAsync16(to + Format::kSectionCodes + Format::kSectionScales + i, m.zeros + scale_at + i);
    }
    CopyCommit();
#endif
  }

  /// All that can be under way at once.
  __device__ __forceinline__ void Start(const StreamPolicy& stream) const {
#if __CUDA_ARCH__ >= 900
    if (threadIdx.x != 0) return;
    for (int slot = 0; slot < s.slots; ++slot) InitBarrier(barriers + slot);
    PublishBarriers();
    for (int slot = 0; slot < min(s.slots, sections()); ++slot) Issue(slot, slot, stream);
#else
    Issue(0, 0, stream);
#endif
  }
  /// Until a section has arrived. Older chips have one more under way meanwhile, where there is a second slot.
  __device__ __forceinline__ void Wait(int section, int slot, uint32_t parity, const StreamPolicy& stream) const {
#if __CUDA_ARCH__ >= 900
    WaitBarrier(barriers + slot, parity);
#else
    if (s.slots == 1 && section > 0) Issue(section, 0, stream);
    CopyWait<0>();
    __syncthreads();
    if (s.slots > 1 && section + 1 < sections()) Issue(section + 1, slot + 1 == s.slots ? 0 : slot + 1, stream);
#endif
  }
  /// By every warp when it is through with a section: the last one has another brought to its place.
  __device__ __forceinline__ void Leave(int section, int slot, uint32_t* left, const StreamPolicy& stream) const {
#if __CUDA_ARCH__ >= 900
    if (section + s.slots >= sections()) return;
    __syncwarp();
    if (threadIdx.x % 32 == 0 && atomicAdd(left + slot, 1u) == kDecodeWarps - 1) {
      left[slot] = 0;
      Issue(section + s.slots, slot, stream);
    }
#else
    __syncthreads();
#endif
  }
};

/// The prepared input in shared memory: codes of one token [block][64 bytes], of eight [block][512 bytes]; scales and sums
/// [group][token].
struct DecodeInput {
  const uint8_t* codes;
  const float* scales;
  const int32_t* sums;
};

/// Multiplies one strip and stores its sums: [token][g], a pair of rows (g and g + 8) each; integers where the row is one
/// group, else fused multiply-adds of the groups in order.
template <Codes kCodes, int kGroup, bool kZeros, bool kOne>
__device__ __forceinline__ void AddStrip(const uint8_t* strip_codes, const uint8_t* strip_scales, const uint8_t* strip_zeros,
                                         const DecodeInput& in, int strip, float2* to) {
  using Format = DecodeFormat<kCodes, kGroup, kZeros>;
  constexpr int kGroupSteps = kGroup == 0 ? Format::kSteps : kGroup / 32, kPanel = kOne ? 1 : kPanelTokens, kSub = kChunkSteps<kCodes>;
  constexpr int kBlockBytes = kOne ? 64 : kChunkBytes, kCount = kOne ? 1 : 2;
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const uint8_t* codes = in.codes + strip * (Format::kSteps / 2) * kBlockBytes + (kOne ? t : lane) * 16;
  int32_t d[4] = {};
  float2 sums[kCount] = {};
  uint4 x, w;
#pragma unroll
  for (int step = 0; step < Format::kSteps; ++step) {
    if (step % kSub == 0) w = *reinterpret_cast<const uint4*>(strip_codes + step / kSub * kChunkBytes + lane * 16);
    if (step % 2 == 0) x = *reinterpret_cast<const uint4*>(codes + step / 2 * kBlockBytes);
    uint32_t a[4];
    if (step % kSub == 0) Unpack<kCodes, 0>(w, a);
    if (kSub >= 2 && step % kSub == 1) Unpack<kCodes, 1 % kSub>(w, a);
    if (kSub >= 4 && step % kSub == 2) Unpack<kCodes, 2 % kSub>(w, a);
    if (kSub >= 4 && step % kSub == 3) Unpack<kCodes, 3 % kSub>(w, a);
    MmaInt8(d, a, step % 2 == 0 ? x.x : x.z, step % 2 == 0 ? x.y : x.w);
    if (kGroup == 0 || (step + 1) % kGroupSteps != 0) continue;
    const int of_strip = step / kGroupSteps;
    const uint8_t* scale_at = strip_scales + g * Format::kScaleBytes;
    float2 scale, zero = {0, 0};
    if constexpr (kCodes == Codes::kTernary) {
      scale = reinterpret_cast<const float2*>(scale_at)[of_strip];
    } else {
      scale = __half22float2(reinterpret_cast<const __half2*>(scale_at)[of_strip]);
    }
    if constexpr (kZeros) zero = __half22float2(reinterpret_cast<const __half2*>(strip_zeros + g * Format::kScaleBytes)[of_strip]);
    // Ternary layers quantise a token's whole row with one scale.
    const int group = kCodes == Codes::kTernary ? 0 : strip * Format::kGroups + of_strip;
#pragma unroll
    for (int c = 0; c < kCount; ++c) {
      const int at = group * kPanel + (kOne ? 0 : 2 * t + c);
      const int32_t x_sum = kZeros ? in.sums[at] : 0;
      sums[c].x = fmaf(ValueOf<kCodes>(d[c], kZeros, zero.x, x_sum), scale.x * in.scales[at], sums[c].x);
      sums[c].y = fmaf(ValueOf<kCodes>(d[2 + c], kZeros, zero.y, x_sum), scale.y * in.scales[at], sums[c].y);
    }
#pragma unroll
    for (int c = 0; c < 4; ++c) d[c] = 0;
  }
#pragma unroll
  for (int c = 0; c < kCount; ++c) {
    if constexpr (kGroup == 0) sums[c] = {__int_as_float(d[c]), __int_as_float(d[2 + c])};
    if (!kOne || t == 0) to[(kOne ? 0 : 2 * t + c) * 8 + g] = sums[c];
  }
}

/// Lanes that add the strips of one pair of rows together.
inline constexpr int kFinishLanes = 4;

/// Adds the strips of a pair of rows: `sums` of strip i lie at (first + i) & mask, each `step` pairs. All lanes of a quad
/// have the result. kGroup 0: integers, else floats in the order of layout.h.
template <Codes kCodes, int kGroup>
__device__ __forceinline__ float2 AddStrips(const float2* sums, int first, int mask, int step, int strips) {
  const int lane = threadIdx.x % kFinishLanes;
  if constexpr (kGroup == 0) {
    int32_t a = 0, b = 0;
    for (int i = lane; i < strips; i += kFinishLanes) {
      const float2 v = sums[(first + i & mask) * step];
      a += __float_as_int(v.x);
      b += __float_as_int(v.y);
    }
#pragma unroll
    for (int offset = 1; offset < kFinishLanes; offset *= 2) {
      a += __shfl_xor_sync(~0u, a, offset);
      b += __shfl_xor_sync(~0u, b, offset);
    }
    return {__int_as_float(a), __int_as_float(b)};
  } else {
    // A lane adds every fourth slice; the slices are added in order. What is not there is zero, and changes nothing.
    constexpr int kStrips = kSliceK / StripK(kCodes);
    const auto slice_of = [&](int index) {
      float2 slice = {0, 0};
#pragma unroll
      for (int part = 0; part < kStrips; part += 4) {
        float2 v[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int strip = index * kStrips + part + i;
          v[i] = strip < strips ? sums[(first + strip & mask) * step] : float2{0, 0};
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) slice = {slice.x + v[i].x, slice.y + v[i].y};
      }
      return slice;
    };
    if (strips <= kStrips) return slice_of(0);
    float2 total = {0, 0};
    for (int slice = 0; slice * kStrips < strips; slice += kFinishLanes) {
      const float2 mine = slice_of(slice + lane);
#pragma unroll
      for (int j = 0; j < kFinishLanes; ++j) {
        total.x += __shfl_sync(~0u, mine.x, j, kFinishLanes);
        total.y += __shfl_sync(~0u, mine.y, j, kFinishLanes);
      }
    }
    return total;
  }
}

/// The input to shared memory, for one token prepared by this block, for several as a kernel of its own has left it.
template <bool kWholeRow, bool kOne>
__device__ __forceinline__ void FetchInput(const LinearTask& task, const float* x, const EarlyNorm& norm, const DecodeShape& s,
                                           uint8_t* shared, PrepareScratch& scratch) {
  uint8_t* codes = shared + s.input;
  float* x_scales = reinterpret_cast<float*>(shared + s.input_scales);
  int32_t* x_sums = reinterpret_cast<int32_t*>(shared + s.input_sums);
  if constexpr (kOne) {
    PrepareRow<kWholeRow>(task.input, norm, x, s.segments, {reinterpret_cast<uint32_t*>(codes), 16, x_scales, x_sums, 1}, scratch);
  } else {
    const PreparedInput& in = task.input.out;
    const uint4* from = reinterpret_cast<const uint4*>(in.codes);
#pragma unroll 4
    for (int i = threadIdx.x; i < s.segments * 2 * (kChunkBytes / 16); i += kDecodeThreads) {
      reinterpret_cast<uint4*>(codes)[i] = __ldcg(from + i);
    }
    for (int i = threadIdx.x; i < in.groups * kPanelTokens; i += kDecodeThreads) {
      x_scales[i] = __ldcg(in.scales + i);
      if (task.matrix.zeros != nullptr) x_sums[i] = __ldcg(in.sums + i);
    }
  }
}

template <Codes kCodes, int kGroup, bool kZeros, bool kOne>
__global__ void __launch_bounds__(kDecodeThreads, kOne ? 2 : 1)
    DecodeLinear(const __grid_constant__ LinearTask task, const __grid_constant__ DecodeShape s) {
  using Format = DecodeFormat<kCodes, kGroup, kZeros>;
  constexpr int kTokens = kOne ? 1 : kPanelTokens, kItems = kDecodeThreads / kFinishLanes, kPairs = 8 * kTokens;
  extern __shared__ __align__(128) uint8_t shared[];
  __shared__ PrepareScratch scratch;
  __shared__ uint64_t barriers[kMostSlots];
  __shared__ uint32_t left[kMostSlots];  // warps that are through with a slot's section
  const PackedMatrix& m = task.matrix;
  const int warp = threadIdx.x / 32;
  const int first_tile = static_cast<int>(static_cast<uint32_t>(m.tiles) * blockIdx.x / gridDim.x);
  const int last_tile = static_cast<int>(static_cast<uint32_t>(m.tiles) * (blockIdx.x + 1) / gridDim.x);
  // Pairs of rows (and tokens) are finished by quads of lanes, the last warps first: they may have no strip.
  const int my_item = (kDecodeThreads - 32 - warp * 32 + threadIdx.x % 32) / kFinishLanes;
  const int g = my_item % 8, my_token = kOne ? 0 : my_item / 8 % 8;

  LetNextStart();
  const StreamPolicy stream;
  const SectionStream<Format, kZeros> weights = {m, s, shared, barriers, first_tile, (last_tile - first_tile) * s.strips};
  if (weights.count == 0) return WaitForPrevious();  // FillsDevice
  if (threadIdx.x < kMostSlots) left[threadIdx.x] = 0;
  weights.Start(stream);
  int tile = first_tile + my_item / kPairs;  // that this quad finishes next
  FinishInput finish;
  if (tile < last_tile) finish = LoadFinish(task.out, task.staging, tile, g, my_token);
  EarlyNorm norm;
  const float* x = task.input.x;
  if constexpr (kOne) {
    norm = LoadNorm(task.input);
    if (task.input.gather != nullptr) x += task.input.gather[0] * task.input.stride;
  }
  WaitForPrevious();
  float2 old = {0, 0};
  if (tile < last_tile) old = LoadOld(task.out, tile, g, my_token);
  FetchInput<kCodes == Codes::kTernary, kOne>(task, x, norm, s, shared, scratch);
  __syncthreads();

  const DecodeInput in = {shared + s.input, reinterpret_cast<const float*>(shared + s.input_scales),
                          reinterpret_cast<const int32_t*>(shared + s.input_sums)};
  float2* sums = reinterpret_cast<float2*>(shared + s.sums);
  int slot = 0, phase = 0, ended = first_tile;  // phase: the section's first strip in its row
  uint32_t parity = 0;
  float factor = 0;
  int until_finish = s.finish_sections;
  for (int first = 0, section = 0; first < weights.count; first += kDecodeWarps, ++section) {
    weights.Wait(section, slot, parity, stream);
    if (first + warp < weights.count) {
      // The last strip of a row may be short: whatever comes behind one is moved forward.
      const int rows = static_cast<int>((phase + warp) * s.per_strips >> 16), strip = phase + warp - rows * s.strips;
      const uint8_t* here = shared + slot * Format::kSlotBytes;
      const uint8_t* scales = here + Format::kSectionCodes + warp * 8 * Format::kScaleBytes;
      AddStrip<kCodes, kGroup, kZeros, kOne>(here + warp * kStripBytes - rows * s.missing, scales, scales + Format::kSectionScales, in, strip,
                                             sums + (first + warp & s.sums_mask) * kPairs);
    }
    if (section == 0 && tile < last_tile) factor = kOne ? ResultFactor(task.input, scratch) : __ldcg(task.input.out.factors + my_token);
    weights.Leave(section, slot, left, stream);
    ended += static_cast<int>((phase + min(kDecodeWarps, weights.count - first)) * s.per_strips >> 16);
    const bool finish_now = --until_finish == 0 || first + kDecodeWarps >= weights.count;
    if (finish_now) {
      until_finish = s.finish_sections;
      __syncthreads();
    }
    // The tiles whose last strip has come. A warp's quads have the same tile and token.
    for (; finish_now && tile < ended; tile += kItems / kPairs) {
      float2 pair = AddStrips<kCodes, kGroup>(sums + my_token * 8 + g, (tile - first_tile) * s.strips, s.sums_mask, kPairs, s.strips);
      if (threadIdx.x % kFinishLanes == 0 && my_token < task.tokens) {
        if constexpr (kGroup == 0) {
          const float2 scale = reinterpret_cast<const float2*>(m.scales)[tile * 8 + g];
          const float x_scale = in.scales[my_token];
          pair = {fmaf(ValueOf<kCodes>(__float_as_int(pair.x), false, 0, 0), scale.x * x_scale, 0.0f),
                  fmaf(ValueOf<kCodes>(__float_as_int(pair.y), false, 0, 0), scale.y * x_scale, 0.0f)};
        }
        Finish(finish, old, task.out, tile, g, my_token, pair.x * factor, pair.y * factor);
      }
      const int next = tile + kItems / kPairs;
      if (next < last_tile) {
        finish = LoadFinish(task.out, task.staging, next, g, my_token);
        old = LoadOld(task.out, next, g, my_token);
      }
    }
    phase += s.step;
    if (phase >= s.strips) phase -= s.strips;
    if (++slot == s.slots) {
      slot = 0;
      parity ^= 1;
    }
  }
}

}  // namespace edgellm::cuda
