// See costs.h.
#include "plan/costs.h"

namespace edgellm {
namespace {

class ByteCount {
 public:
  ByteCount(std::span<const WeightView> weights, double ternary_share)
      : weights_(weights), ternary_share_(ternary_share) {}

  uint64_t operator()(const Embed& step) const {
    const WeightView& table = View(step.table);
    return table.format.TotalBytes(1, table.cols);
  }
  uint64_t operator()(const Qkv& s) const {
    return Whole(s.norm) + Whole(s.q) + Whole(s.k) + Whole(s.v) + Whole(s.q_norm) + Whole(s.k_norm);
  }
  uint64_t operator()(const Attend&) const { return 0; }
  uint64_t operator()(const Project& s) const { return Whole(s.sub_norm) + Whole(s.out); }
  uint64_t operator()(const GateUp& s) const { return Whole(s.norm) + Whole(s.gate) + Whole(s.up); }
  uint64_t operator()(const Logits& s) const { return Whole(s.norm) + Whole(s.head); }

 private:
  const WeightView& View(WeightId id) const { return weights_[static_cast<size_t>(id)]; }
  uint64_t Whole(WeightId id) const { return View(id).format.TotalBytes(View(id).rows, View(id).cols); }
  uint64_t Whole(MaybeWeight id) const { return id ? Whole(*id) : 0; }
  uint64_t Whole(const Linear& linear) const {
    const uint64_t bytes = Whole(linear.weight);
    const bool ternary = View(linear.weight).format.kind == WeightKind::kTernary;
    return (ternary ? static_cast<uint64_t>(static_cast<double>(bytes) * ternary_share_) : bytes) + Whole(linear.bias);
  }

  std::span<const WeightView> weights_;
  double ternary_share_;
};

}  // namespace

StepKind KindOf(const Step& step) {
  struct {
    StepKind operator()(const Embed&) const { return StepKind::kEmbed; }
    StepKind operator()(const Qkv&) const { return StepKind::kQkv; }
    StepKind operator()(const Attend&) const { return StepKind::kAttend; }
    StepKind operator()(const Project& s) const {
      return s.in == Slot::kAttention ? StepKind::kAttentionOut : StepKind::kFfnOut;
    }
    StepKind operator()(const GateUp&) const { return StepKind::kGateUp; }
    StepKind operator()(const Logits&) const { return StepKind::kLogits; }
  } const kind;
  return std::visit(kind, step);
}

std::string_view NameOf(StepKind kind) {
  switch (kind) {
    case StepKind::kEmbed:
      return "embed";
    case StepKind::kQkv:
      return "qkv";
    case StepKind::kAttend:
      return "attend";
    case StepKind::kAttentionOut:
      return "attention out";
    case StepKind::kGateUp:
      return "gate and up";
    case StepKind::kFfnOut:
      return "ffn out";
    case StepKind::kLogits:
      return "head";
  }
  return "";
}

uint64_t WeightBytes(const Step& step, std::span<const WeightView> weights, double ternary_share) {
  return std::visit(ByteCount(weights, ternary_share), step);
}

uint64_t WeightBytesPerToken(const Plan& plan, std::span<const WeightView> weights, double ternary_share) {
  uint64_t bytes = 0;
  for (const Step& step : plan.steps) bytes += WeightBytes(step, weights, ternary_share);
  return bytes;
}

uint64_t KvBytesRead(const Plan& plan, int64_t position, size_t element_bytes) {
  const auto per_position = static_cast<uint64_t>(plan.layers) * static_cast<uint64_t>(plan.kv_heads) *
                            static_cast<uint64_t>(plan.head_dim) * 2 * element_bytes;
  return per_position * static_cast<uint64_t>(position + 1);
}

}  // namespace edgellm
