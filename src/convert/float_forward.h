// A forward pass over whole windows of text, step by step for all of them together, that shows the inputs of every
// linear layer before it is applied. Calibration needs it: a layer is rounded against inputs that come out of the
// rounded layers before it. Sums are floats in a fixed order (gemm.h); activations are rounded as the kernels do, where
// a weight's format asks for it. Not for answering: backends do that.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "base/worker_pool.h"
#include "convert/gemm.h"
#include "plan/plan.h"
#include "quant/weight_format.h"

namespace edgellm {

/// Called before the linears of `weights` are applied, which all read `inputs` [tokens][cols]. It may replace their
/// entries among the walk's views: the new ones are what is applied.
using AtLinears = std::function<void(std::span<const WeightId> weights, const MatrixView& inputs)>;

struct ForwardText {
  std::span<const int32_t> tokens;  // whole windows, one after the other
  int window = 0;                   // tokens in each: read on their own, from position 0
};

class FloatForward {
 public:
  /// `views`: one per weight of the plan; they and the plan must outlive this object. The largest moment holds
  /// 2 * tokens * (hidden + max(ffn, heads * head_dim + kv_heads * head_dim)) floats and the widest layer matrix as
  /// floats.
  FloatForward(const Plan& plan, std::vector<WeightView>& views, const ForwardText& text, WorkerPool& pool);

  /// Walks all steps. Without `with_logits` it ends before the head is applied, which no calibration needs.
  void Run(const AtLinears& at_linears, bool with_logits = false);

  /// After Run(…, true): [tokens][vocab].
  std::span<const float> logits() const { return logits_; }

 private:
  using Floats = std::vector<float>;

  void Step(const Embed& step);
  void Step(const Qkv& step);
  void Step(const Attend& step);
  void Step(const Project& step);
  void Step(const GateUp& step);
  void Step(const Logits& step);

  void Show(std::span<const WeightId> weights, const Floats& inputs, int64_t width) const;
  void Apply(const Linear& linear, const Floats& in, float* out);
  void ReadMatrix(const WeightView& view);
  Floats DecodeVector(WeightId id) const;
  Floats Normed(const Floats& in, WeightId weight);
  void NormRows(float* x, int64_t rows, const Floats& weight) const;
  void Rotate(Floats& x, int64_t width);
  void AttendHead(int64_t sequence, int64_t head, float scale, Floats& scores, GemmScratch& scratch);

  const Plan& plan_;
  std::vector<WeightView>& views_;
  ForwardText text_;
  WorkerPool& pool_;
  const AtLinears* at_linears_ = nullptr;
  bool with_logits_ = false;
  int64_t tokens_ = 0;
  Floats residual_, query_, keys_, values_, attention_, ffn_, logits_;  // [tokens][width of each]
  Floats matrix_;                                                       // the linear at hand, as floats
};

}  // namespace edgellm
