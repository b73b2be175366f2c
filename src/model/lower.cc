// See lower.h. The attention scale is 1/sqrt(head_dim) for every family; rotary frequencies are those of transformers'
// modeling_rope_utils, in float32.
#include "model/lower.h"

#include <cmath>
#include <map>
#include <numbers>

namespace edgellm {
namespace {

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

/// Meta's Llama 3.1 scaling: long wavelengths are stretched by `factor`, short ones kept, those between interpolated.
float Llama3Frequency(float frequency, const Llama3RopeScaling& scaling) {
  const auto context = static_cast<float>(scaling.original_context);
  const float wavelength = static_cast<float>(2.0 * std::numbers::pi) * (1.0f / frequency);
  if (wavelength > context / scaling.low_frequency_factor) return frequency / scaling.factor;
  if (wavelength < context / scaling.high_frequency_factor) return frequency;
  const float smooth = (context * (1.0f / wavelength) - scaling.low_frequency_factor) /
                       (scaling.high_frequency_factor - scaling.low_frequency_factor);
  return (1.0f - smooth) * frequency / scaling.factor + smooth * frequency;
}

std::vector<float> InverseFrequencies(const ModelConfig& config) {
  std::vector<float> frequencies;
  for (int i = 0; i < config.head_dim; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(config.head_dim);
    // The power in double and rounded once: the same on every C library, and within one unit of any float32 pow.
    const auto power =
        static_cast<float>(std::pow(static_cast<double>(config.rope_theta), static_cast<double>(exponent)));
    float frequency = 1.0f / power;
    if (config.linear_rope_factor) frequency /= *config.linear_rope_factor;
    if (config.llama3_rope) frequency = Llama3Frequency(frequency, *config.llama3_rope);
    if (!config.rope_frequency_factors.empty()) frequency /= config.rope_frequency_factors[static_cast<size_t>(i / 2)];
    frequencies.push_back(frequency);
  }
  return frequencies;
}

/// Hands out ids in the order in which the steps first name their weights.
class Lowering {
 public:
  explicit Lowering(const ModelConfig& config)
      : config_(config), attention_(config.heads * config.head_dim), kv_(config.kv_heads * config.head_dim) {}

  Plan Run() {
    plan_ = {.hidden = config_.hidden,
             .layers = config_.layers,
             .heads = config_.heads,
             .kv_heads = config_.kv_heads,
             .head_dim = config_.head_dim,
             .ffn = config_.ffn,
             .vocab = config_.vocab,
             .max_context = config_.max_context,
             .norm_epsilon = config_.norm_epsilon,
             .rope_inverse_frequencies = InverseFrequencies(config_),
             .weights = {},
             .steps = {}};
    const WeightId table = Weight(kEmbedding, config_.vocab, config_.hidden);
    plan_.steps.emplace_back(Embed{table});
    for (int layer = 0; layer < config_.layers; ++layer) AddLayer(layer);
    const WeightId norm = Weight("model.norm.weight", 1, config_.hidden);
    const WeightId head = config_.tied_head ? table : Weight(kHead, config_.vocab, config_.hidden);
    plan_.steps.emplace_back(Logits{norm, {head, {}}});
    return std::move(plan_);
  }

 private:
  WeightId Weight(std::string name, int64_t rows, int64_t cols) {
    plan_.weights.push_back({std::move(name), rows, cols});
    return static_cast<WeightId>(plan_.weights.size()) - 1;
  }

  MaybeWeight NormIf(bool present, const std::string& name, int cols) {
    return present ? MaybeWeight(Weight(name + ".weight", 1, cols)) : std::nullopt;
  }

  Linear Matrix(const std::string& name, int rows, int cols, bool bias) {
    Linear linear{Weight(name + ".weight", rows, cols), {}};
    if (bias) linear.bias = Weight(name + ".bias", 1, rows);
    return linear;
  }

  void AddLayer(int layer) {
    const auto& c = config_;
    const std::string base = "model.layers." + std::to_string(layer) + ".";
    const std::string attention = base + "self_attn.", mlp = base + "mlp.";
    const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(c.head_dim)));

    Qkv qkv{.layer = layer,
            .norm = Weight(base + "input_layernorm.weight", 1, c.hidden),
            .q = {},
            .k = {},
            .v = {},
            .q_norm = {},
            .k_norm = {}};
    qkv.q = Matrix(attention + "q_proj", attention_, c.hidden, c.qkv_bias);
    qkv.k = Matrix(attention + "k_proj", kv_, c.hidden, c.qkv_bias);
    qkv.v = Matrix(attention + "v_proj", kv_, c.hidden, c.qkv_bias);
    qkv.q_norm = NormIf(c.qk_norm, attention + "q_norm", c.head_dim);
    qkv.k_norm = NormIf(c.qk_norm, attention + "k_norm", c.head_dim);
    plan_.steps.emplace_back(qkv);
    plan_.steps.emplace_back(Attend{layer, scale});

    Project out{Slot::kAttention, NormIf(c.sub_norms, attention + "attn_sub_norm", attention_), {}};
    out.out = Matrix(attention + "o_proj", c.hidden, attention_, c.output_bias);
    plan_.steps.emplace_back(out);

    GateUp gate_up{Weight(base + "post_attention_layernorm.weight", 1, c.hidden), {}, {}, c.activation};
    gate_up.gate = Matrix(mlp + "gate_proj", c.ffn, c.hidden, c.ffn_bias);
    gate_up.up = Matrix(mlp + "up_proj", c.ffn, c.hidden, c.ffn_bias);
    plan_.steps.emplace_back(gate_up);

    Project down{Slot::kFfn, NormIf(c.sub_norms, mlp + "ffn_sub_norm", c.ffn), {}};
    down.out = Matrix(mlp + "down_proj", c.hidden, c.ffn, c.ffn_bias);
    plan_.steps.emplace_back(down);
  }

  const ModelConfig& config_;
  int attention_, kv_;  // values of q, and of k or v, for one token
  Plan plan_;
};

}  // namespace

Plan Lower(const ModelConfig& config) {
  Validate(config, "model configuration");
  return Lowering(config).Run();
}

bool IsTable(std::string_view name) {
  return name == kEmbedding || name == kHead;
}

}  // namespace edgellm
