// Plan to phases. See phases.h.
#include <algorithm>
#include <span>

#include "backend/cpu/phases.h"
#include "base/error.h"
#include "quant/activation.h"
#include "quant/codec.h"

namespace edgellm::cpu {
namespace {

class Binder {
 public:
  Binder(const Plan& plan, std::span<const WeightView> weights, int64_t tokens, int64_t logit_rows, WorkerPool& workers)
      : plan_(plan), weights_(weights), tokens_(tokens), logit_rows_(logit_rows), workers_(workers) {
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
    bound_.normed = MakeRows(rows_, widest_);
    bound_.logits = MakeRows(logit_rows, plan.vocab);
  }

  BoundPlan Finish() {
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

  /// A norm or bias as floats, padded with zeros.
  const float* BindVector(WeightId id) {
    const WeightView& view = View(id);
    float* values = Allocate<float>(static_cast<size_t>(RoundUp(view.cols, kLanes)));
    DecodeRow(view, 0, {values, static_cast<size_t>(view.cols)});
    bound_.weight_bytes += static_cast<size_t>(view.cols) * sizeof(float);
    return values;
  }
  const float* BindVector(MaybeWeight id) { return id ? BindVector(*id) : nullptr; }

  const PackedMatrix* BindMatrix(WeightId id) {
    BoundMatrix& matrix = bound_.matrices[static_cast<size_t>(id)];
    if (matrix.memory.size() == 0) {
      matrix = Pack(View(id), workers_);
      bound_.weight_bytes += matrix.memory.size();
    }
    return &matrix.matrix;
  }

  /// The `index`-th set of buffers for quantised input; shared by all phases, since each is spent before the next fills
  /// it.
  InputForm& Form(size_t index) {
    while (forms_.size() <= index) {
      InputForm form;
      form.code_stride = static_cast<size_t>(RoundUp(widest_, 64));
      form.scale_stride =
          static_cast<size_t>((widest_ + 31) / 32);  // no group is shorter than 32, but the last of a row
      form.sum_stride = form.scale_stride;
      form.codes = Allocate<int8_t>(static_cast<size_t>(rows_) * form.code_stride);
      form.scales = Allocate<float>(static_cast<size_t>(rows_) * form.scale_stride);
      form.sums = Allocate<int32_t>(static_cast<size_t>(rows_) * form.sum_stride);
      forms_.push_back(form);
    }
    return forms_[index];
  }

  /// The quantised form that `format` wants of `cols` values, added to the phase unless it is there already.
  InputForm FormFor(PreparePhase& prepare, const WeightFormat& format, int64_t cols) {
    const int64_t group = format.ActivationGroup(cols), sum_group = format.GroupSize(cols);
    const float floor = format.kind == WeightKind::kTernary ? kTernaryActivationFloor : 0.0f;
    for (const InputForm& form : prepare.forms) {
      if (form.group == group && form.sum_group == sum_group && form.floor == floor) return form;
    }
    InputForm form = Form(prepare.forms.size());
    form.group = group;
    form.sum_group = sum_group;
    form.floor = floor;
    prepare.forms.push_back(form);
    return form;
  }

  PreparePhase Prepare(Rows in, MaybeWeight norm, int64_t cols) {
    PreparePhase prepare{
        .in = in, .values = norm ? bound_.normed : in, .norm = BindVector(norm), .cols = cols, .forms = {}};
    return prepare;
  }

  LinearPart Part(PreparePhase& prepare, const Linear& linear, Rows out, bool add) {
    const WeightView& view = View(linear.weight);
    LinearPart part;
    part.matrix = BindMatrix(linear.weight);
    part.in.values = prepare.values.values;
    part.in.value_stride = prepare.values.stride;
    if (!view.format.is_float()) {
      const InputForm form = FormFor(prepare, view.format, view.cols);
      part.in.codes = form.codes;
      part.in.code_stride = form.code_stride;
      part.in.scales = form.scales;
      part.in.scale_stride = form.scale_stride;
      part.in.scale_step = form.group == form.sum_group ? 1 : 0;
      part.in.sums = form.sums;
      part.in.sum_stride = form.sum_stride;
    }
    part.out = {out.values, out.stride, BindVector(linear.bias), add};
    return part;
  }

  void Bind(const Embed& step) { bound_.phases.push_back(EmbedPhase{View(step.table)}); }

  void Bind(const Qkv& step) {
    PreparePhase prepare = Prepare(bound_.residual, step.norm, plan_.hidden);
    LinearPhase linear;
    linear.parts.push_back(Part(prepare, step.q, bound_.query, false));
    linear.parts.push_back(Part(prepare, step.k, bound_.key, false));
    linear.parts.push_back(Part(prepare, step.v, bound_.value, false));
    bound_.phases.push_back(std::move(prepare));
    bound_.phases.push_back(std::move(linear));
    bound_.phases.push_back(RotatePhase{step.layer, BindVector(step.q_norm), BindVector(step.k_norm)});
  }

  void Bind(const Attend& step) { bound_.phases.push_back(AttendPhase{step.layer, step.scale}); }

  void Bind(const Project& step) {
    const bool attention = step.in == Slot::kAttention;
    PreparePhase prepare =
        Prepare(attention ? bound_.attention : bound_.ffn, step.sub_norm, View(step.out.weight).cols);
    LinearPhase linear;
    linear.parts.push_back(Part(prepare, step.out, bound_.residual, true));
    if (step.sub_norm || !prepare.forms.empty()) bound_.phases.push_back(std::move(prepare));
    bound_.phases.push_back(std::move(linear));
  }

  void Bind(const GateUp& step) {
    PreparePhase prepare = Prepare(bound_.residual, step.norm, plan_.hidden);
    GatePhase gate;
    gate.gate = Part(prepare, step.gate, bound_.gate, false);
    gate.up = Part(prepare, step.up, bound_.up, false);
    gate.relu2 = step.activation == Activation::kRelu2;
    bound_.phases.push_back(std::move(prepare));
    bound_.phases.push_back(gate);
  }

  void Bind(const Logits& step) {
    PreparePhase prepare = Prepare(bound_.residual, step.norm, plan_.hidden);
    prepare.logit_rows = true;
    LinearPhase linear;
    linear.logit_rows = true;
    linear.parts.push_back(Part(prepare, step.head, bound_.logits, false));
    bound_.phases.push_back(std::move(prepare));
    bound_.phases.push_back(std::move(linear));
    bound_.phases.push_back(SamplePhase{});
  }

  const Plan& plan_;
  std::span<const WeightView> weights_;
  int64_t tokens_, logit_rows_, rows_ = 0, widest_ = 0;
  WorkerPool& workers_;
  BoundPlan bound_;
  std::vector<InputForm> forms_;
};

}  // namespace

BoundPlan BindPlan(const Plan& plan, std::span<const WeightView> weights, int64_t tokens, int64_t logit_rows,
                   WorkerPool& workers) {
  return Binder(plan, weights, tokens, logit_rows, workers).Finish();
}

}  // namespace edgellm::cpu
