// How matrices and activations lie in device memory, and what kernels are told: plain structs, shared by host and device
// code. One packed layout a weight format serves every kernel: one token, batches and prompts.
//
// Both operands of an integer matrix product (mma.m16n8k32: 16 rows of weights, 8 tokens, 32 values of k) are stored in
// chunks of 16 bytes for each of a warp's lanes, in the form that one lane wants. With g = lane / 4 and t = lane % 4, and
// "four k of x" being k = x + 4t .. x + 4t + 3, the 16 bytes of a lane are
//   int8     of 32 k; words: row g four k of 0; row g+8 four k of 0; row g of 16; row g+8 of 16
//   int4     of 64 k; words 2s, 2s+1 (s = 0, 1): rows g, g+8; low nibbles four k of 32s, high ones of 32s + 16;
//            a nibble is the two's complement of code - 8
//   ternary  of 128 k; words 2h, 2h+1 (h = 0, 1): rows g, g+8; bit pair p holds four k of 64h + 16p, as two's complement
//   activations  of 64 k: token g's four k of 0, 16, 32, 48
// Rows are stored in pairs that belong together (slots g and g+8 of a tile of 16): the two halves of a rotary pair, gate
// and up of one channel, or just two rows; so one thread finishes both. A pair's chunks follow one another, 64 bytes each
// (t = 0..3): so any number of pairs is one stretch of memory, and blocks can take equal shares of a matrix. Activations
// of eight tokens are chunks of 512 bytes, lane after lane.
#pragma once

#include <cstddef>
#include <cstdint>

namespace edgellm::cuda {

inline constexpr int kTileRows = 16;
inline constexpr int kChunkBytes = 512;      // of all lanes
inline constexpr int kPairChunkBytes = 64;   // of the four lanes of a pair
inline constexpr int kBlockK = 64;      // values of k in an activation chunk
inline constexpr int kPanelTokens = 8;  // tokens in an activation chunk

constexpr int DivideUp(int value, int by) { return (value + by - 1) / by; }
constexpr int RoundUp(int value, int multiple) { return DivideUp(value, multiple) * multiple; }

/// The first row of a pair that is just two rows; the second is eight further.
constexpr int FirstRow(int pair) { return pair / 8 * kTileRows + pair % 8; }

enum class Codes : uint8_t { kInt8, kInt4, kTernary };

constexpr int ChunkK(Codes codes) {
  return codes == Codes::kInt8 ? 32 : codes == Codes::kInt4 ? 64 : 128;
}
/// Values of k that kernels take at once: rows are stored in whole ones.
inline constexpr int kStageK = 128;
constexpr int ChunksFor(Codes codes, int cols) { return RoundUp(cols, kStageK) / ChunkK(codes); }
/// The order of float sums: groups of a row are added one after the other within strips (four chunks of a tile), strips
/// within slices, then the slices. The same in every kernel, so that it cannot be told from the bits which one ran. A strip
/// is what one warp does at once when one token is decoded; a slice is what one block does for a batch.
inline constexpr int kStripChunks = 4;
constexpr int StripK(Codes codes) { return kStripChunks * ChunkK(codes); }
inline constexpr int kSliceK = 2048;
inline constexpr int kMostStripK = 512;  // of all codes
/// The longest row: what kernels have scratch for, and so few strips that a multiplication divides by their number.
inline constexpr int kMostCols = 31744;

/// Codes reach the matrix units as code << shift.
constexpr int ShiftOf(Codes codes) {
  return codes == Codes::kInt8 ? 0 : codes == Codes::kInt4 ? 4 : 6;
}

/// A matrix of integer codes, packed. Padded rows and columns have code 0 and scale 0.
struct PackedMatrix {
  Codes codes;
  bool f16_scales;        // else f32
  int tiles, rows;        // rows that exist; tiles * 16 are stored
  int cols;               // values of k that exist
  int chunks;             // per row
  int group;              // values of k that share a scale; the whole row where it exceeds cols
  int groups;             // per row, that exist
  int stored_groups;      // per row, that have room: whole stages, and 16 bytes at a time for the copies of kernels
  const uint8_t* data;    // [pair][chunk][64]
  const uint8_t* scales;  // [pair][stored group][2], f16 or f32: of slots g and g + 8
  const uint8_t* zeros;   // likewise, f16, or null
  size_t bytes;

  constexpr bool whole_row() const { return codes == Codes::kTernary && group >= cols; }
  constexpr int pairs() const { return tiles * 8; }
  constexpr int strips() const { return DivideUp(cols, StripK(codes)); }
  constexpr int pair_bytes() const { return chunks * kPairChunkBytes; }
  constexpr int scale_bytes() const { return f16_scales ? 2 : 4; }
  /// What kernels stream beside a pair's codes: the one scale of a whole row is read where the row is finished.
  constexpr int pair_scale_bytes() const { return whole_row() ? 0 : stored_groups * 2 * scale_bytes(); }
  constexpr size_t code_bytes() const { return static_cast<size_t>(pairs()) * static_cast<size_t>(pair_bytes()); }
  constexpr size_t scale_count() const { return static_cast<size_t>(pairs()) * static_cast<size_t>(stored_groups) * 2; }
  /// Where the scale of the first row of a pair lies; that of the second is the next.
  constexpr size_t scale_index(int pair, int group_of_row) const {
    return (static_cast<size_t>(pair) * static_cast<size_t>(stored_groups) + static_cast<size_t>(group_of_row)) * 2;
  }
};

/// The sizes of a matrix of so many tiles; pointers are the caller's to set.
constexpr PackedMatrix MeasureMatrix(Codes codes, bool f16_scales, int tiles, int rows, int cols, int group) {
  PackedMatrix m{};
  m.codes = codes;
  m.f16_scales = f16_scales;
  m.tiles = tiles;
  m.rows = rows;
  m.cols = cols;
  m.chunks = ChunksFor(codes, cols);
  m.group = group;
  m.groups = DivideUp(cols, group);
  m.stored_groups = m.whole_row() ? 1 : RoundUp(DivideUp(m.chunks * ChunkK(codes), group), 8 / m.scale_bytes());
  return m;
}

/// Quantised activations of a batch, as Prepare writes them.
struct PreparedInput {
  int8_t* codes;    // [panel][block][512]
  float* scales;    // [panel][group][token 8]; one group where the whole row shares a scale
  float* factors;   // [panel][token 8]: what results are multiplied by (1/rms, where it is not in the codes already)
  int32_t* sums;    // [panel][group][token 8]: sums of codes, only for weights with zero points
  int blocks;       // per panel
  int groups;       // per row of activations
};

}  // namespace edgellm::cuda
