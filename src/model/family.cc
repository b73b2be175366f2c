// The family registry and the one reader of Hugging Face's config.json: rows differ in data, not in code.
// Both the classic keys (rope_theta, rope_scaling) and those of transformers 5 (rope_parameters) are read.
#include "model/family.h"

#include <array>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/config.h"
#include "model/json_fields.h"

namespace edgellm {
namespace {

constexpr std::array<Family, 5> kFamilies = {{
    {.architecture = "LlamaForCausalLM", .model_type = "llama", .key = "llama"},
    {.architecture = "MistralForCausalLM", .model_type = "mistral", .key = "mistral"},
    {.architecture = "Qwen2ForCausalLM",
     .model_type = "qwen2",
     .key = "qwen2",
     .qkv_bias = true,
     .window_opt_in = true},
    {.architecture = "Qwen3ForCausalLM",
     .model_type = "qwen3",
     .key = "qwen3",
     .qk_norm = true,
     .window_opt_in = true,
     .default_head_dim = 128},
    {.architecture = "BitNetForCausalLM",
     .model_type = "bitnet",
     .key = "bitnet",
     .sub_norms = true,
     .default_rope_theta = 500000.0},
}};

constexpr int kAnyInt = INT32_MAX;  // Validate(ModelConfig) sets the real bounds
constexpr double kMostNumber = 1e15;

const Family& FamilyOf(const JsonFields& fields) {
  std::string asked;
  if (fields.Has("architectures")) {
    const auto& list = fields.Value("architectures");
    if (!list.is_array() || list.empty() || !list[0].is_string()) {
      Fail(ErrorCode::kCorrupt, "{}: architectures must be a list of names", fields.name());
    }
    asked = list[0].get<std::string>();
    for (const Family& family : kFamilies) {
      if (family.architecture == asked) return family;
    }
  } else {
    asked = fields.Text("model_type");
    for (const Family& family : kFamilies) {
      if (family.model_type == asked) return family;
    }
  }
  std::string known;
  for (const Family& family : kFamilies) known += fmt::format("{}{}", known.empty() ? "" : ", ", family.architecture);
  Fail(ErrorCode::kUnsupported, "{}: model architecture '{}' is not supported (supported: {})", fields.name(),
       OneLine(asked), known);
}

Activation ReadActivation(const JsonFields& fields) {
  // "hidden_activation" is the name that some exports use beside or instead of "hidden_act".
  const std::string name = fields.Text("hidden_act", fields.Text("hidden_activation", ""));
  if (name == "silu" || name == "swish") return Activation::kSilu;
  if (name == "relu2") return Activation::kRelu2;
  if (name.empty()) Fail(ErrorCode::kCorrupt, "{}: hidden_act is missing", fields.name());
  Fail(ErrorCode::kUnsupported, "{}: hidden_act '{}' is not supported", fields.name(), OneLine(name));
}

/// Throws where some layer would look at fewer positions than there are.
void RefuseWindows(const JsonFields& fields, const Family& family, const ModelConfig& config) {
  bool other_layers = false, sliding_layers = false, listed = false;
  if (fields.Has("layer_types")) {
    listed = true;
    for (const auto& type : fields.Value("layer_types")) {
      if (type == "sliding_attention") {
        sliding_layers = true;
      } else if (type != "full_attention") {
        other_layers = true;
      }
    }
  }
  if (other_layers) {
    Fail(ErrorCode::kUnsupported, "{}: layer_types other than full_attention are not supported", fields.name());
  }
  if (!fields.Has("sliding_window")) return;
  const int64_t window = fields.Integer("sliding_window", 0, INT64_MAX);
  if (window >= config.max_context || (listed && !sliding_layers)) return;
  if (family.window_opt_in) {
    if (!fields.Boolean("use_sliding_window", false)) return;
    if (!listed && fields.Integer("max_window_layers", 0, INT64_MAX, 0) >= config.layers) return;
  }
  Fail(ErrorCode::kUnsupported,
       "{}: sliding_window {} acts within max_position_embeddings {}; windows are not supported", fields.name(), window,
       config.max_context);
}

void ReadRopeScaling(const JsonFields& rope, const JsonFields& fields, ModelConfig& config) {
  const std::string type = rope.Text("rope_type", rope.Text("type", "default"));
  const auto number = [&](const char* key) { return static_cast<float>(rope.Number(key, 0, kMostNumber)); };
  if (rope.Number("partial_rotary_factor", 0, 1, 1.0) != 1.0) {
    Fail(ErrorCode::kUnsupported, "{}: {} other than 1 is not supported", rope.name(),
         rope.Path("partial_rotary_factor"));
  }
  if (type == "default") return;
  if (type == "linear") {
    config.linear_rope_factor = number("factor");
  } else if (type == "llama3") {
    const int64_t original = rope.Integer("original_max_position_embeddings", 1, kAnyInt, config.max_context);
    config.llama3_rope = {number("factor"), number("low_freq_factor"), number("high_freq_factor"),
                          static_cast<int>(original)};
  } else {
    Fail(ErrorCode::kUnsupported, "{}: {} '{}' is not supported (supported: default, linear, llama3)", fields.name(),
         rope.Path(rope.Has("rope_type") ? "rope_type" : "type"), OneLine(type));
  }
}

void ReadRope(const JsonFields& fields, const Family& family, ModelConfig& config) {
  if (fields.Number("partial_rotary_factor", 0, 1, 1.0) != 1.0) {
    Fail(ErrorCode::kUnsupported, "{}: partial_rotary_factor other than 1 is not supported", fields.name());
  }
  double theta = fields.Number("rope_theta", 0, kMostNumber, family.default_rope_theta);
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    if (!fields.Has(key)) continue;
    const auto rope = fields.Object(key);
    theta = rope.Number("rope_theta", 0, kMostNumber, theta);
    ReadRopeScaling(rope, fields, config);
    break;  // transformers 5 writes both for old readers: they say the same
  }
  config.rope_theta = static_cast<float>(theta);
}

void ReadQuantization(const JsonFields& fields, ModelConfig& config) {
  if (!fields.Has("quantization_config")) return;
  const auto quantization = fields.Object("quantization_config");
  const std::string method = quantization.Text("quant_method");
  if (method == "gptq" || method == "awq") return;  // how weights are packed changes nothing that a plan knows
  if (method != "bitnet") {
    Fail(ErrorCode::kUnsupported, "{}: quantization method '{}' is not supported (supported: awq, bitnet, gptq)",
         fields.name(), OneLine(method));
  }
  if (quantization.Boolean("use_rms_norm", false)) {
    Fail(ErrorCode::kUnsupported, "{}: {} is not supported", fields.name(), quantization.Path("use_rms_norm"));
  }
  config.native_ternary = true;
}

}  // namespace

std::span<const Family> Families() {
  return kFamilies;
}

const Family* FindFamily(std::string_view key) {
  for (const Family& family : kFamilies) {
    if (family.key == key) return &family;
  }
  return nullptr;
}

ModelConfig ConfigFromHuggingFace(const nlohmann::ordered_json& json, std::string_view name) {
  const JsonFields fields(json, name);
  const Family& family = FamilyOf(fields);
  const auto size = [&](const char* key) { return static_cast<int>(fields.Integer(key, 1, kAnyInt)); };
  ModelConfig config;
  config.family = family.key;
  config.hidden = size("hidden_size");
  config.layers = size("num_hidden_layers");
  config.heads = size("num_attention_heads");
  config.kv_heads = static_cast<int>(fields.Integer("num_key_value_heads", 1, kAnyInt, config.heads));
  const int head_dim = family.default_head_dim != 0 ? family.default_head_dim : config.hidden / config.heads;
  if (!fields.Has("head_dim") && family.default_head_dim == 0 && config.hidden % config.heads != 0) {
    Fail(ErrorCode::kCorrupt, "{}: hidden_size {} does not divide by num_attention_heads {}, and head_dim is missing",
         name, config.hidden, config.heads);
  }
  config.head_dim = static_cast<int>(fields.Integer("head_dim", 1, kAnyInt, head_dim));
  config.ffn = size("intermediate_size");
  config.vocab = size("vocab_size");
  config.max_context = size("max_position_embeddings");
  config.norm_epsilon = static_cast<float>(fields.Number("rms_norm_eps", 0, 1));
  config.activation = ReadActivation(fields);
  config.tied_head = fields.Boolean("tie_word_embeddings", false);
  const bool attention_bias = fields.Boolean("attention_bias", false);
  config.qkv_bias = family.qkv_bias || attention_bias;
  config.output_bias = !family.qkv_bias && attention_bias;
  config.ffn_bias = fields.Boolean("mlp_bias", false);
  config.qk_norm = family.qk_norm;
  config.sub_norms = family.sub_norms;
  ReadRope(fields, family, config);
  RefuseWindows(fields, family, config);
  ReadQuantization(fields, config);
  Validate(config, name);
  return config;
}

}  // namespace edgellm
