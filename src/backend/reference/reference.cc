// The reference backend: the plain oracle that every other backend is held to. One token at a time, one loop per
// formula, sums in double; integer formats by the exact meaning that quant/activation.h gives. Not for speed, nothing
// is repacked.
#include <algorithm>
#include <cmath>

#include "backend/backend.h"
#include "backend/sampler.h"
#include "base/error.h"
#include "base/half.h"
#include "quant/activation.h"
#include "quant/codec.h"

namespace edgellm {
namespace {

using Vector = std::vector<float>;

class ReferenceBackend final : public Backend {
 public:
  ReferenceBackend(const Plan& plan, std::span<const WeightView> weights, const BackendLimits& limits)
      : plan_(plan), weights_(weights.begin(), weights.end()), limits_(limits), sampler_(plan.vocab) {
    const size_t positions = static_cast<size_t>(limits.pages) * kPageTokens;
    head_values_ = static_cast<size_t>(plan.kv_heads) * static_cast<size_t>(plan.head_dim);
    keys_.assign(static_cast<size_t>(plan.layers), Vector(positions * head_values_));
    values_ = keys_;
  }

  void Forward(const Batch& batch) override {
    batch_ = &batch;
    const size_t tokens = batch.tokens.size();
    residual_.assign(tokens, {});
    query_.assign(tokens, {});
    attention_.assign(tokens, {});
    ffn_.assign(tokens, {});
    for (const Step& step : plan_.steps) {
      std::visit([&](const auto& s) { Run(s); }, step);
    }
    sampled_.clear();
    for (size_t row = 0; row < batch.sampling.size(); ++row) {
      sampled_.push_back(sampler_.Sample(logits_[row], batch.sampling[row]));
    }
    batch_ = nullptr;
  }

  std::span<const SampledToken> Sampled() const override { return sampled_; }
  std::span<const float> LogitsOf(int logit_row) const override { return logits_[static_cast<size_t>(logit_row)]; }
  std::span<const float> HiddenOf(int hidden_row) const override { return hidden_[static_cast<size_t>(hidden_row)]; }

  void CopyPages(std::span<const std::pair<int32_t, int32_t>> pages) override {
    const std::ptrdiff_t page = static_cast<std::ptrdiff_t>(kPageTokens * head_values_);
    for (const auto& [from, to] : pages) {
      for (auto* cache : {&keys_, &values_}) {
        for (Vector& layer : *cache) std::copy_n(layer.begin() + from * page, page, layer.begin() + to * page);
      }
    }
  }

  BackendInfo Describe() const override {
    BackendInfo info{.name = "reference", .isa = "scalar", .threads = 1, .weight_bytes = 0, .kv_bytes = 0};
    for (const WeightView& view : weights_) info.weight_bytes += view.format.TotalBytes(view.rows, view.cols);
    info.kv_bytes = 2 * keys_.size() * (keys_.empty() ? 0 : keys_[0].size()) * sizeof(float);
    return info;
  }

 private:
  const WeightView& Weight(WeightId id) const { return weights_[static_cast<size_t>(id)]; }

  Vector DecodeVector(WeightId id) const {
    Vector out(static_cast<size_t>(Weight(id).cols));
    DecodeRow(Weight(id), 0, out);
    return out;
  }

  Vector RmsNorm(std::span<const float> x, const Vector& weight) const {
    double sum = 0;
    for (float value : x) sum += static_cast<double>(value) * value;
    const double inverse = 1.0 / std::sqrt(sum / static_cast<double>(x.size()) + plan_.norm_epsilon);
    Vector out(x.size());
    for (size_t i = 0; i < x.size(); ++i) out[i] = static_cast<float>(weight[i] * (x[i] * inverse));
    return out;
  }

  Vector FloatDot(const WeightView& w, const Vector& x) const {
    Vector y(static_cast<size_t>(w.rows)), row(static_cast<size_t>(w.cols));
    for (int64_t r = 0; r < w.rows; ++r) {
      DecodeRow(w, r, row);
      double sum = 0;
      for (size_t k = 0; k < row.size(); ++k) sum += static_cast<double>(row[k]) * x[k];
      y[static_cast<size_t>(r)] = static_cast<float>(sum);
    }
    return y;
  }

  Vector IntegerDot(const WeightView& w, const Vector& x) const {
    const int64_t x_group = w.format.ActivationGroup(w.cols), w_group = w.format.GroupSize(w.cols);
    std::vector<int8_t> x_codes(x.size()), codes(x.size());
    Vector x_scales((x.size() + static_cast<size_t>(x_group) - 1) / static_cast<size_t>(x_group));
    const bool ternary = w.format.kind == WeightKind::kTernary;
    QuantizeActivations(x, x_group, ternary ? kTernaryActivationFloor : 0.0f, x_codes.data(), x_scales.data());
    Vector y(static_cast<size_t>(w.rows));
    for (int64_t r = 0; r < w.rows; ++r) {
      DecodeCodes(w, r, codes);
      float sum = 0;
      for (int64_t g = 0; g < w.format.Groups(w.cols); ++g) {
        int32_t dot = 0, x_sum = 0;
        for (int64_t k = g * w_group; k < std::min(w.cols, (g + 1) * w_group); ++k) {
          const auto i = static_cast<size_t>(k);
          dot += codes[i] * x_codes[i];
          x_sum += x_codes[i];
        }
        const GroupParameters group = DecodeGroup(w, r, g);
        float value = static_cast<float>(dot);
        if (w.format.kind == WeightKind::kInt4) {
          value = w.format.zero_point ? std::fma(-group.zero, static_cast<float>(x_sum), static_cast<float>(dot))
                                      : static_cast<float>(dot - 8 * x_sum);
        }
        sum = std::fma(value, group.scale * x_scales[static_cast<size_t>(g * w_group / x_group)], sum);
      }
      y[static_cast<size_t>(r)] = sum;
    }
    return y;
  }

  Vector Apply(const Linear& linear, const Vector& x) const {
    const WeightView& w = Weight(linear.weight);
    Vector y = w.format.is_float() ? FloatDot(w, x) : IntegerDot(w, x);
    if (linear.bias) {
      const Vector bias = DecodeVector(*linear.bias);
      for (size_t i = 0; i < y.size(); ++i) y[i] += bias[i];
    }
    return y;
  }

  /// Rotates the pairs (x[i], x[i + head_dim/2]) of every head by position * frequency[i].
  void Rotate(Vector& x, int32_t position) const {
    const size_t dim = static_cast<size_t>(plan_.head_dim), half = dim / 2;
    for (size_t head = 0; head < x.size(); head += dim) {
      for (size_t i = 0; i < half; ++i) {
        const float angle = static_cast<float>(position) * plan_.rope_inverse_frequencies[i];
        const double cosine = std::cos(static_cast<double>(angle)), sine = std::sin(static_cast<double>(angle));
        const double a = x[head + i], b = x[head + half + i];
        x[head + i] = static_cast<float>(a * cosine - b * sine);
        x[head + half + i] = static_cast<float>(b * cosine + a * sine);
      }
    }
  }

  void NormHeads(Vector& x, MaybeWeight weight) const {
    if (!weight) return;
    const Vector norm = DecodeVector(*weight);
    const size_t dim = static_cast<size_t>(plan_.head_dim);
    for (size_t head = 0; head < x.size(); head += dim) {
      const Vector out = RmsNorm({x.data() + head, dim}, norm);
      std::copy(out.begin(), out.end(), x.begin() + static_cast<std::ptrdiff_t>(head));
    }
  }

  /// Where the keys or values of a position of the token's sequence begin.
  size_t Place(size_t token, int32_t position) const {
    const auto table = static_cast<size_t>(batch_->sequences[token]) * static_cast<size_t>(batch_->pages_per_sequence);
    const int32_t page = batch_->pages[table + static_cast<size_t>(position / kPageTokens)];
    return (static_cast<size_t>(page) * kPageTokens + static_cast<size_t>(position % kPageTokens)) * head_values_;
  }

  void Store(Vector& cache, size_t token, const Vector& x) const {
    float* to = cache.data() + Place(token, batch_->positions[token]);
    for (size_t i = 0; i < x.size(); ++i) to[i] = limits_.kv == KvType::kF16 ? F16ToFloat(FloatToF16(x[i])) : x[i];
  }

  void Run(const Embed& step) {
    for (size_t t = 0; t < residual_.size(); ++t) {
      residual_[t].resize(static_cast<size_t>(plan_.hidden));
      DecodeRow(Weight(step.table), batch_->tokens[t], residual_[t]);
    }
  }

  void Run(const Qkv& step) {
    const Vector norm = DecodeVector(step.norm);
    for (size_t t = 0; t < residual_.size(); ++t) {
      const Vector h = RmsNorm(residual_[t], norm);
      Vector q = Apply(step.q, h), k = Apply(step.k, h);
      const Vector v = Apply(step.v, h);
      NormHeads(q, step.q_norm);
      NormHeads(k, step.k_norm);
      Rotate(q, batch_->positions[t]);
      Rotate(k, batch_->positions[t]);
      Store(keys_[static_cast<size_t>(step.layer)], t, k);
      Store(values_[static_cast<size_t>(step.layer)], t, v);
      query_[t] = std::move(q);
    }
  }

  void Run(const Attend& step) {
    const Vector& keys = keys_[static_cast<size_t>(step.layer)];
    const Vector& values = values_[static_cast<size_t>(step.layer)];
    const size_t dim = static_cast<size_t>(plan_.head_dim);
    for (size_t t = 0; t < residual_.size(); ++t) {
      attention_[t].assign(query_[t].size(), 0);
      const size_t context = static_cast<size_t>(batch_->positions[t]) + 1;
      for (size_t head = 0; head < static_cast<size_t>(plan_.heads); ++head) {
        const size_t kv = head / static_cast<size_t>(plan_.heads / plan_.kv_heads) * dim;
        std::vector<double> weight(context);
        for (size_t p = 0; p < context; ++p) {
          const float* key = keys.data() + Place(t, static_cast<int32_t>(p)) + kv;
          for (size_t d = 0; d < dim; ++d) weight[p] += static_cast<double>(query_[t][head * dim + d]) * key[d];
          weight[p] *= step.scale;
        }
        const double highest = *std::max_element(weight.begin(), weight.end());
        double total = 0;
        for (double& w : weight) total += w = std::exp(w - highest);
        std::vector<double> sum(dim);
        for (size_t p = 0; p < context; ++p) {
          const float* value = values.data() + Place(t, static_cast<int32_t>(p)) + kv;
          for (size_t d = 0; d < dim; ++d) sum[d] += weight[p] * value[d];
        }
        for (size_t d = 0; d < dim; ++d) attention_[t][head * dim + d] = static_cast<float>(sum[d] / total);
      }
    }
  }

  void Run(const Project& step) {
    for (size_t t = 0; t < residual_.size(); ++t) {
      Vector in = step.in == Slot::kAttention ? attention_[t] : ffn_[t];
      if (step.sub_norm) in = RmsNorm(in, DecodeVector(*step.sub_norm));
      const Vector out = Apply(step.out, in);
      for (size_t i = 0; i < out.size(); ++i) residual_[t][i] += out[i];
    }
  }

  static double Activate(Activation activation, double x) {
    switch (activation) {
      case Activation::kSilu:
        return x / (1 + std::exp(-x));
      case Activation::kRelu2:
        return x > 0 ? x * x : 0;
    }
    return 0;
  }

  void Run(const GateUp& step) {
    const Vector norm = DecodeVector(step.norm);
    for (size_t t = 0; t < residual_.size(); ++t) {
      const Vector h = RmsNorm(residual_[t], norm);
      const Vector gate = Apply(step.gate, h), up = Apply(step.up, h);
      ffn_[t].resize(gate.size());
      for (size_t i = 0; i < gate.size(); ++i) {
        ffn_[t][i] = static_cast<float>(Activate(step.activation, gate[i]) * up[i]);
      }
    }
  }

  void Run(const Logits& step) {
    const Vector norm = DecodeVector(step.norm);
    logits_.clear();
    for (int32_t row : batch_->logit_rows) {
      logits_.push_back(Apply(step.head, RmsNorm(residual_[static_cast<size_t>(row)], norm)));
    }
    hidden_.clear();
    for (int32_t row : batch_->hidden_rows) hidden_.push_back(RmsNorm(residual_[static_cast<size_t>(row)], norm));
  }

  Plan plan_;
  std::vector<WeightView> weights_;
  BackendLimits limits_;
  Sampler sampler_;
  size_t head_values_ = 0;                                  // kv_heads * head_dim
  std::vector<Vector> keys_, values_;                       // [layer][page * kPageTokens + slot][kv_heads * head_dim]
  std::vector<Vector> residual_, query_, attention_, ffn_;  // one per token of the batch
  std::vector<Vector> logits_, hidden_;                     // one per logit row, hidden row
  std::vector<SampledToken> sampled_;
  const Batch* batch_ = nullptr;
};

}  // namespace

std::unique_ptr<Backend> MakeReferenceBackend(const Plan& plan, std::span<const WeightView> weights,
                                              const BackendLimits& limits, const BackendOptions&) {
  Validate(plan);
  return std::make_unique<ReferenceBackend>(plan, weights, limits);
}

}  // namespace edgellm
