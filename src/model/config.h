// All sizes and variations of a model: nobody else may ask "which model is this?". A family is a row in the registry
// (family.h) that fills this in; lowering (lower.h) turns it into a plan.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "plan/step.h"

namespace edgellm {

/// Llama 3.1's stretching of the rotary frequencies (as in the published configurations, "rope_type": "llama3").
struct Llama3RopeScaling {
  float factor = 1, low_frequency_factor = 1, high_frequency_factor = 1;
  int original_context = 0;
  bool operator==(const Llama3RopeScaling&) const = default;
};

struct ModelConfig {
  std::string family;  // registry key: "llama", "qwen2", "qwen3", "bitnet"
  int hidden = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn = 0, vocab = 0, max_context = 0;
  float norm_epsilon = 1e-5f;
  float rope_theta = 10000.0f;
  std::optional<Llama3RopeScaling> llama3_rope;
  std::optional<float> linear_rope_factor;  // positions divided by this
  // [head_dim / 2] or empty: rotary frequency i is divided by entry i. GGUF files carry scaling in this form; where the
  // factors are those of llama3_rope, importers set that instead.
  std::vector<float> rope_frequency_factors;
  Activation activation = Activation::kSilu;
  bool tied_head = false;  // logits use the embedding table
  bool qkv_bias = false, output_bias = false, ffn_bias = false;
  bool qk_norm = false;         // per-head RMS norm of q and k (Qwen3)
  bool sub_norms = false;       // RMS norms before the output and down projections (BitNet)
  bool native_ternary = false;  // linears were trained as W1.58A8

  bool operator==(const ModelConfig&) const = default;
};

/// Throws Error(kCorrupt/kUnsupported) naming the field, unless every size is positive, consistent and within sane
/// bounds.
void Validate(const ModelConfig& config, std::string_view name);

/// The form in which model files carry it.
nlohmann::ordered_json ToJson(const ModelConfig& config);
ModelConfig ConfigFromJson(const nlohmann::ordered_json& json, std::string_view name);

/// From a Hugging Face config.json, by its "architectures"/"model_type" and the family registry. Throws Error:
/// kCorrupt, kUnsupported (unknown family, sliding windows that would act, rope types, quantisation methods; by name).
ModelConfig ConfigFromHuggingFace(const nlohmann::ordered_json& json, std::string_view name);

}  // namespace edgellm
