// y = W x for 2 to 8 tokens, prepared by a kernel before. Tiles of 16 rows stream through a ring in shared memory in
// sections of 16 strips, the first of them before the kernel before has ended. A warp multiplies one strip (four chunks) of
// a section by the matrix units and adds its groups in registers; the strips of a row meet in shared memory, where a quad
// of lanes a pair of rows and token adds and finishes them.
#pragma once

#include "backend/cuda/kernels/codes.cuh"
#include "backend/cuda/kernels/output.cuh"

namespace edgellm::cuda {

inline constexpr int kBatchThreads = 512, kBatchWarps = kBatchThreads / 32;
inline constexpr int kMostBatchSlots = 4;  // of the ring
inline constexpr int kStripPairBytes = kStripChunks * kPairChunkBytes;
inline constexpr int kPairs = 8 * kPanelTokens;  // of a tile: pairs of rows times tokens

/// How the work of a launch is cut, and where things lie in shared memory (bytes); made on the host. The ring comes first.
struct BatchShape {
  int stages, strips;          // of a row
  int section_strips, parts;   // of a row: strips in a section, at most a warp's each; sections
  int section_tiles;
  int pair_step, scale_step;   // from pair to pair in a slot
  int pair_bytes, pair_scales; // in memory
  int slots, slot_bytes, slot_scales, slot_zeros;
  int blocks;                  // of the input
  int input, input_scales, input_sums, sums;
};

template <Codes kCodes, int kGroup>
struct BatchFormat {
  static constexpr int kSteps = kStripChunks * kChunkSteps<kCodes>;          // of a strip: matrix steps of 32 k
  static constexpr int kGroups = kGroup == 0 ? 0 : StripK(kCodes) / kGroup;  // of a strip
  static constexpr int kScaleBytes = kGroups * (kCodes == Codes::kTernary ? 8 : 4);  // of a strip and pair
};

/// The stream of a block's tiles into the ring.
template <Codes kCodes, int kGroup, bool kZeros>
struct TileStream {
  using Format = BatchFormat<kCodes, kGroup>;
  const PackedMatrix& m;
  const BatchShape& s;
  uint8_t* ring;
  uint64_t* barriers;
  int first_tile, tiles;

  __device__ __forceinline__ int sections() const { return (tiles + s.section_tiles - 1) / s.section_tiles * s.parts; }

  /// By a whole warp where the chip copies by itself, else by all threads.
  __device__ __forceinline__ void Issue(int section, int slot, const StreamPolicy& stream) const {
    const int part = section % s.parts, tile = section / s.parts * s.section_tiles;
    const int pairs = min(s.section_tiles, tiles - tile) * 8;
    const int begin = part * s.section_strips * kStripPairBytes, scale_begin = part * s.section_strips * Format::kScaleBytes;
    const int bytes = min(s.section_strips * kStripPairBytes, s.pair_bytes - begin);
    const int scale_bytes = kGroup == 0 ? 0 : min(s.scale_step, s.pair_scales - scale_begin);
    const size_t pair0 = static_cast<size_t>(first_tile + tile) * 8;
    const uint8_t* codes = m.data + pair0 * s.pair_bytes + begin;
    const size_t scale_at = pair0 * s.pair_scales + scale_begin;
    uint8_t* to = ring + slot * s.slot_bytes;
#if __CUDA_ARCH__ >= 900
    const int lane = threadIdx.x % 32;
    if (lane == 0) ExpectBytes(barriers + slot, pairs * (bytes + (kZeros ? 2 : 1) * scale_bytes));
    __syncwarp();
    for (int pair = lane; pair < pairs; pair += 32) {
      CopyBulk(to + pair * s.pair_step, codes + pair * s.pair_bytes, bytes, barriers + slot, stream);
      const size_t scales = scale_at + pair * s.pair_scales;
      if (kGroup != 0) CopyBulk(to + s.slot_scales + pair * s.scale_step, m.scales + scales, scale_bytes, barriers + slot, stream);
      if (kZeros) CopyBulk(to + s.slot_zeros + pair * s.scale_step, m.zeros + scales, scale_bytes, barriers + slot, stream);
    }
#else
    for (int pair = threadIdx.x / 32; pair < pairs; pair += kBatchWarps) {
      for (int i = threadIdx.x % 32 * 16; i < bytes; i += 512) CopyAsync16(to + pair * s.pair_step + i, codes + pair * s.pair_bytes + i);
      for (int i = threadIdx.x % 32 * 16; i < scale_bytes; i += 512) {
        const size_t scales = scale_at + pair * s.pair_scales + i;
        CopyAsync16(to + s.slot_scales + pair * s.scale_step + i, m.scales + scales);
        if (kZeros) CopyAsync16(to + s.slot_zeros + pair * s.scale_step + i, m.zeros + scales);
      }
    }
    CopyCommit();
#endif
  }

  /// All that can be under way at once.
  __device__ __forceinline__ void Start(const StreamPolicy& stream) const {
#if __CUDA_ARCH__ >= 900
    if (threadIdx.x >= 32) return;
    if (threadIdx.x == 0) {
      for (int slot = 0; slot < s.slots; ++slot) InitBarrier(barriers + slot);
      PublishBarriers();
    }
    __syncwarp();
    const int filled = min(s.slots, sections());
#pragma unroll 1
    for (int slot = 0; slot < filled; ++slot) Issue(slot, slot, stream);
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
    bool last = false;
    if (threadIdx.x % 32 == 0) {
      last = atomicAdd(left + slot, 1u) == kBatchWarps - 1;
      if (last) left[slot] = 0;
    }
    if (__any_sync(~0u, last)) Issue(section + s.slots, slot, stream);
#else
    __syncthreads();
#endif
  }
};

/// The prepared input in shared memory: codes [block][512 bytes]; scales and sums [group][token].
struct BatchInput {
  const uint8_t* codes;
  const float* scales;
  const int32_t* sums;
};

/// Multiplies one strip and stores its sums: [token][g], a pair of rows each; integers where the row is one group, else fused
/// multiply-adds of the groups in order. `codes` and `scales` are those of the lane's pair; stages: of the strip that exist.
template <Codes kCodes, int kGroup, bool kZeros>
__device__ __forceinline__ void AddStrip(const uint8_t* strip_codes, const uint8_t* strip_scales, const uint8_t* strip_zeros,
                                         const BatchInput& in, int strip, int stages, float2* to) {
  using Format = BatchFormat<kCodes, kGroup>;
  constexpr int kGroupSteps = kGroup == 0 ? Format::kSteps : kGroup / 32, kSub = kChunkSteps<kCodes>;
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const uint8_t* codes = in.codes + strip * (Format::kSteps / 2) * kChunkBytes + lane * 16;
  int32_t d[4] = {};
  float2 sums[2] = {};
  uint4 x, w;
#pragma unroll
  for (int step = 0; step < Format::kSteps; ++step) {
    if (step % 4 == 0 && step / 4 >= stages) break;
    if (step % kSub == 0) w = *reinterpret_cast<const uint4*>(strip_codes + step / kSub * kPairChunkBytes + t * 16);
    if (step % 2 == 0) x = *reinterpret_cast<const uint4*>(codes + step / 2 * kChunkBytes);
    uint32_t a[4];
    if (step % kSub == 0) Unpack<kCodes, 0>(w, a);
    if (kSub >= 2 && step % kSub == 1) Unpack<kCodes, 1 % kSub>(w, a);
    if (kSub >= 4 && step % kSub == 2) Unpack<kCodes, 2 % kSub>(w, a);
    if (kSub >= 4 && step % kSub == 3) Unpack<kCodes, 3 % kSub>(w, a);
    MmaInt8(d, a, step % 2 == 0 ? x.x : x.z, step % 2 == 0 ? x.y : x.w);
    // A group that the row's end cuts is finished there.
    const bool ends = (step + 1) % kGroupSteps == 0 || (kGroup > kStageK && step % 4 == 3 && (step + 1) / 4 == stages);
    if (kGroup == 0 || !ends) continue;
    const int of_strip = step / kGroupSteps;
    float2 scale, zero = {0, 0};
    if constexpr (kCodes == Codes::kTernary) {
      scale = reinterpret_cast<const float2*>(strip_scales)[of_strip];
    } else {
      scale = __half22float2(reinterpret_cast<const __half2*>(strip_scales)[of_strip]);
    }
    if constexpr (kZeros) zero = __half22float2(reinterpret_cast<const __half2*>(strip_zeros)[of_strip]);
    // Ternary layers quantise a token's whole row with one scale.
    const int group = kCodes == Codes::kTernary ? 0 : strip * Format::kGroups + of_strip;
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const int at = group * kPanelTokens + 2 * t + c;
      const int32_t x_sum = kZeros ? in.sums[at] : 0;
      sums[c].x = fmaf(ValueOf<kCodes>(d[c], kZeros, zero.x, x_sum), scale.x * in.scales[at], sums[c].x);
      sums[c].y = fmaf(ValueOf<kCodes>(d[2 + c], kZeros, zero.y, x_sum), scale.y * in.scales[at], sums[c].y);
    }
#pragma unroll
    for (int c = 0; c < 4; ++c) d[c] = 0;
  }
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    if constexpr (kGroup == 0) sums[c] = {__int_as_float(d[c]), __int_as_float(d[2 + c])};
    to[(2 * t + c) * 8 + g] = sums[c];
  }
}

/// Lanes that add the strips of one pair of rows together.
inline constexpr int kFinishLanes = 4;

/// Adds the strips of a pair of rows, kPairs apart. All lanes of a quad have the result. kGroup 0: integers, else floats in
/// the order of layout.h.
template <Codes kCodes, int kGroup>
__device__ __forceinline__ float2 AddStrips(const float2* sums, int strips) {
  const int lane = threadIdx.x % kFinishLanes;
  if constexpr (kGroup == 0) {
    int32_t a = 0, b = 0;
    for (int i = lane; i < strips; i += kFinishLanes) {
      const float2 v = sums[i * kPairs];
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
          v[i] = strip < strips ? sums[strip * kPairs] : float2{0, 0};
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

template <Codes kCodes, int kGroup, bool kZeros>
__global__ void __launch_bounds__(kBatchThreads) BatchLinear(const __grid_constant__ LinearTask task, const __grid_constant__ BatchShape s) {
  using Format = BatchFormat<kCodes, kGroup>;
  extern __shared__ __align__(128) uint8_t shared[];
  __shared__ uint64_t barriers[kMostBatchSlots];
  __shared__ uint32_t left[kMostBatchSlots];  // warps that are through with a slot's section
  const PackedMatrix& m = task.matrix;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int first_tile = static_cast<int>(static_cast<uint32_t>(m.tiles) * blockIdx.x / gridDim.x);
  const int tiles = static_cast<int>(static_cast<uint32_t>(m.tiles) * (blockIdx.x + 1) / gridDim.x) - first_tile;
  LetNextStart();
  const StreamPolicy stream;
  const TileStream<kCodes, kGroup, kZeros> weights = {m, s, shared, barriers, first_tile, tiles};
  if (tiles == 0) return WaitForPrevious();
  if (threadIdx.x < kMostBatchSlots) left[threadIdx.x] = 0;
  weights.Start(stream);
  WaitForPrevious();
  const PreparedInput& prepared = task.input.out;
  for (int i = threadIdx.x; i < s.blocks * (kChunkBytes / 16); i += kBatchThreads) {
    reinterpret_cast<uint4*>(shared + s.input)[i] = __ldcg(reinterpret_cast<const uint4*>(prepared.codes) + i);
  }
  for (int i = threadIdx.x; i < prepared.groups * kPanelTokens; i += kBatchThreads) {
    reinterpret_cast<float*>(shared + s.input_scales)[i] = __ldcg(prepared.scales + i);
    if (kZeros) reinterpret_cast<int32_t*>(shared + s.input_sums)[i] = __ldcg(prepared.sums + i);
  }
  __syncthreads();

  const BatchInput in = {shared + s.input, reinterpret_cast<const float*>(shared + s.input_scales),
                         reinterpret_cast<const int32_t*>(shared + s.input_sums)};
  float2* sums = reinterpret_cast<float2*>(shared + s.sums);
  const int my_tile = warp / s.section_strips, of_section = warp - my_tile * s.section_strips;  // of a section
  const int quad = threadIdx.x / kFinishLanes, g = quad % 8, token = quad / 8 % kPanelTokens;
  int slot = 0, part = 0, tile = 0;  // tile: the section's first
  uint32_t parity = 0;
  const int sections = weights.sections();
  for (int section = 0; section < sections; ++section) {
    weights.Wait(section, slot, parity, stream);
    const int here_tiles = min(s.section_tiles, tiles - tile), strip = part * s.section_strips + of_section;
    if (my_tile < here_tiles && strip < s.strips) {
      constexpr int kStripStages = StripK(kCodes) / kStageK;
      const uint8_t* here = shared + slot * s.slot_bytes;
      const int pair = my_tile * 8 + lane / 4, scale_at = pair * s.scale_step + of_section * Format::kScaleBytes;
      AddStrip<kCodes, kGroup, kZeros>(here + pair * s.pair_step + of_section * kStripPairBytes, here + s.slot_scales + scale_at,
                                       here + s.slot_zeros + scale_at, in, strip, s.stages - strip * kStripStages,
                                       sums + (my_tile * s.section_strips + strip) * kPairs);
    }
    weights.Leave(section, slot, left, stream);
    if (++part == s.parts) {
      part = 0;
      __syncthreads();
      for (int item = quad; item < here_tiles * kPairs; item += kBatchThreads / kFinishLanes) {
        const int of_tiles = item / kPairs, pair = (first_tile + tile + of_tiles) * 8 + g;
        float2 sum = AddStrips<kCodes, kGroup>(sums + of_tiles * s.section_strips * kPairs + token * 8 + g, s.strips);
        if (threadIdx.x % kFinishLanes != 0 || token >= task.tokens) continue;
        if constexpr (kGroup == 0) {
          const float2 scale = reinterpret_cast<const float2*>(m.scales)[pair];
          sum = {fmaf(ValueOf<kCodes>(__float_as_int(sum.x), false, 0, 0), scale.x * in.scales[token], 0.0f),
                 fmaf(ValueOf<kCodes>(__float_as_int(sum.y), false, 0, 0), scale.y * in.scales[token], 0.0f)};
        }
        const float factor = __ldcg(prepared.factors + token);
        Finish(task.out, task.staging, pair, token, sum.x * factor, sum.y * factor);
      }
      __syncthreads();
      tile += s.section_tiles;
    }
    if (++slot == s.slots) {
      slot = 0;
      parity ^= 1;
    }
  }
}

}  // namespace edgellm::cuda
