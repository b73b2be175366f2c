// y = W x for 1 to 8 tokens: reading weights is all that counts. The pieces (1 KB) of a block's tiles are dealt to its
// warps, straight from memory to registers in the order of lanes, several pieces ahead; the first ones before the
// previous kernel has ended, since weights do not depend on it. Each piece gives exact integer sums to shared memory;
// when all warps are through with a round of pieces, one thread a pair of rows adds their groups in order.
#pragma once

#include "backend/cuda/kernels/codes.cuh"
#include "backend/cuda/kernels/output.cuh"
#include "backend/cuda/kernels/prepare.cuh"

namespace edgellm::cuda {

inline constexpr int kDecodeThreads = kPrepareThreads, kDecodeWarps = kDecodeThreads / 32;
inline constexpr int kPieceChunks = 2;

/// How the work of a launch is cut; made on the host.
struct DecodeShape {
  int pieces;            // per tile
  int pieces_per_round;  // all of a tile's, or a part of them
  int tiles_per_round;   // one where a round is part of a tile
  uint32_t reciprocal;   // of pieces_per_round, for division by multiplying
  int pieces_per_group;  // that share scales, at least 1
  int groups_per_slice;
  int input_blocks;      // of the activations, zeros at the end
  int input_groups;
  int results_offset, scales_offset, input_scales_offset, input_sums_offset;  // in shared memory, bytes
  int scale_bytes;       // of one tile: all its groups
};

template <Codes kCodes>
struct Piece {
  static constexpr int kSteps = kPieceChunks * kChunkSteps<kCodes>;
  static constexpr int kBlocks = kSteps / 2;  // of activations
};

/// Which piece a warp takes next: every kDecodeWarps-th of a round, the same number of them in each round.
struct PieceCursor {
  int index, tile0, piece0;

  __device__ __forceinline__ void Next(const DecodeShape& s, int padded) {
    index += kDecodeWarps;
    if (index < padded) return;
    index -= padded;
    piece0 += s.pieces_per_round;
    if (piece0 < s.pieces) return;
    piece0 = 0;
    tile0 += s.tiles_per_round;
  }
  __device__ __forceinline__ bool Find(const DecodeShape& s, int last_tile, int& tile, int& piece) const {
    const int row = static_cast<int>(__umulhi(static_cast<uint32_t>(index), s.reciprocal));
    tile = tile0 + row;
    piece = piece0 + index - row * s.pieces_per_round;
    return row < s.tiles_per_round && tile < last_tile && piece < s.pieces;
  }
};

struct LoadedPiece {
  uint4 chunk[kPieceChunks];
};

__device__ __forceinline__ void LoadPiece(LoadedPiece& to, const PackedMatrix& m, const DecodeShape& s, const PieceCursor& at,
                                          int last_tile, const StreamPolicy& stream) {
  int tile, piece;
  if (!at.Find(s, last_tile, tile, piece)) return;
  const size_t chunk = static_cast<size_t>(tile) * m.chunks + piece * kPieceChunks;
  const uint8_t* from = m.data + chunk * kChunkBytes + threadIdx.x % 32 * 16;
  to.chunk[0] = stream.Load(from);
  to.chunk[1] = piece * kPieceChunks + 1 < m.chunks ? stream.Load(from + kChunkBytes) : uint4{0, 0, 0, 0};
}

/// Integers of one result: 16 rows for one token, or 8 tokens of 16 rows, 20 apart so that lanes hit different banks.
template <bool kOne>
inline constexpr int kTokenStride = kOne ? 16 : 20;
template <bool kOne>
inline constexpr int kResultInts = kOne ? 16 : 8 * kTokenStride<false>;
/// Between the results of tiles, so that the threads that add up several of them hit different banks.
inline constexpr int kTilePad = 8;

template <Codes kCodes, int kResults, bool kOne, int kStep = 0>
__device__ __forceinline__ void DotSteps(int32_t (&sums)[kResults][4], const LoadedPiece& piece, const uint8_t* input) {
  constexpr int kSteps = Piece<kCodes>::kSteps;
  if constexpr (kStep < kSteps) {
    uint4 x;
    if constexpr (kOne) {
      x = *reinterpret_cast<const uint4*>(input + kStep / 2 * 64 + threadIdx.x % 4 * 16);
    } else {
      x = *reinterpret_cast<const uint4*>(input + kStep / 2 * kChunkBytes + threadIdx.x % 32 * 16);
    }
    uint32_t a[4];
    Unpack<kCodes, kStep % kChunkSteps<kCodes>>(piece.chunk[kStep / kChunkSteps<kCodes>], a);
    MmaInt8(sums[kStep * kResults / kSteps], a, x.x, x.y);
    Unpack<kCodes, (kStep + 1) % kChunkSteps<kCodes>>(piece.chunk[(kStep + 1) / kChunkSteps<kCodes>], a);
    MmaInt8(sums[(kStep + 1) * kResults / kSteps], a, x.z, x.w);
    DotSteps<kCodes, kResults, kOne, kStep + 2>(sums, piece, input);
  }
}

template <Codes kCodes, int kResults, bool kOne>
__device__ __forceinline__ void ComputePiece(const LoadedPiece& piece, const uint8_t* input, int32_t* results) {
  int32_t sums[kResults][4] = {};
  DotSteps<kCodes, kResults, kOne>(sums, piece, input);
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int r = 0; r < kResults; ++r) {
    int32_t* to = results + r * kResultInts<kOne> + g;
    if constexpr (kOne) {
      if (t == 0) {
        to[0] = sums[r][0];
        to[8] = sums[r][2];
      }
    } else {
      to += 2 * t * kTokenStride<false>;
      to[0] = sums[r][0];
      to[kTokenStride<false>] = sums[r][1];
      to[8] = sums[r][2];
      to[kTokenStride<false> + 8] = sums[r][3];
    }
  }
}

/// The running sums of one pair of rows for one token, over the rounds of a tile.
struct PairSums {
  float a = 0, b = 0;              // of the slice
  float total_a = 0, total_b = 0;  // of the slices before it
  int32_t ints_a = 0, ints_b = 0;  // of the group

  __device__ __forceinline__ void EndSlice() {
    total_a += a;
    total_b += b;
    a = b = 0;
  }
};

__device__ __forceinline__ float2 ScalePair(const PackedMatrix& m, const uint8_t* scales, int index) {
  if (m.f16_scales) return __half22float2(reinterpret_cast<const __half2*>(scales)[index]);
  return reinterpret_cast<const float2*>(scales)[index];
}

/// Adds what one round has given for one pair of rows and one token.
template <Codes kCodes, int kResults, bool kOne>
__device__ __forceinline__ void AddRound(PairSums& sums, const PackedMatrix& m, const DecodeShape& s, const int32_t* results,
                                         const uint8_t* scales, const float* x_scales, const int32_t* x_sums, int first_piece,
                                         int last_piece, int tile, int g, int token) {
  constexpr int kTokens = kOne ? 1 : kPanelTokens;
  const int32_t* at = results + token * kTokenStride<kOne> + g;
  for (int piece = first_piece; piece < last_piece; ++piece) {
#pragma unroll
    for (int r = 0; r < kResults; ++r, at += kResultInts<kOne>) {
      sums.ints_a += at[0];
      sums.ints_b += at[8];
      if (s.pieces_per_group > 1 && (piece + 1) % s.pieces_per_group != 0 && piece + 1 != s.pieces) continue;
      const int group = s.pieces_per_group > 1 ? piece / s.pieces_per_group : piece * kResults + r;
      if (group >= m.groups) break;  // padding
      const float2 scale = ScalePair(m, scales, group * 8 + g);
      const int x_group = s.input_groups > 1 ? group * kTokens + token : token;
      const float x_scale = x_scales[x_group];
      float2 zero = {0, 0};
      int32_t x_sum = 0;
      if (kCodes == Codes::kInt4 && m.zeros != nullptr) {
        zero = __half22float2(reinterpret_cast<const __half2*>(m.zeros)[(static_cast<size_t>(tile) * m.groups + group) * 8 + g]);
        x_sum = x_sums[x_group];
      }
      sums.a = fmaf(ValueOf<kCodes>(sums.ints_a, m.zeros != nullptr, zero.x, x_sum), scale.x * x_scale, sums.a);
      sums.b = fmaf(ValueOf<kCodes>(sums.ints_b, m.zeros != nullptr, zero.y, x_sum), scale.y * x_scale, sums.b);
      sums.ints_a = sums.ints_b = 0;
      if ((group + 1) % s.groups_per_slice == 0) sums.EndSlice();
    }
  }
}

/// Copies the scales of the round's tiles to shared memory, without waiting for them.
__device__ __forceinline__ void FetchScales(const PackedMatrix& m, const DecodeShape& s, int tile0, int last_tile,
                                            uint8_t* to) {
  const int tiles = min(s.tiles_per_round, last_tile - tile0);
  const int bytes = tiles > 0 ? tiles * s.scale_bytes : 0;
  const uint8_t* from = m.scales + static_cast<size_t>(tile0) * s.scale_bytes;
  for (int at = threadIdx.x * 16; at < bytes; at += kDecodeThreads * 16) CopyAsync16(to + at, from + at);
}

template <bool kOne>
__device__ __forceinline__ void FetchInput(const LinearTask& task, const DecodeShape& s, uint8_t* shared, float* scratch) {
  float* x_scales = reinterpret_cast<float*>(shared + s.input_scales_offset);
  int32_t* x_sums = reinterpret_cast<int32_t*>(shared + s.input_sums_offset);
  if constexpr (kOne) {
    const PrepareTask& in = task.input;
    const float* x = in.x + (in.gather != nullptr ? in.gather[0] : 0) * in.stride;
    PrepareRow(in, x, s.input_blocks, reinterpret_cast<uint32_t*>(shared), 16, x_scales, x_sums, 1, scratch);
  } else {
    const PreparedInput& in = task.input.out;
    const uint4* from = reinterpret_cast<const uint4*>(in.codes);
    for (int i = threadIdx.x; i < s.input_blocks * (kChunkBytes / 16); i += kDecodeThreads) {
      reinterpret_cast<uint4*>(shared)[i] = from[i];
    }
    for (int i = threadIdx.x; i < s.input_groups * kPanelTokens; i += kDecodeThreads) {
      x_scales[i] = in.scales[i];
      if (task.matrix.zeros != nullptr) x_sums[i] = in.sums[i];
    }
  }
}

template <Codes kCodes, int kResults, bool kOne>
__global__ void __launch_bounds__(kDecodeThreads, kOne ? 2 : 1)
    DecodeLinear(const __grid_constant__ LinearTask task, const __grid_constant__ DecodeShape s) {
  constexpr int kAhead = 4;  // pieces under way per warp
  extern __shared__ __align__(128) uint8_t shared[];
  __shared__ float scratch[kPrepareWarps];
  const PackedMatrix& m = task.matrix;
  const int warp = threadIdx.x / 32;
  const int first_tile = static_cast<int>(static_cast<int64_t>(m.tiles) * blockIdx.x / gridDim.x);
  const int last_tile = static_cast<int>(static_cast<int64_t>(m.tiles) * (blockIdx.x + 1) / gridDim.x);
  const int round = s.tiles_per_round * s.pieces_per_round;
  const int padded = (round + kDecodeWarps * kAhead - 1) / (kDecodeWarps * kAhead) * (kDecodeWarps * kAhead);
  int32_t* results = reinterpret_cast<int32_t*>(shared + s.results_offset);
  const float* x_scales = reinterpret_cast<const float*>(shared + s.input_scales_offset);
  const int32_t* x_sums = reinterpret_cast<const int32_t*>(shared + s.input_sums_offset);

  LetNextStart();
  const StreamPolicy stream;
  LoadedPiece pieces[kAhead] = {};
  PieceCursor ahead = {warp, first_tile, 0}, now = ahead;
#pragma unroll
  for (int i = 0; i < kAhead; ++i) {
    LoadPiece(pieces[i], m, s, ahead, last_tile, stream);
    ahead.Next(s, padded);
  }
  FetchScales(m, s, first_tile, last_tile, shared + s.scales_offset);
  CopyCommit();
  WaitForPrevious();
  FetchInput<kOne>(task, s, shared, scratch);
  __syncthreads();

  constexpr int kTokens = kOne ? 1 : kPanelTokens;
  const int my_tile = threadIdx.x / (8 * kTokens), my_token = kOne ? 0 : threadIdx.x / 8 % 8, g = threadIdx.x % 8;
  const int tile_results = s.pieces_per_round * kResults * kResultInts<kOne> + kTilePad;
  int buffer = 0;
  for (int tile0 = first_tile; tile0 < last_tile; tile0 += s.tiles_per_round) {
    PairSums sums;
    FetchScales(m, s, tile0 + s.tiles_per_round, last_tile,
                shared + s.scales_offset + (buffer ^ 1) * s.tiles_per_round * s.scale_bytes);
    CopyCommit();
    for (int piece0 = 0; piece0 < s.pieces; piece0 += s.pieces_per_round) {
      for (int done = 0; done < padded; done += kDecodeWarps * kAhead) {
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
          int tile, piece;
          if (now.Find(s, last_tile, tile, piece)) {
            ComputePiece<kCodes, kResults, kOne>(
                pieces[i], shared + piece * (Piece<kCodes>::kBlocks * (kOne ? 64 : kChunkBytes)),
                results + (tile - tile0) * tile_results + (piece - piece0) * kResults * kResultInts<kOne>);
          }
          LoadPiece(pieces[i], m, s, ahead, last_tile, stream);
          ahead.Next(s, padded);
          now.Next(s, padded);
        }
      }
      CopyWait<1>();
      __syncthreads();
      if (my_tile < s.tiles_per_round && tile0 + my_tile < last_tile && my_token < task.tokens) {
        AddRound<kCodes, kResults, kOne>(sums, m, s, results + my_tile * tile_results,
                                         shared + s.scales_offset + (buffer * s.tiles_per_round + my_tile) * s.scale_bytes,
                                         x_scales, x_sums, piece0, min(s.pieces, piece0 + s.pieces_per_round),
                                         tile0 + my_tile, g, my_token);
        if (piece0 + s.pieces_per_round >= s.pieces) {
          sums.EndSlice();
          Finish(task.out, task.staging, tile0 + my_tile, g, my_token, sums.total_a, sums.total_b);
        }
      }
      __syncthreads();
    }
    buffer ^= 1;
  }
}

}  // namespace edgellm::cuda
