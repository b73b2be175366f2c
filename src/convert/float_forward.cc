// See float_forward.h. Workers take whole tokens (or whole heads of a window), so every number is made by one of them,
// in one order.
#include "convert/float_forward.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "convert/row_work.h"
#include "quant/activation.h"
#include "quant/codec.h"

namespace edgellm {
namespace {

// Tokens that a worker puts through a matrix at a time: enough to make up for packing the matrix anew.
constexpr int64_t kTokenBlock = 256;

size_t Size(int64_t count) {
  return static_cast<size_t>(count);
}

float Activate(Activation activation, float x) {
  switch (activation) {
    case Activation::kSilu:
      return x / (1.0f + std::exp(-x));
    case Activation::kRelu2:
      return x > 0 ? x * x : 0.0f;
  }
  return 0;
}

/// What a layer of the given format sees of one token's activations: codes times scales.
void RoundActivations(const WeightFormat& format, std::span<float> x) {
  const auto cols = static_cast<int64_t>(x.size());
  const int64_t group = format.ActivationGroup(cols);
  if (group == 0) return;
  std::vector<int8_t> codes(x.size());
  std::vector<float> scales(Size((cols + group - 1) / group));
  const bool ternary = format.kind == WeightKind::kTernary;
  QuantizeActivations(x, group, ternary ? kTernaryActivationFloor : 0.0f, codes.data(), scales.data());
  for (size_t i = 0; i < x.size(); ++i) x[i] = scales[i / Size(group)] * static_cast<float>(codes[i]);
}

}  // namespace

FloatForward::FloatForward(const Plan& plan, std::vector<WeightView>& views, const ForwardText& text, WorkerPool& pool)
    : plan_(plan), views_(views), text_(text), pool_(pool), tokens_(static_cast<int64_t>(text.tokens.size())) {}

void FloatForward::Run(const AtLinears& at_linears, bool with_logits) {
  at_linears_ = &at_linears;
  with_logits_ = with_logits;
  for (const edgellm::Step& step : plan_.steps) {
    std::visit([&](const auto& s) { Step(s); }, step);
  }
}

void FloatForward::Show(std::span<const WeightId> weights, const Floats& inputs, int64_t width) const {
  if (*at_linears_) (*at_linears_)(weights, DenseMatrix(inputs.data(), tokens_, width));
}

FloatForward::Floats FloatForward::DecodeVector(WeightId id) const {
  const WeightView& view = views_[Size(id)];
  Floats out(Size(view.cols));
  DecodeRow(view, 0, out);
  return out;
}

void FloatForward::ReadMatrix(const WeightView& view) {
  matrix_.resize(std::max(matrix_.size(), Size(view.rows * view.cols)));
  ForRows(pool_, view.rows, [&] {
    return [&](int64_t row) { DecodeRow(view, row, {matrix_.data() + row * view.cols, Size(view.cols)}); };
  });
}

/// out[tokens][rows] = W x, with the bias.
void FloatForward::Apply(const Linear& linear, const Floats& in, float* out) {
  const WeightView& view = views_[Size(linear.weight)];
  ReadMatrix(view);
  const Floats bias = linear.bias ? DecodeVector(*linear.bias) : Floats(Size(view.rows));
  const int64_t blocks = (tokens_ + kTokenBlock - 1) / kTokenBlock;
  ForRows(pool_, blocks, [&] {
    return [&, scratch = GemmScratch{}, rounded = Floats{}](int64_t block) mutable {
      const int64_t first = block * kTokenBlock, count = std::min(kTokenBlock, tokens_ - first);
      const float* begin = in.data() + first * view.cols;
      rounded.assign(begin, begin + count * view.cols);
      for (int64_t t = 0; t < count; ++t) {
        RoundActivations(view.format, {rounded.data() + t * view.cols, Size(view.cols)});
        std::copy(bias.begin(), bias.end(), out + (first + t) * view.rows);
      }
      GemmAdd(DenseMatrix(rounded.data(), count, view.cols), DenseMatrix(matrix_.data(), view.rows, view.cols), 1.0f,
              out + first * view.rows, view.rows, scratch);
    };
  });
}

/// rmsnorm in place of `rows` vectors as long as `weight`.
void FloatForward::NormRows(float* x, int64_t rows, const Floats& weight) const {
  for (int64_t row = 0; row < rows; ++row, x += weight.size()) {
    double sum = 0;
    for (size_t i = 0; i < weight.size(); ++i) sum += static_cast<double>(x[i]) * x[i];
    const double mean = sum / static_cast<double>(weight.size());
    const auto inverse = static_cast<float>(1.0 / std::sqrt(mean + static_cast<double>(plan_.norm_epsilon)));
    for (size_t i = 0; i < weight.size(); ++i) x[i] = weight[i] * (x[i] * inverse);
  }
}

FloatForward::Floats FloatForward::Normed(const Floats& in, WeightId weight) {
  const Floats norm = DecodeVector(weight);
  Floats out = in;
  ForRows(pool_, tokens_, [&] { return [&](int64_t t) { NormRows(out.data() + Size(t) * norm.size(), 1, norm); }; });
  return out;
}

/// Turns the pairs (x[i], x[i + head_dim/2]) of every head by position * frequency[i].
void FloatForward::Rotate(Floats& x, int64_t width) {
  const auto dim = static_cast<int64_t>(plan_.head_dim);
  ForRows(pool_, tokens_, [&] {
    return [&](int64_t t) {
      const auto position = static_cast<float>(t % text_.window);
      for (int64_t i = 0; i < dim / 2; ++i) {
        const double angle = static_cast<double>(position * plan_.rope_inverse_frequencies[Size(i)]);
        const auto cosine = static_cast<float>(std::cos(angle)), sine = static_cast<float>(std::sin(angle));
        for (float* head = x.data() + t * width; head < x.data() + (t + 1) * width; head += dim) {
          const float a = head[i], b = head[i + dim / 2];
          head[i] = a * cosine - b * sine;
          head[i + dim / 2] = b * cosine + a * sine;
        }
      }
    };
  });
}

void FloatForward::Step(const Embed& step) {
  residual_.assign(Size(tokens_ * plan_.hidden), 0);
  const WeightView& table = views_[Size(step.table)];
  ForRows(pool_, tokens_, [&] {
    return [&](int64_t t) {
      DecodeRow(table, text_.tokens[Size(t)], {residual_.data() + t * plan_.hidden, Size(plan_.hidden)});
    };
  });
}

void FloatForward::Step(const Qkv& step) {
  const int64_t dim = plan_.head_dim, heads = plan_.heads, kv_heads = plan_.kv_heads;
  const Floats inputs = Normed(residual_, step.norm);
  Show(std::array{step.q.weight, step.k.weight, step.v.weight}, inputs, plan_.hidden);
  query_.resize(Size(tokens_ * heads * dim));
  keys_.resize(Size(tokens_ * kv_heads * dim));
  values_.resize(keys_.size());
  Apply(step.q, inputs, query_.data());
  Apply(step.k, inputs, keys_.data());
  Apply(step.v, inputs, values_.data());
  if (step.q_norm) NormRows(query_.data(), tokens_ * heads, DecodeVector(*step.q_norm));
  if (step.k_norm) NormRows(keys_.data(), tokens_ * kv_heads, DecodeVector(*step.k_norm));
  Rotate(query_, heads * dim);
  Rotate(keys_, kv_heads * dim);
}

void FloatForward::AttendHead(int64_t sequence, int64_t head, float scale, Floats& scores, GemmScratch& scratch) {
  const int64_t dim = plan_.head_dim, length = text_.window, first = sequence * length;
  const int64_t q_width = plan_.heads * dim, kv_width = plan_.kv_heads * dim;
  const int64_t kv_head = head / (plan_.heads / plan_.kv_heads);
  const MatrixView q = {query_.data() + first * q_width + head * dim, length, dim, q_width, 1};
  const MatrixView k = {keys_.data() + first * kv_width + kv_head * dim, length, dim, kv_width, 1};
  const MatrixView v = {values_.data() + first * kv_width + kv_head * dim, length, dim, kv_width, 1};
  scores.assign(Size(length * length), 0);
  GemmAdd(q, k, scale, scores.data(), length, scratch);
  for (int64_t t = 0; t < length; ++t) {
    float* row = scores.data() + t * length;
    const float highest = *std::max_element(row, row + t + 1);
    double total = 0;
    for (int64_t p = 0; p <= t; ++p) total += static_cast<double>(row[p] = std::exp(row[p] - highest));
    const auto inverse = static_cast<float>(1.0 / total);
    for (int64_t p = 0; p <= t; ++p) row[p] *= inverse;
    std::fill(row + t + 1, row + length, 0.0f);  // later positions are not seen
  }
  float* out = attention_.data() + first * q_width + head * dim;
  GemmAdd(DenseMatrix(scores.data(), length, length), v.Transposed(), 1.0f, out, q_width, scratch);
}

void FloatForward::Step(const Attend& step) {
  attention_.assign(query_.size(), 0);
  ForRows(pool_, tokens_ / text_.window * plan_.heads, [&] {
    return [&, scores = Floats{}, scratch = GemmScratch{}](int64_t index) mutable {
      AttendHead(index / plan_.heads, index % plan_.heads, step.scale, scores, scratch);
    };
  });
  // Nothing reads them again, and the widest moment is still to come.
  for (Floats* done : {&query_, &keys_, &values_}) *done = Floats();
}

void FloatForward::Step(const Project& step) {
  Floats& in = step.in == Slot::kAttention ? attention_ : ffn_;
  if (step.sub_norm) in = Normed(in, *step.sub_norm);
  Show(std::array{step.out.weight}, in, static_cast<int64_t>(in.size()) / tokens_);
  Floats out(residual_.size());
  Apply(step.out, in, out.data());
  for (size_t i = 0; i < out.size(); ++i) residual_[i] += out[i];
  in = Floats();
}

void FloatForward::Step(const GateUp& step) {
  const Floats inputs = Normed(residual_, step.norm);
  Show(std::array{step.gate.weight, step.up.weight}, inputs, plan_.hidden);
  ffn_.resize(Size(tokens_ * plan_.ffn));
  Apply(step.gate, inputs, ffn_.data());
  Floats up(ffn_.size());
  Apply(step.up, inputs, up.data());
  ForRows(pool_, tokens_, [&] {
    return [&](int64_t t) {
      for (int64_t i = t * plan_.ffn; i < (t + 1) * plan_.ffn; ++i) {
        ffn_[Size(i)] = Activate(step.activation, ffn_[Size(i)]) * up[Size(i)];
      }
    };
  });
}

void FloatForward::Step(const Logits& step) {
  const Floats inputs = Normed(residual_, step.norm);
  Show(std::array{step.head.weight}, inputs, plan_.hidden);
  if (!with_logits_) return;
  logits_.resize(Size(tokens_ * plan_.vocab));
  Apply(step.head, inputs, logits_.data());
}

}  // namespace edgellm
