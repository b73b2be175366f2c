// A plan bound to this machine: the phases that the workers walk, with pointers to packed weights and to the activation
// buffers, which stay at fixed addresses. Between two phases stands a barrier; within one, workers share nothing they
// write.
#pragma once

#include <variant>
#include <vector>

#include "backend/cpu/packing.h"
#include "plan/costs.h"
#include "plan/plan.h"

namespace edgellm::cpu {

/// A float buffer with one row per token; rows are padded with zeros to a multiple of kLanes.
struct Rows {
  float* values = nullptr;
  size_t stride = 0;
  float* Row(size_t token) const { return values + token * stride; }
};

/// One way in which the layers of a phase want their input quantised, and where that lies.
struct InputForm {
  int64_t group = 0, sum_group = 0;  // values per activation scale; values per sum of codes (a weight group)
  float floor = 0;
  int8_t* codes = nullptr;
  size_t code_stride = 0;
  float* scales = nullptr;
  size_t scale_stride = 0;
  int32_t* sums = nullptr;
  size_t sum_stride = 0;
};

struct LinearPart {
  const PackedMatrix* matrix = nullptr;
  LinearInput in{};
  LinearOutput out{};
};

/// residual = table[token]; the table is read in its canonical form: a row per token is all that is touched.
struct EmbedPhase {
  WeightView table;
};
/// values = rmsnorm(in, norm); each form = quantised values. By token.
struct PreparePhase {
  Rows in, values;  // values is `in` itself where there is no norm
  const float* norm = nullptr;
  int64_t cols = 0;
  std::vector<InputForm> forms;
  bool logit_rows = false;  // gather the rows that want logits instead of all tokens
};
/// y = linear(x) for each part. By tile of rows over all parts.
struct LinearPhase {
  std::vector<LinearPart> parts;
  bool logit_rows = false;
};
/// Head norms, rotary embedding, and the KV store. By token and key/value head.
struct RotatePhase {
  int layer = 0;
  const float* q_norm = nullptr;
  const float* k_norm = nullptr;
};
struct AttendPhase {
  int layer = 0;
  float scale = 0;
};
/// ffn = activation(gate(x)) * up(x). By tile of rows: whoever computed a gate's rows has its up's rows too.
struct GatePhase {
  LinearPart gate, up;
  bool relu2 = false;
};
/// One token per logit row, where the batch asks for sampling. By row.
struct SamplePhase {};

using Phase = std::variant<EmbedPhase, PreparePhase, LinearPhase, RotatePhase, AttendPhase, GatePhase, SamplePhase>;

/// Everything that is bound at load: weights, buffers, phases.
struct BoundPlan {
  std::vector<Phase> phases;
  std::vector<StepKind> kinds;  // of the step that each phase belongs to
  Rows residual, query, key, value, attention, gate, up, ffn, normed, logits;
  std::vector<BoundMatrix> matrices;  // by WeightId; empty where a weight is not a matrix of a linear layer
  std::vector<Buffer> memory;         // vectors and activation buffers
  size_t weight_bytes = 0;
};

/// Packs the weights and lays the phases out for at most `tokens` tokens and `logit_rows` logit rows.
BoundPlan BindPlan(const Plan& plan, std::span<const WeightView> weights, int64_t tokens, int64_t logit_rows,
                   WorkerPool& workers);

}  // namespace edgellm::cpu
