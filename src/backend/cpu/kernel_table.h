// What an instruction set offers to the CPU backend: plain functions over plain structs. Compiled once per instruction
// set (isa/*.cc) from the same kernels (kernels/*.h); all of them give the same bits (quant/activation.h). This header
// is included by translation units with wide -m flags: it must define no inline function and use no template.
#pragma once

#include <cstddef>
#include <cstdint>

/// Before a loop of few, constant rounds over arrays that must live in registers: -O2 alone would leave the loop.
#if defined(__clang__)
#define EDGELLM_UNROLL _Pragma("clang loop unroll(full)")
#else
#define EDGELLM_UNROLL _Pragma("GCC unroll 16")
#endif

namespace edgellm::cpu {

/// Rows of a matrix that are computed together: one per vector lane. Buffers of floats are padded to this many with
/// zeros.
inline constexpr int kLanes = 16;
/// The most that KernelTable::panel_tokens is.
inline constexpr int kMostPanelTokens = 16;
/// Activation codes are padded with zeros to a multiple of this many: the most values of a row in one 64-byte line.
inline constexpr int kCodePadding = 16;

/// Activation groups whose absmax is below this count as zeros (kSmallestActivation of quant/activation.h).
inline constexpr float kSmallestGroup = 1e-30f;

/// Four tiles that are looked up together (Packing::kTernaryTables).
inline constexpr int kTablesTiles = 4;
/// The tables of so many times four values stay in the first-level cache while row after row looks up in them.
inline constexpr int kTableFours = 128;
/// Codes may be read up to so many bytes past the last one (Packing::kTernaryDense); what is there counts nothing.
inline constexpr int kCodeSlack = 20;

enum class Packing : uint8_t { kF32, kF16, kBf16, kInt8, kInt4, kInt4Zero, kTernary, kTernaryTables, kTernaryDense };

/// A matrix repacked so that each 64-byte load feeds 16 rows (made by packing.cc):
///   integers  codes[tile][block][row 16][4]: byte i of a row holds k = block * per_block + 4 * plane + i, where plane
///   is
///             the byte (int8), the nibble (int4, low first) or the bit pair (ternary, lowest first)
///             Dense ternary has five digits a byte instead, which planes 0 to 4 are (kernels/ternary.h), and groups
///             begin with a line of their own, whose unused digits are 0
///   tables    codes[k / (4 * kTableFours)][tile / 4][k / 4][row 16][tile % 4]: a byte is four ternary codes of two
///   bits,
///             lowest k first
///   floats    codes[tile][k][row 16]
///   scales    [tile][group][row 16], f16 for int8 and int4, f32 for ternary; zeros likewise, f16
/// Rows past the last have scale 0, so that they come out as 0.
struct PackedMatrix {
  Packing packing;
  int64_t rows, cols, tiles;
  int64_t group;  // values of a row per scale
  int64_t groups;
  int64_t blocks;  // 64-byte lines per tile; for tables per four tiles
  const uint8_t* codes;
  const uint8_t* scales;
  const uint8_t* zeros;
};

/// The activations that a linear layer reads. For float packings rows of floats, one per token. For integer packings
/// codes in panels of `interleave` tokens: codes[panel][k / chunk][token of the panel][chunk], scales and sums
/// [panel][group][token of the panel]; what follows a token's last code up to a multiple of `chunk` counts nothing. One
/// token alone has interleave 1, any other number KernelTable::panel_tokens.
struct LinearInput {
  const float* values;  // [token][value_stride]
  size_t value_stride;
  int64_t interleave;
  const int8_t* codes;
  size_t code_stride;     // bytes of a panel
  const float* scales;    // one per weight group, or a single one for all (scale_step 0)
  int64_t scale_step;     // 1: by group; 0: one for all
  const int32_t* sums;    // sum of the codes in each weight group
  size_t group_stride;    // scales, and sums, of a panel
  const uint8_t* tables;  // of one token's codes, 64 bytes for every four; null unless the packing wants them
};

/// Where a linear layer's rows go: y[token][stride]; columns tile * 16 ... are written whole.
struct LinearOutput {
  float* values;
  size_t stride;
  const float* bias;  // [tiles * 16] or null
  bool add;           // y += instead of y =
};

/// Queries that share a key/value head, and hence each key and value that is loaded: several heads of one token, of
/// several consecutive tokens of a sequence, or both.
inline constexpr int kAttendRows = 12;
/// Positions whose scores are made at once; one block after the other is weighed into the sums.
inline constexpr int kAttendPositions = 64;

struct AttendTask {
  int rows;                         // 1 .. kAttendRows
  const float* query[kAttendRows];  // [head_dim] each
  float* out[kAttendRows];          // [head_dim] each
  int64_t context[kAttendRows];     // positions that the row looks at: 0 .. context - 1
  const uint8_t* cache;  // this layer and key/value head in page 0: keys [head_dim][16], then values [16][padded_dim]
  size_t page_stride;    // bytes between pages
  const int32_t* pages;  // page ids of the sequence
  int head_dim, padded_dim;
  float scale;
  bool f16;        // the cache's element type, else f32
  float* scratch;  // kAttendRows * (padded_dim + kAttendPositions)
};

struct KernelTable {
  const char* name;
  /// Tokens whose activation codes lie side by side, so that a block of them is read along one stream; and how many
  /// codes of one lie together (`chunk` of LinearInput).
  int64_t panel_tokens, panel_chunk;
  /// `scratch`: linear_scratch(tokens) bytes at a 64-byte boundary, of the calling worker alone.
  void (*linear)(const PackedMatrix& matrix, int64_t first_tile, int64_t last_tile, const LinearInput& in,
                 int64_t tokens, const LinearOutput& out, uint8_t* scratch);
  size_t (*linear_scratch)(int64_t tokens);
  /// n values, x padded with zeros, become codes, scales (one per `group`) and sums (one per `sum_group`) of one token
  /// in a panel of `interleave` tokens; the pointers are to its own first ones (see LinearInput).
  void (*quantize)(const float* x, int64_t n, int64_t group, int64_t sum_group, float floor, int64_t interleave,
                   int8_t* codes, float* scales, int32_t* sums);
  /// Look-up tables (kernels/ternary_tables.h) for one token's codes 4 * first_four .. 4 * last_four - 1.
  void (*build_tables)(const int8_t* codes, int64_t first_four, int64_t last_four, uint8_t* tables);
  /// out = x * weight / sqrt(mean(x^2) + epsilon) over n values; weight null: x unchanged. Buffers padded.
  void (*rms_norm)(const float* x, const float* weight, int64_t n, float epsilon, float* out);
  /// out = activation(gate) * up; n a multiple of 16. relu2: max(x,0)^2 instead of x*sigmoid(x).
  void (*gate)(bool relu2, const float* gate, const float* up, int64_t n, float* out);
  /// Rotates one head in place: pairs (x[i], x[i + half]) by the angle whose cosine and sine are given, [half] each.
  void (*rotate)(float* x, const float* cosine, const float* sine, int64_t half);
  /// Writes one position's key, or value, of one head into its page (layout as in AttendTask).
  void (*store_key)(const float* key, uint8_t* page, int slot, int head_dim, bool f16);
  void (*store_value)(const float* value, uint8_t* page, int slot, int head_dim, int padded_dim, bool f16);
  void (*attend)(const AttendTask& task);
};

}  // namespace edgellm::cpu
