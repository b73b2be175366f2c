// Printing and checking plans. See plan.h.
#include "plan/plan.h"

#include "base/error.h"

namespace edgellm {
namespace {

template <typename... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
template <typename... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;  // clang 14 does not deduce it for an aggregate

std::string WeightText(const Plan& plan, WeightId id) {
  const WeightSlot& slot = plan.weights[static_cast<size_t>(id)];
  return slot.rows == 1 ? fmt::format("{}[{}]", slot.name, slot.cols)
                        : fmt::format("{}[{}x{}]", slot.name, slot.rows, slot.cols);
}

std::string LinearText(const Plan& plan, const Linear& linear) {
  return WeightText(plan, linear.weight) + (linear.bias ? "+bias" : "");
}

const char* ActivationName(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return "silu";
    case Activation::kRelu2:
      return "relu2";
  }
  return "?";
}

std::string StepText(const Plan& plan, const Step& step) {
  const auto linear = [&](const Linear& value) { return LinearText(plan, value); };
  const auto weight = [&](WeightId id) { return WeightText(plan, id); };
  return std::visit(
      Overloaded{
          [&](const Embed& s) { return fmt::format("Embed   {}", weight(s.table)); },
          [&](const Qkv& s) {
            return fmt::format("Qkv     layer {}: norm {}, q {}, k {}, v {}{}", s.layer, weight(s.norm), linear(s.q),
                               linear(s.k), linear(s.v),
                               s.q_norm ? ", q_norm " + weight(*s.q_norm) + ", k_norm " + weight(*s.k_norm) : "");
          },
          [&](const Attend& s) { return fmt::format("Attend  layer {}: scale {:.6g}", s.layer, s.scale); },
          [&](const Project& s) {
            return fmt::format("Project {}{} -> {}", s.in == Slot::kAttention ? "attention" : "ffn",
                               s.sub_norm ? ", sub_norm " + weight(*s.sub_norm) : "", linear(s.out));
          },
          [&](const GateUp& s) {
            return fmt::format("GateUp  norm {}, {}(gate {}) * up {}", weight(s.norm), ActivationName(s.activation),
                               linear(s.gate), linear(s.up));
          },
          [&](const Logits& s) { return fmt::format("Logits  norm {}, head {}", weight(s.norm), linear(s.head)); },
      },
      step);
}

/// Checks the ids and shapes that one plan's steps name.
class Checker {
 public:
  explicit Checker(const Plan& plan) : plan_(plan) {}

  void Sizes() const {
    const int64_t sizes[] = {plan_.hidden,   plan_.layers, plan_.heads, plan_.kv_heads,
                             plan_.head_dim, plan_.ffn,    plan_.vocab, plan_.max_context};
    for (int64_t size : sizes) Require(size > 0 && size <= (int64_t{1} << 30), "a size is not positive");
    Require(plan_.heads % plan_.kv_heads == 0, "heads is no multiple of kv_heads");
    Require(plan_.head_dim % 2 == 0, "head_dim is odd");
    Require(plan_.rope_inverse_frequencies.size() == static_cast<size_t>(plan_.head_dim) / 2,
            "the number of rotary frequencies is not head_dim / 2");
    Require(plan_.norm_epsilon >= 0, "the norm's epsilon is negative");
    for (const WeightSlot& slot : plan_.weights) Require(slot.rows > 0 && slot.cols > 0, "a weight has an empty shape");
  }

  void operator()(const Embed& s) const { Shape(s.table, plan_.vocab, plan_.hidden); }
  void operator()(const Qkv& s) const {
    Layer(s.layer);
    Shape(s.norm, 1, plan_.hidden);
    LinearShape(s.q, int64_t{plan_.heads} * plan_.head_dim, plan_.hidden);
    LinearShape(s.k, int64_t{plan_.kv_heads} * plan_.head_dim, plan_.hidden);
    LinearShape(s.v, int64_t{plan_.kv_heads} * plan_.head_dim, plan_.hidden);
    Require(s.q_norm.has_value() == s.k_norm.has_value(), "q_norm and k_norm come together");
    if (s.q_norm) Shape(*s.q_norm, 1, plan_.head_dim);
    if (s.k_norm) Shape(*s.k_norm, 1, plan_.head_dim);
  }
  void operator()(const Attend& s) const { Layer(s.layer); }
  void operator()(const Project& s) const {
    const int64_t cols = s.in == Slot::kAttention ? int64_t{plan_.heads} * plan_.head_dim : plan_.ffn;
    LinearShape(s.out, plan_.hidden, cols);
    if (s.sub_norm) Shape(*s.sub_norm, 1, cols);
  }
  void operator()(const GateUp& s) const {
    Shape(s.norm, 1, plan_.hidden);
    LinearShape(s.gate, plan_.ffn, plan_.hidden);
    LinearShape(s.up, plan_.ffn, plan_.hidden);
  }
  void operator()(const Logits& s) const {
    Shape(s.norm, 1, plan_.hidden);
    LinearShape(s.head, plan_.vocab, plan_.hidden);
  }

 private:
  static void Require(bool holds, const char* what) {
    if (!holds) Fail(ErrorCode::kCorrupt, "the plan is not sound: {}", what);
  }
  void Layer(int layer) const { Require(layer >= 0 && layer < plan_.layers, "a layer is out of range"); }
  void Shape(WeightId id, int64_t rows, int64_t cols) const {
    Require(id >= 0 && static_cast<size_t>(id) < plan_.weights.size(), "a weight id is out of range");
    const WeightSlot& slot = plan_.weights[static_cast<size_t>(id)];
    if (slot.rows != rows || slot.cols != cols) {
      Fail(ErrorCode::kCorrupt, "the plan is not sound: {} has shape [{}, {}] where [{}, {}] is needed", slot.name,
           slot.rows, slot.cols, rows, cols);
    }
  }
  void LinearShape(const Linear& linear, int64_t rows, int64_t cols) const {
    Shape(linear.weight, rows, cols);
    if (linear.bias) Shape(*linear.bias, 1, rows);
  }

  const Plan& plan_;
};

}  // namespace

std::string ToText(const Plan& plan) {
  std::string text = fmt::format(
      "hidden {}, {} layers, {} heads / {} kv heads of {}, ffn {}, vocab {}, context {}, epsilon {:.3g}\n", plan.hidden,
      plan.layers, plan.heads, plan.kv_heads, plan.head_dim, plan.ffn, plan.vocab, plan.max_context, plan.norm_epsilon);
  for (const Step& step : plan.steps) text += StepText(plan, step) + "\n";
  return text;
}

void Validate(const Plan& plan) {
  const Checker checker(plan);
  checker.Sizes();
  for (const Step& step : plan.steps) std::visit(checker, step);
}

}  // namespace edgellm
