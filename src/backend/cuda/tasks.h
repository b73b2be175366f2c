// What a kernel is told: one plain struct a kernel, passed by value at launch, and the functions that launch them.
// Everything that changes from forward to forward is read from device memory (Staging), so that a captured graph stays
// valid while sequences grow.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "backend/cuda/layout.h"
#include "quant/activation.h"

namespace edgellm::cuda {

/// Where and how kernels are launched. `chained`: with programmatic dependence on the kernel before (sm_90 and later).
struct Launch {
  cudaStream_t stream = nullptr;
  bool chained = false;
  int processors = 1;  // multiprocessors of the device
  int shared_bytes = 48 << 10;  // of shared memory that a block may have
};

/// The batch as kernels see it, in device memory at fixed addresses. Entries past the batch's tokens have sequence -1.
struct Staging {
  int32_t* tokens;       // [token]
  int32_t* positions;    // [token]
  int32_t* sequences;    // [token], row of `pages`; -1: no token
  int32_t* starts;       // [token], the first position that this batch has of the token's sequence: older ones are in the
                         // cache before the forward begins
  int32_t* logit_rows;   // [logit row], index of a token
  int32_t* block_tokens;  // [block of LaunchAttendPrompt], its first token
  int32_t* block_counts;  // likewise, how many
  int32_t* pages;        // [sequence][pages_per_sequence]
  int pages_per_sequence;
};

/// The columns of Staging that every forward sends, one behind the other.
inline constexpr int kStagingColumns = 7;

/// The KV cache of one layer: a page holds, head after head, keys [16 positions][dim] and values [dim][16 positions] in
/// f16, where dim is head_dim rounded up to what kernels exist for; the rest is zero.
struct LayerCache {
  uint8_t* base;
  size_t page_bytes;
  int dim;
};
/// The least size of a head that kernels exist for and that holds `head_dim`; 0: none.
constexpr int PaddedHead(int head_dim) {
  for (int dim : {32, 64, 96, 128, 256}) {
    if (head_dim <= dim) return dim;
  }
  return 0;
}

struct EmbedTask {
  const uint8_t* codes;   // the canonical planes of the table (quant/weight_format.h)
  const uint8_t* scales;
  const uint8_t* zeros;
  int kind;               // WeightKind
  int group, groups, row_bytes, cols;
  float* residual;        // [token][stride]
  size_t stride;
  Staging staging;
  int tokens;
};
void LaunchEmbed(const EmbedTask& task, const Launch& launch);

/// x, normalised where `norm` is given, as int8 codes in groups.
struct PrepareTask {
  const float* x;        // [row][stride], zeros past cols
  size_t stride;
  const int32_t* gather;  // which row of x is row i, or null: row i
  const float* norm;     // [cols], zeros past them, or null
  float epsilon;
  int cols;
  int group;             // values that share a scale: 32, 64, 128, or 0 for the whole row
  float floor;           // least absmax
  bool sums;             // write PreparedInput::sums
  PreparedInput out;
  float* normed;         // [row][stride]: the values themselves instead of codes, where not null (float weights)
};
void LaunchPrepare(const PrepareTask& task, int rows, const Launch& launch);

/// Sets what a matrix wants of its input: groups, floor, sums, and the sizes of what is prepared (whole strips).
inline void PrepareFor(const PackedMatrix& m, PrepareTask* task) {
  const bool ternary = m.codes == Codes::kTernary;
  task->group = ternary ? 0 : m.group;
  task->floor = ternary ? kTernaryActivationFloor : 0.0f;
  task->sums = m.zeros != nullptr;
  task->out.blocks = m.strips() * (StripK(m.codes) / kBlockK);
  task->out.groups = ternary ? 1 : task->out.blocks * kBlockK / m.group;
}

/// What becomes of the pair (a, b) that slots g and g + 8 of a tile give for a token.
enum class Output : uint8_t {
  kStore,     // y[row] = a, y[row + 8] = b
  kResidual,  // y += likewise
  kQkv,       // rotary pair: query, or key and value into their page
  kGateUp,    // y[channel] = act(a) * b
  kUp,        // y[row] = act(other[row]) * a: gate was stored before
};

struct OutputTask {
  Output kind;
  float* y;
  size_t stride;
  int rows;             // of the result; what lies past them is not written
  const float2* bias;   // [tile * 8 + g] for a and b, or null
  bool relu2;           // kGateUp, kUp: max(x, 0)^2 instead of x * sigmoid(x)
  const float* other;   // kUp, same stride
  // kQkv: heads first_head ... of the row of all query, key and value heads.
  int first_head, heads, kv_heads, head_dim;
  const float2* rotary;  // [position][head_dim / 2] cosine, sine; null: query and key go unrotated to y and `other`
  float* raw_key;        // [token][raw_key_stride], where rotary is null
  size_t raw_key_stride;
  LayerCache cache;
};

struct LinearTask {
  PackedMatrix matrix;
  PrepareTask input;     // where it comes from; for all but LaunchTokenLinear input.out holds it already
  OutputTask out;
  Staging staging;
  int tokens;
};
/// One token, which it prepares by itself, where FitsTokenLinear: rows may be too long for the shared memory of a block.
bool FitsTokenLinear(const PackedMatrix& matrix, const Launch& launch);
void LaunchTokenLinear(const LinearTask& task, const Launch& launch);
/// 1 to 8 tokens that are prepared, where FitsBatchLinear.
bool FitsBatchLinear(const PackedMatrix& matrix, const Launch& launch);
void LaunchBatchLinear(const LinearTask& task, const Launch& launch);
/// Any number of tokens. `partial`: room for slices * tokens * (tiles * 16) floats, or null: then one block adds all slices.
void LaunchPromptLinear(const LinearTask& task, float* partial, const Launch& launch);

/// Weights that are floats: y = W x, x floats as Prepare's `normed` (or the input itself) has them.
struct FloatLinearTask {
  const uint8_t* weights;  // [row][cols], canonical
  int kind;                // WeightKind
  int rows, cols;
  const float* x;
  size_t stride;
  const float* bias;       // [row] or null
  float* y;
  size_t y_stride;
  bool add;
  const float* gate;       // y = act(gate) * value where not null
  bool relu2;
};
void LaunchFloatLinear(const FloatLinearTask& task, int tokens, const Launch& launch);

/// Per-head norm and rotary embedding of queries and keys, and keys and values into their pages, for what LinearTask
/// left raw.
struct FinishHeadsTask {
  float* query;
  size_t query_stride;
  const float* key;        // [token][kv_heads * head_dim]
  const float* value;      // likewise, or null where values are in their pages already
  size_t key_stride;
  const float* q_norm;     // [head_dim] or null
  const float* k_norm;
  float epsilon;
  const float2* rotary;
  int heads, kv_heads, head_dim;
  LayerCache cache;
  Staging staging;
};
void LaunchFinishHeads(const FinishHeadsTask& task, int tokens, const Launch& launch);

struct AttendTask {
  const float* query;      // [token][query_stride]
  size_t query_stride;
  float* out;              // [token][out_stride]
  size_t out_stride;
  int heads, kv_heads, head_dim;
  float scale;             // of the scores, times log2(e)
  LayerCache cache;
  Staging staging;
  int splits;              // blocks along the context, for the longest sequence
  float* partial;          // [token of a launch][kv_head][split][query head of it][cache.dim + 2]
  uint32_t* arrived;       // [token of a launch][kv_head], zero between launches
  int first_token;         // of the launch
};
/// Tokens that one launch takes; more are several launches, for which `partial` and `arrived` have room once.
inline constexpr int kAttendTokens = 64;
void LaunchAttend(const AttendTask& task, int tokens, const Launch& launch);
/// Positions that one block along the context looks at.
inline constexpr int kSplitPositions = 256;

/// The same for blocks of tokens that follow one another in a sequence: Staging's block_tokens and block_counts, each of at
/// most PromptAttendTokens(heads that share a key/value head) tokens.
void LaunchAttendPrompt(const AttendTask& task, int blocks, const Launch& launch);
inline constexpr int kPromptAttendRows = 128;
constexpr int PromptAttendTokens(int heads) { return kPromptAttendRows / heads; }
/// Shared memory that it takes for heads of `dim`, at most 128: devices have no room for larger ones.
size_t PromptAttendSharedBytes(int dim);

/// Canonical planes of up to three matrices of one format, on the device, to one packed matrix.
enum class RowOrder : uint8_t { kPlain, kRotaryPairs, kGatePairs };
/// The row of the matrices, one behind the other, that is the first or second of a pair; with kGatePairs both have the
/// pair's number, each in a matrix of its own. half: head_dim / 2.
constexpr int RowOfPair(RowOrder order, int half, int pair, int second) {
  if (order == RowOrder::kGatePairs) return pair;
  if (order == RowOrder::kRotaryPairs) return pair / half * 2 * half + pair % half + second * half;
  return FirstRow(pair) + 8 * second;
}
struct PackSource {
  const uint8_t *codes, *scales, *zeros;
  int rows;
};
struct PackTask {
  PackSource sources[3];
  int count;
  RowOrder order;
  int half;        // kRotaryPairs: head_dim / 2
  int row_bytes;
  PackedMatrix to;  // data, scales and zeros writable
};
void LaunchPack(const PackTask& task, cudaStream_t stream);

/// Copies whole pages of all layers.
void LaunchCopyPages(uint8_t* cache, size_t layer_bytes, int layers, size_t page_bytes, const int2* pages, int count,
                     cudaStream_t stream);

}  // namespace edgellm::cuda
