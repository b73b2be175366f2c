// Checks on a configuration, and its form in model files. Foreign forms are read in family.cc.
#include "model/config.h"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/family.h"
#include "model/json_fields.h"

namespace edgellm {
namespace {

// Bounds that no model is near, yet small enough that no product of two sizes and four bytes overflows 64 bits.
constexpr int kMaxHidden = 1 << 16, kMaxLayers = 1 << 10, kMaxHeads = 1 << 12, kMaxHeadDim = 1 << 12, kMaxFfn = 1 << 20,
              kMaxVocab = 1 << 22, kMaxContext = 1 << 24;

struct Size {
  const char* name;
  int ModelConfig::*field;
  int most;
};
constexpr std::array<Size, 8> kSizes = {{{"hidden", &ModelConfig::hidden, kMaxHidden},
                                         {"layers", &ModelConfig::layers, kMaxLayers},
                                         {"heads", &ModelConfig::heads, kMaxHeads},
                                         {"kv_heads", &ModelConfig::kv_heads, kMaxHeads},
                                         {"head_dim", &ModelConfig::head_dim, kMaxHeadDim},
                                         {"ffn", &ModelConfig::ffn, kMaxFfn},
                                         {"vocab", &ModelConfig::vocab, kMaxVocab},
                                         {"max_context", &ModelConfig::max_context, kMaxContext}}};

struct Flag {
  const char* name;
  bool ModelConfig::*field;
};
constexpr std::array<Flag, 7> kFlags = {{{"tied_head", &ModelConfig::tied_head},
                                         {"qkv_bias", &ModelConfig::qkv_bias},
                                         {"output_bias", &ModelConfig::output_bias},
                                         {"ffn_bias", &ModelConfig::ffn_bias},
                                         {"qk_norm", &ModelConfig::qk_norm},
                                         {"sub_norms", &ModelConfig::sub_norms},
                                         {"native_ternary", &ModelConfig::native_ternary}}};

constexpr std::array<std::pair<const char*, Activation>, 2> kActivations = {
    {{"silu", Activation::kSilu}, {"relu2", Activation::kRelu2}}};

// Positive and finite, with room for a product of two.
constexpr double kLeastFactor = 1e-15, kMostFactor = 1e15;

void ValidateNumber(double value, std::string_view field, std::string_view name) {
  if (!(value >= kLeastFactor && value <= kMostFactor)) {
    Fail(ErrorCode::kCorrupt, "{}: {} is {}, not a usable positive number", name, field, value);
  }
}

void ValidateRope(const ModelConfig& config, std::string_view name) {
  ValidateNumber(config.rope_theta, "rope_theta", name);
  if (config.linear_rope_factor) ValidateNumber(*config.linear_rope_factor, "linear_rope_factor", name);
  if (config.linear_rope_factor && config.llama3_rope) {
    Fail(ErrorCode::kCorrupt, "{}: two kinds of rope scaling at once", name);
  }
  const auto& factors = config.rope_frequency_factors;
  if (!factors.empty() && factors.size() != static_cast<size_t>(config.head_dim / 2)) {
    Fail(ErrorCode::kCorrupt, "{}: {} rope_frequency_factors, but {} frequencies", name, factors.size(),
         config.head_dim / 2);
  }
  for (const float factor : factors) ValidateNumber(factor, "rope_frequency_factors", name);
  if (!config.llama3_rope) return;
  const auto& rope = *config.llama3_rope;
  ValidateNumber(rope.factor, "llama3_rope.factor", name);
  ValidateNumber(rope.low_frequency_factor, "llama3_rope.low_frequency_factor", name);
  ValidateNumber(rope.high_frequency_factor, "llama3_rope.high_frequency_factor", name);
  if (rope.high_frequency_factor <= rope.low_frequency_factor) {
    Fail(ErrorCode::kCorrupt, "{}: llama3_rope.high_frequency_factor {} is not above the low one, {}", name,
         rope.high_frequency_factor, rope.low_frequency_factor);
  }
  if (rope.original_context <= 0 || rope.original_context > kMaxContext) {
    Fail(ErrorCode::kCorrupt, "{}: llama3_rope.original_context is {}, not from 1 to {}", name, rope.original_context,
         kMaxContext);
  }
}

std::vector<float> ReadFactors(const JsonFields& fields) {
  const auto& list = fields.Value("rope_frequency_factors");
  const auto is_number = [](const auto& value) { return value.is_number(); };
  if (!list.is_array() || !std::all_of(list.begin(), list.end(), is_number)) {
    Fail(ErrorCode::kCorrupt, "{}: rope_frequency_factors is not a list of numbers", fields.name());
  }
  return list.get<std::vector<float>>();
}

}  // namespace

void Validate(const ModelConfig& config, std::string_view name) {
  if (FindFamily(config.family) == nullptr) {
    Fail(ErrorCode::kUnsupported, "{}: model family '{}' is not known", name, OneLine(config.family));
  }
  for (const Size& size : kSizes) {
    const int value = config.*size.field;
    if (value < 1 || value > size.most) {
      Fail(ErrorCode::kCorrupt, "{}: {} is {}, not from 1 to {}", name, size.name, value, size.most);
    }
  }
  if (config.heads % config.kv_heads != 0) {
    Fail(ErrorCode::kCorrupt, "{}: {} heads do not divide into {} kv_heads", name, config.heads, config.kv_heads);
  }
  if (config.head_dim % 2 != 0) Fail(ErrorCode::kCorrupt, "{}: head_dim {} is odd", name, config.head_dim);
  if (int64_t{config.heads} * config.head_dim > kMaxFfn) {
    Fail(ErrorCode::kCorrupt, "{}: {} heads of {} are more than {} values", name, config.heads, config.head_dim,
         kMaxFfn);
  }
  if (!(config.norm_epsilon >= 0.0f && config.norm_epsilon <= 1.0f)) {
    Fail(ErrorCode::kCorrupt, "{}: norm_epsilon is {}, not from 0 to 1", name, config.norm_epsilon);
  }
  ValidateRope(config, name);
}

nlohmann::ordered_json ToJson(const ModelConfig& config) {
  nlohmann::ordered_json json = {{"family", config.family}};
  for (const Size& size : kSizes) json[size.name] = config.*size.field;
  json["norm_epsilon"] = config.norm_epsilon;
  json["rope_theta"] = config.rope_theta;
  if (config.llama3_rope) {
    json["llama3_rope"] = {{"factor", config.llama3_rope->factor},
                           {"low_frequency_factor", config.llama3_rope->low_frequency_factor},
                           {"high_frequency_factor", config.llama3_rope->high_frequency_factor},
                           {"original_context", config.llama3_rope->original_context}};
  }
  if (config.linear_rope_factor) json["linear_rope_factor"] = *config.linear_rope_factor;
  if (!config.rope_frequency_factors.empty()) json["rope_frequency_factors"] = config.rope_frequency_factors;
  for (const auto& [text, value] : kActivations) {
    if (value == config.activation) json["activation"] = text;
  }
  for (const Flag& flag : kFlags) json[flag.name] = config.*flag.field;
  return json;
}

ModelConfig ConfigFromJson(const nlohmann::ordered_json& json, std::string_view name) {
  const JsonFields fields(json, name);
  ModelConfig config;
  config.family = fields.Text("family");
  for (const Size& size : kSizes) config.*size.field = static_cast<int>(fields.Integer(size.name, 1, size.most));
  config.norm_epsilon = static_cast<float>(fields.Number("norm_epsilon", 0, 1));
  config.rope_theta = static_cast<float>(fields.Number("rope_theta", kLeastFactor, kMostFactor));
  if (fields.Has("llama3_rope")) {
    const auto rope = fields.Object("llama3_rope");
    const auto factor = [&](const char* key) {
      return static_cast<float>(rope.Number(key, kLeastFactor, kMostFactor));
    };
    config.llama3_rope = {factor("factor"), factor("low_frequency_factor"), factor("high_frequency_factor"),
                          static_cast<int>(rope.Integer("original_context", 1, kMaxContext))};
  }
  if (fields.Has("linear_rope_factor")) {
    config.linear_rope_factor = static_cast<float>(fields.Number("linear_rope_factor", kLeastFactor, kMostFactor));
  }
  if (fields.Has("rope_frequency_factors")) config.rope_frequency_factors = ReadFactors(fields);
  const std::string activation = fields.Text("activation");
  const auto* found = std::find_if(kActivations.begin(), kActivations.end(),
                                   [&](const auto& entry) { return entry.first == activation; });
  if (found == kActivations.end())
    Fail(ErrorCode::kUnsupported, "{}: activation '{}' is not known", name, OneLine(activation));
  config.activation = found->second;
  for (const Flag& flag : kFlags) config.*flag.field = fields.Boolean(flag.name);
  // A field that this version does not know may change what the model computes: ignoring it would give wrong answers.
  const auto known = ToJson(config);
  for (const auto& key : fields.Keys()) {
    if (!known.contains(key))
      Fail(ErrorCode::kUnsupported, "{}: configuration field '{}' is not known", name, OneLine(key));
  }
  Validate(config, name);
  return config;
}

}  // namespace edgellm
