// Plan to phases. See phases.h.
#include <algorithm>
#include <optional>
#include <span>

#include "backend/cpu/phases.h"
#include "base/error.h"
#include "quant/activation.h"
#include "quant/codec.h"

namespace edgellm::cpu {
namespace {

class Binder {
 public:
  Binder(const Plan& plan, std::span<const WeightView> weights, int64_t tokens, int64_t logit_rows, Packing ternary,
         WorkerPool& workers)
      : plan_(plan), weights_(weights), ternary_(ternary), workers_(workers) {
    bound_.matrices.resize(weights.size());
    const int64_t heads = int64_t{plan.heads} * plan.head_dim, kv = int64_t{plan.kv_heads} * plan.head_dim;
    widest_ = std::max({int64_t{plan.hidden}, heads, int64_t{plan.ffn}});
    rows_ = std::max(tokens, logit_rows);
    bound_.residual = MakeRows(tokens, plan.hidden);
    bound_.query = MakeRows(tokens, heads);
    bound_.key = MakeRows(tokens, kv);
    bound_.value = MakeRows(tokens, kv);
    bound_.attention = MakeRows(tokens, heads);
    bound_.gate = MakeRows(tokens, plan.ffn);
    bound_.up = MakeRows(tokens, plan.ffn);
    bound_.ffn = MakeRows(tokens, plan.ffn);
    // No group is shorter than 32, but the last of a row.
    bound_.code_stride = static_cast<size_t>(RoundUp(widest_ + kCodeSlack, 64));
    bound_.group_stride = static_cast<size_t>((widest_ + 31) / 32);
    bound_.shared_input.normed = MakeRows(rows_, widest_);
    bound_.private_inputs.resize(static_cast<size_t>(workers.size()));
    for (InputBuffers& own : bound_.private_inputs) own.normed = MakeRows(kPrivateTokens, widest_);
    bound_.logits = MakeRows(logit_rows, plan.vocab);
  }

  BoundPlan Finish() {
    ReserveWeights();
    for (const Step& step : plan_.steps) {
      std::visit([this](const auto& s) { Bind(s); }, step);
      bound_.kinds.resize(bound_.phases.size(), KindOf(step));
    }
    return std::move(bound_);
  }

 private:
  template <typename T>
  T* Allocate(size_t count) {
    bound_.memory.emplace_back(count * sizeof(T));
    return bound_.memory.back().as<T>();
  }

  Rows MakeRows(int64_t tokens, int64_t width) {
    const auto stride = static_cast<size_t>(RoundUp(width, kLanes));
    return {Allocate<float>(static_cast<size_t>(tokens) * stride), stride};
  }

  const WeightView& View(WeightId id) const { return weights_[static_cast<size_t>(id)]; }
  Packing PackingOf(WeightId id) const { return cpu::PackingOf(View(id).format, ternary_); }

  /// A norm or bias as floats, padded with zeros.
  const float* BindVector(WeightId id) {
    const WeightView& view = View(id);
    float* values = Allocate<float>(static_cast<size_t>(RoundUp(view.cols, kLanes)));
    DecodeRow(view, 0, {values, static_cast<size_t>(view.cols)});
    bound_.weight_bytes += static_cast<size_t>(view.cols) * sizeof(float);
    return values;
  }
  const float* BindVector(MaybeWeight id) { return id ? BindVector(*id) : nullptr; }

  /// Room for the matrices of all linear layers, in the order in which a forward reads them.
  void ReserveWeights() {
    std::vector<std::optional<size_t>> places(weights_.size());  // of those that linear layers read
    size_t bytes = 0;
    const auto reserve = [&](const Linear& linear) {
      std::optional<size_t>& place = places[static_cast<size_t>(linear.weight)];
      if (place) return;
      place = bytes;
      bytes += PackedBytes(View(linear.weight), PackingOf(linear.weight));
    };
    for (const Step& step : plan_.steps) {
      if (const auto* qkv = std::get_if<Qkv>(&step)) {
        for (const Linear* linear : {&qkv->q, &qkv->k, &qkv->v}) reserve(*linear);
      } else if (const auto* project = std::get_if<Project>(&step)) {
        reserve(project->out);
      } else if (const auto* gate_up = std::get_if<GateUp>(&step)) {
        for (const Linear* linear : {&gate_up->gate, &gate_up->up}) reserve(*linear);
      } else if (const auto* logits = std::get_if<Logits>(&step)) {
        reserve(logits->head);
      }
    }
    bound_.weights = Buffer(bytes);
    bound_.weight_bytes += bytes;
    for (size_t id = 0; id < weights_.size(); ++id) {
      if (!places[id]) continue;
      bound_.matrices[id] =
          Pack(weights_[id], PackingOf(static_cast<WeightId>(id)), bound_.weights.data() + *places[id], workers_);
    }
  }

  void MakeForm(InputBuffers& buffers, int64_t tokens) {
    const auto count = static_cast<size_t>(RoundUp(tokens, kMostPanelTokens));
    buffers.forms.push_back({Allocate<int8_t>(count * bound_.code_stride), Allocate<float>(count * bound_.group_stride),
                             Allocate<int32_t>(count * bound_.group_stride)});
  }

  /// Where in `input.forms` stands what `format` wants of `cols` values; added unless it is there already. The buffers
  /// are shared by all phases, since each is spent before the next fills it.
  int FormFor(Preparation& input, const WeightFormat& format, int64_t cols) {
    if (format.is_float()) return -1;
    const InputForm form = {format.ActivationGroup(cols), format.GroupSize(cols),
                            format.kind == WeightKind::kTernary ? kTernaryActivationFloor : 0.0f,
                            cpu::PackingOf(format, ternary_) == Packing::kTernaryTables};
    const auto found = std::find(input.forms.begin(), input.forms.end(), form);
    const auto index = static_cast<size_t>(found - input.forms.begin());
    if (found == input.forms.end()) input.forms.push_back(form);
    if (index == bound_.shared_input.forms.size()) {
      MakeForm(bound_.shared_input, rows_);
      for (InputBuffers& own : bound_.private_inputs) MakeForm(own, kPrivateTokens);
      bound_.tables.push_back(nullptr);
    }
    if (form.tables && bound_.tables[index] == nullptr) {
      bound_.tables[index] = Allocate<uint8_t>(static_cast<size_t>((widest_ + 3) / 4) * 64);
    }
    return static_cast<int>(index);
  }

  Preparation Prepare(Rows in, MaybeWeight norm, int64_t cols) {
    Preparation input;
    input.in = in;
    input.norm = BindVector(norm);
    input.cols = cols;
    return input;
  }

  LinearPart Part(Preparation& input, const Linear& linear, Rows out, bool add) {
    const WeightView& view = View(linear.weight);
    LinearPart part;
    part.matrix = &bound_.matrices[static_cast<size_t>(linear.weight)];
    part.form = FormFor(input, view.format, view.cols);
    part.out = {out.values, out.stride, BindVector(linear.bias), add};
    return part;
  }

  void Bind(const Embed& step) { bound_.phases.push_back(EmbedPhase{View(step.table)}); }

  void Bind(const Qkv& step) {
    QkvPhase phase;
    phase.layer = step.layer;
    phase.input = Prepare(bound_.residual, step.norm, plan_.hidden);
    phase.q = Part(phase.input, step.q, bound_.query, false);
    phase.k = Part(phase.input, step.k, bound_.key, false);
    phase.v = Part(phase.input, step.v, bound_.value, false);
    phase.q_norm = BindVector(step.q_norm);
    phase.k_norm = BindVector(step.k_norm);
    bound_.phases.push_back(std::move(phase));
  }

  void Bind(const Attend& step) { bound_.phases.push_back(AttendPhase{step.layer, step.scale}); }

  void Bind(const Project& step) {
    const bool attention = step.in == Slot::kAttention;
    LinearPhase phase;
    phase.input = Prepare(attention ? bound_.attention : bound_.ffn, step.sub_norm, View(step.out.weight).cols);
    phase.part = Part(phase.input, step.out, bound_.residual, true);
    bound_.phases.push_back(std::move(phase));
  }

  void Bind(const GateUp& step) {
    GatePhase phase;
    phase.input = Prepare(bound_.residual, step.norm, plan_.hidden);
    phase.gate = Part(phase.input, step.gate, bound_.gate, false);
    phase.up = Part(phase.input, step.up, bound_.up, false);
    phase.relu2 = step.activation == Activation::kRelu2;
    bound_.phases.push_back(std::move(phase));
  }

  void Bind(const Logits& step) {
    LinearPhase phase;
    phase.input = Prepare(bound_.residual, step.norm, plan_.hidden);
    phase.input.logit_rows = true;
    phase.part = Part(phase.input, step.head, bound_.logits, false);
    const SamplePhase sample = {phase.input.norm};
    bound_.phases.push_back(std::move(phase));
    bound_.phases.push_back(sample);
  }

  const Plan& plan_;
  std::span<const WeightView> weights_;
  int64_t rows_ = 0, widest_ = 0;
  Packing ternary_;
  WorkerPool& workers_;
  BoundPlan bound_;
};

}  // namespace

BoundPlan BindPlan(const Plan& plan, std::span<const WeightView> weights, int64_t tokens, int64_t logit_rows,
                   Packing ternary, WorkerPool& workers) {
  return Binder(plan, weights, tokens, logit_rows, ternary, workers).Finish();
}

}  // namespace edgellm::cpu
