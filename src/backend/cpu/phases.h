// A plan bound to this machine: the phases that the workers walk, with pointers to packed weights and to the activation
// buffers, which stay at fixed addresses. Between two phases stands a barrier; within one, workers share nothing they
// write.
#pragma once

#include <span>
#include <variant>
#include <vector>

#include "backend/cpu/packing.h"
#include "base/buffer.h"
#include "plan/costs.h"
#include "plan/plan.h"

namespace edgellm::cpu {

/// A float buffer with one row per token; rows are padded with zeros to a multiple of kLanes.
struct Rows {
  float* values = nullptr;
  size_t stride = 0;
  float* Row(size_t token) const { return values + token * stride; }
};

/// One way in which linear layers want their input quantised.
struct InputForm {
  int64_t group = 0, sum_group = 0;  // values per activation scale; values per sum of codes (a weight group)
  float floor = 0;
  bool tables = false;  // look-up tables too, where there is one token
  bool operator==(const InputForm&) const = default;
};

/// Room for the input of linear layers: normed floats, and the quantised forms of them (in the layout of LinearInput).
struct InputBuffers {
  struct Quantised {
    int8_t* codes = nullptr;
    float* scales = nullptr;
    int32_t* sums = nullptr;
  };
  Rows normed;
  std::vector<Quantised> forms;  // [index into Preparation::forms]
};

/// What becomes of a phase's input before its linear layers read it.
struct Preparation {
  Rows in;
  const float* norm = nullptr;  // RMS norm's weights, or null
  int64_t cols = 0;
  std::vector<InputForm> forms;
  bool logit_rows = false;  // only the rows that want logits instead of all tokens
};

struct LinearPart {
  const PackedMatrix* matrix = nullptr;
  int form = -1;  // index into Preparation::forms; -1: floats
  LinearOutput out{};
};

/// residual = table[token]; the table is read in its canonical form: a row per token is all that is touched.
struct EmbedPhase {
  WeightView table;
};
/// y = linear(prepared x). By tile of rows.
struct LinearPhase {
  Preparation input;
  LinearPart part;
};
/// q, k, v = linear(prepared x); head norms, rotary embedding, the KV store. By whole heads, so that whoever computed a
/// head finishes it.
struct QkvPhase {
  int layer = 0;
  Preparation input;
  LinearPart q, k, v;
  const float* q_norm = nullptr;
  const float* k_norm = nullptr;
};
struct AttendPhase {
  int layer = 0;
  float scale = 0;
};
/// ffn = activation(gate(prepared x)) * up(prepared x). By tile of rows: whoever computed a gate's rows has its up's
/// rows.
struct GatePhase {
  Preparation input;
  LinearPart gate, up;
  bool relu2 = false;
};
/// One token per logit row, where the batch asks for sampling; the final norm of hidden rows, in their place in the
/// residual, which nobody reads any more. By row.
struct SamplePhase {
  const float* norm = nullptr;
};

using Phase = std::variant<EmbedPhase, LinearPhase, QkvPhase, AttendPhase, GatePhase, SamplePhase>;

/// A few tokens are prepared by every worker for itself: that is quicker than to wait for one another.
inline constexpr int64_t kPrivateTokens = 2;

/// Everything that is bound at load: weights, buffers, phases.
struct BoundPlan {
  std::vector<Phase> phases;
  std::vector<StepKind> kinds;  // of the step that each phase belongs to
  Rows residual, query, key, value, attention, gate, up, ffn, logits;
  InputBuffers shared_input;
  std::vector<InputBuffers> private_inputs;  // [worker], for kPrivateTokens
  std::vector<uint8_t*> tables;              // [index into Preparation::forms], made by all workers together
  size_t code_stride = 0, group_stride = 0;  // bytes of codes, and scales or sums, of one token at the most
  std::vector<PackedMatrix> matrices;        // by WeightId; without tiles where a weight is no matrix of a linear layer
  Buffer weights;                            // all of them, so that small ones lie on huge pages too
  std::vector<Buffer> memory;                // vectors and activation buffers
  size_t weight_bytes = 0;
};

/// Packs the weights (ternary ones as `ternary` says) and lays the phases out for at most `tokens` tokens and
/// `logit_rows` logit rows.
BoundPlan BindPlan(const Plan& plan, std::span<const WeightView> weights, int64_t tokens, int64_t logit_rows,
                   Packing ternary, WorkerPool& workers);

}  // namespace edgellm::cpu
