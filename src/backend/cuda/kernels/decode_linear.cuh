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
inline constexpr int kPieceChunks = 2, kPieceBytes = kPieceChunks * kChunkBytes;

/// How the work of a launch is cut; made on the host.
struct DecodeShape {
  int pieces;            // per tile
  int pieces_per_round;  // all of a tile's, or a part of them
  int tiles_per_round;   // one where a round is part of a tile
  int step_pieces;       // from a warp's piece to its next, within the round's tile
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

/// How many pieces make a group: the whole row is one, or one piece holds one or more, or two pieces are one.
enum class Grouping : uint8_t { kWhole, kOne, kTwo };

struct LoadedPiece {
  uint4 chunk[kPieceChunks];
};

__device__ __forceinline__ void LoadPiece(LoadedPiece& to, const uint8_t* from, const StreamPolicy& stream) {
  to.chunk[0] = stream.Load(from);
  to.chunk[1] = stream.Load(from + kChunkBytes);
}

/// Integers of one result: 16 rows for one token, or 8 tokens of 16 rows; somewhat apart, so that the lanes that write
/// and the threads that add hit different banks.
template <bool kOne>
inline constexpr int kTokenStride = kOne ? 18 : 20;
template <bool kOne>
inline constexpr int kResultInts = kOne ? 18 : 8 * kTokenStride<false>;

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
  int32_t ints_a = 0, ints_b = 0;  // of the row, where it is one group

  __device__ __forceinline__ void EndSlice() {
    total_a += a;
    total_b += b;
    a = b = 0;
  }
};

template <Codes kCodes>
__device__ __forceinline__ float2 ScalePair(const uint8_t* scales, int index) {
  if constexpr (kCodes == Codes::kTernary) return reinterpret_cast<const float2*>(scales)[index];
  return __half22float2(reinterpret_cast<const __half2*>(scales)[index]);
}

/// What one round has given, seen by one thread: results of its pair of rows, its token's scales.
struct RoundView {
  const int32_t* results;  // of the round's first piece
  const uint8_t* scales;   // of the tile, in shared memory
  const float* x_scales;   // of the token, `x_step` apart
  const int32_t* x_sums;
  const __half2* zeros;    // of the tile and pair
  int first_piece, last_piece, g;
};

template <Codes kCodes, int kResults, Grouping kGrouping, bool kOne>
__device__ __forceinline__ void AddRound(PairSums& sums, const PackedMatrix& m, const DecodeShape& s, const RoundView& v) {
  constexpr int kTokens = kOne ? 1 : kPanelTokens;
  const int32_t* at = v.results;
  if constexpr (kGrouping == Grouping::kWhole) {
#pragma unroll 4
    for (int piece = v.first_piece; piece < v.last_piece; ++piece, at += kResultInts<kOne>) {
      sums.ints_a += at[0];
      sums.ints_b += at[8];
    }
    if (v.last_piece < s.pieces) return;
    const float2 scale = ScalePair<kCodes>(v.scales, v.g);
    sums.a = fmaf(ValueOf<kCodes>(sums.ints_a, false, 0, 0), scale.x * v.x_scales[0], 0.0f);
    sums.b = fmaf(ValueOf<kCodes>(sums.ints_b, false, 0, 0), scale.y * v.x_scales[0], 0.0f);
  } else {
    constexpr int kPieces = kGrouping == Grouping::kTwo ? 2 : 1;
    int group = v.first_piece * kResults / kPieces;
    const int last = min(m.groups, (v.last_piece * kResults + kPieces - 1) / kPieces);
    const int odd = v.first_piece + (kPieces == 2 ? (v.last_piece - v.first_piece) / 2 * 2 : 0);  // first piece without a second
    const int x_step = s.input_groups > 1 ? kTokens : 0;
    const bool zeros = kCodes == Codes::kInt4 && m.zeros != nullptr;
    while (group < last) {
      const int end = min(last, (group / s.groups_per_slice + 1) * s.groups_per_slice);
      if (zeros) {
        for (; group < end; ++group, at += kResultInts<kOne>) {
          const float2 scale = ScalePair<kCodes>(v.scales, group * 8 + v.g), zero = __half22float2(v.zeros[group * 8]);
          const float x_scale = v.x_scales[group * x_step];
          const int32_t x_sum = v.x_sums[group * kTokens];
          sums.a = fmaf(ValueOf<kCodes>(at[0], true, zero.x, x_sum), scale.x * x_scale, sums.a);
          sums.b = fmaf(ValueOf<kCodes>(at[8], true, zero.y, x_sum), scale.y * x_scale, sums.b);
        }
      } else {
#pragma unroll 8
        for (; group < end; ++group) {
          int32_t ints_a = at[0], ints_b = at[8];
          if (kPieces == 2 && group * 2 < odd) {
            ints_a += at[kResultInts<kOne>];
            ints_b += at[kResultInts<kOne> + 8];
          }
          at += kPieces * kResultInts<kOne>;
          const float2 scale = ScalePair<kCodes>(v.scales, group * 8 + v.g);
          const float x_scale = v.x_scales[group * x_step];
          sums.a = fmaf(ValueOf<kCodes>(ints_a, false, 0, 0), scale.x * x_scale, sums.a);
          sums.b = fmaf(ValueOf<kCodes>(ints_b, false, 0, 0), scale.y * x_scale, sums.b);
        }
      }
      if (group % s.groups_per_slice == 0) sums.EndSlice();
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
__device__ __forceinline__ void FetchInput(const LinearTask& task, const QuadBatch& norm, const DecodeShape& s, uint8_t* shared,
                                           float* scratch) {
  float* x_scales = reinterpret_cast<float*>(shared + s.input_scales_offset);
  int32_t* x_sums = reinterpret_cast<int32_t*>(shared + s.input_sums_offset);
  if constexpr (kOne) {
    const PrepareTask& in = task.input;
    const float* x = in.x + (in.gather != nullptr ? in.gather[0] : 0) * in.stride;
    PrepareRow(in, norm, x, s.input_blocks, {reinterpret_cast<uint32_t*>(shared), 16, x_scales, x_sums, 1}, scratch);
  } else {
    const PreparedInput& in = task.input.out;
    const uint4* from = reinterpret_cast<const uint4*>(in.codes);
#pragma unroll 4
    for (int i = threadIdx.x; i < s.input_blocks * (kChunkBytes / 16); i += kDecodeThreads) {
      reinterpret_cast<uint4*>(shared)[i] = from[i];
    }
    for (int i = threadIdx.x; i < s.input_groups * kPanelTokens; i += kDecodeThreads) {
      x_scales[i] = in.scales[i];
      if (task.matrix.zeros != nullptr) x_sums[i] = in.sums[i];
    }
  }
}

/// The pieces of a round that fall to a warp: every kDecodeWarps-th.
struct WarpPieces {
  const uint8_t* from;  // this lane's bytes of the first
  int count;
};

__device__ __forceinline__ WarpPieces PiecesOf(const PackedMatrix& m, const DecodeShape& s, int tile0, int piece0, int last_tile) {
  const int warp = threadIdx.x / 32;
  const int tiles = min(s.tiles_per_round, last_tile - tile0), pieces = min(s.pieces_per_round, s.pieces - piece0);
  const size_t first = static_cast<size_t>(tile0) * s.pieces + piece0 + warp;
  return {m.data + first * kPieceBytes + threadIdx.x % 32 * 16,
          tiles > 0 ? (tiles * pieces - warp + kDecodeWarps - 1) / kDecodeWarps : 0};
}

template <Codes kCodes, int kResults, Grouping kGrouping, bool kOne>
__global__ void __launch_bounds__(kDecodeThreads, kOne ? 2 : 1)
    DecodeLinear(const __grid_constant__ LinearTask task, const __grid_constant__ DecodeShape s) {
  constexpr int kAhead = kOne ? 5 : 4;  // pieces under way per warp
  constexpr int kInputBytes = Piece<kCodes>::kBlocks * (kOne ? 64 : kChunkBytes);
  constexpr int kStep = kDecodeWarps * kPieceBytes;
  constexpr int kTokens = kOne ? 1 : kPanelTokens;
  extern __shared__ __align__(128) uint8_t shared[];
  __shared__ float scratch[kPrepareWarps];
  const PackedMatrix& m = task.matrix;
  const int warp = threadIdx.x / 32;
  const int first_tile = static_cast<int>(static_cast<int64_t>(m.tiles) * blockIdx.x / gridDim.x);
  const int last_tile = static_cast<int>(static_cast<int64_t>(m.tiles) * (blockIdx.x + 1) / gridDim.x);
  int32_t* results = reinterpret_cast<int32_t*>(shared + s.results_offset);

  LetNextStart();
  const StreamPolicy stream;
  LoadedPiece pieces[kAhead];
  WarpPieces mine = PiecesOf(m, s, first_tile, 0, last_tile);
#pragma unroll
  for (int i = 0; i < kAhead; ++i) {
    if (i < mine.count) LoadPiece(pieces[i], mine.from + i * kStep, stream);
  }
  if (threadIdx.x == 0) {
    // What the registers do not hold yet comes nearer meanwhile.
    constexpr size_t kNearer = 128 << 10;
    const size_t tile_bytes = static_cast<size_t>(s.pieces) * kPieceBytes;
    PrefetchL2(m.data + first_tile * tile_bytes, static_cast<uint32_t>(min(kNearer, (last_tile - first_tile) * tile_bytes)));
  }
  FetchScales(m, s, first_tile, last_tile, shared + s.scales_offset);
  CopyCommit();
  const int my_tile = threadIdx.x / (8 * kTokens), my_token = kOne ? 0 : threadIdx.x / 8 % 8, g = threadIdx.x % 8;
  FinishInput finish;
  const bool finishes = my_tile < s.tiles_per_round && first_tile + my_tile < last_tile && my_token < task.tokens;
  if (finishes) finish = LoadFinish(task.out, task.staging, first_tile + my_tile, g, my_token);
  QuadBatch norm;
  if constexpr (kOne) norm = LoadNorm(task.input);
  WaitForPrevious();
  if (finishes) LoadOld(finish, task.out, first_tile + my_tile, g, my_token);
  FetchInput<kOne>(task, norm, s, shared, scratch);
  __syncthreads();

  const int tile_ints = s.pieces_per_round * kResults * kResultInts<kOne>;
  int buffer = 0;
  for (int tile0 = first_tile; tile0 < last_tile; tile0 += s.tiles_per_round) {
    PairSums sums;
    if (tile0 > first_tile) {
      if (tile0 + my_tile < last_tile && my_tile < s.tiles_per_round && my_token < task.tokens) {
        finish = LoadFinish(task.out, task.staging, tile0 + my_tile, g, my_token);
        LoadOld(finish, task.out, tile0 + my_tile, g, my_token);
      }
    }
    FetchScales(m, s, tile0 + s.tiles_per_round, last_tile,
                shared + s.scales_offset + (buffer ^ 1) * s.tiles_per_round * s.scale_bytes);
    CopyCommit();
    for (int piece0 = 0; piece0 < s.pieces; piece0 += s.pieces_per_round) {
      int piece = warp % s.pieces_per_round;
      int32_t* to = results + warp * kResults * kResultInts<kOne>;
      for (int done = 0; done < mine.count; done += kAhead) {
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
          if (done + i < mine.count) {
            ComputePiece<kCodes, kResults, kOne>(pieces[i], shared + (piece0 + piece) * kInputBytes, to);
            if (done + i + kAhead < mine.count) LoadPiece(pieces[i], mine.from + (done + i + kAhead) * kStep, stream);
            to += kDecodeWarps * kResults * kResultInts<kOne>;
            piece += s.step_pieces;
            if (piece >= s.pieces_per_round) piece -= s.pieces_per_round;
          }
        }
      }
      const bool ends = piece0 + s.pieces_per_round >= s.pieces;
      mine = PiecesOf(m, s, ends ? tile0 + s.tiles_per_round : tile0, ends ? 0 : piece0 + s.pieces_per_round, last_tile);
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        if (i < mine.count) LoadPiece(pieces[i], mine.from + i * kStep, stream);
      }
      CopyWait<1>();
      __syncthreads();
      const int tile = tile0 + my_tile;
      if (my_tile < s.tiles_per_round && tile < last_tile && my_token < task.tokens) {
        const RoundView view = {results + my_tile * tile_ints + my_token * kTokenStride<kOne> + g,
                                shared + s.scales_offset + (buffer * s.tiles_per_round + my_tile) * s.scale_bytes,
                                reinterpret_cast<const float*>(shared + s.input_scales_offset) + my_token,
                                reinterpret_cast<const int32_t*>(shared + s.input_sums_offset) + my_token,
                                reinterpret_cast<const __half2*>(m.zeros) + static_cast<size_t>(tile) * m.groups * 8 + g,
                                piece0,
                                min(s.pieces, piece0 + s.pieces_per_round),
                                g};
        AddRound<kCodes, kResults, kGrouping, kOne>(sums, m, s, view);
        if (ends) {
          sums.EndSlice();
          Finish(finish, task.out, tile, g, my_token, sums.total_a, sums.total_b);
        }
      }
      if (!ends || tile0 + s.tiles_per_round < last_tile) __syncthreads();
    }
    buffer ^= 1;
  }
}

}  // namespace edgellm::cuda
