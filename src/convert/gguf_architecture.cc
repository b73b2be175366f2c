// See gguf_architecture.h. Names as in llama.cpp's gguf-py and, for bitnet-25 and bitnet-b1.58, in bitnet.cpp's fork of
// it.
#include "convert/gguf_architecture.h"

#include <array>
#include <charconv>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace edgellm {
namespace {

constexpr std::array<GgufArchitecture, 6> kArchitectures = {{
    {.name = "llama", .family = "llama", .neighbour_pairs = true, .is_exported = true},
    {.name = "qwen2", .family = "qwen2", .is_exported = true},
    {.name = "qwen3", .family = "qwen3", .qk_norm = true, .is_exported = true},
    {.name = "bitnet", .family = "bitnet", .sub_norms = true, .native_ternary = true, .is_exported = true},
    {.name = "bitnet-25",
     .family = "bitnet",
     .activation = Activation::kRelu2,
     .sub_norms = true,
     .native_ternary = true},
    {.name = "bitnet-b1.58",
     .family = "bitnet",
     .activation = Activation::kRelu2,
     .sub_norms = true,
     .native_ternary = true},
}};

struct NamePair {
  std::string_view gguf, canonical;
};
constexpr std::array<NamePair, 3> kGlobals = {{{"token_embd.weight", "model.embed_tokens.weight"},
                                               {"output_norm.weight", "model.norm.weight"},
                                               {"output.weight", "lm_head.weight"}}};
constexpr std::array<NamePair, 13> kInLayer = {{{"attn_norm", "input_layernorm"},
                                                {"attn_q", "self_attn.q_proj"},
                                                {"attn_k", "self_attn.k_proj"},
                                                {"attn_v", "self_attn.v_proj"},
                                                {"attn_output", "self_attn.o_proj"},
                                                {"attn_q_norm", "self_attn.q_norm"},
                                                {"attn_k_norm", "self_attn.k_norm"},
                                                {"attn_sub_norm", "self_attn.attn_sub_norm"},
                                                {"ffn_norm", "post_attention_layernorm"},
                                                {"ffn_gate", "mlp.gate_proj"},
                                                {"ffn_up", "mlp.up_proj"},
                                                {"ffn_down", "mlp.down_proj"},
                                                {"ffn_sub_norm", "mlp.ffn_sub_norm"}}};
constexpr std::string_view kGgufLayers = "blk.", kCanonicalLayers = "model.layers.";

/// Renames along one side of the tables.
std::optional<std::string> Rename(std::string_view name, std::string_view NamePair::*from,
                                  std::string_view NamePair::*to, std::string_view from_layers,
                                  std::string_view to_layers) {
  for (const NamePair& pair : kGlobals) {
    if (pair.*from == name) return std::string(pair.*to);
  }
  if (!name.starts_with(from_layers)) return {};
  name.remove_prefix(from_layers.size());
  int layer = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  if (error != std::errc() || layer < 0) return {};
  const std::string_view digits = name.substr(0, static_cast<size_t>(end - name.data()));
  // "00" and "-0" would give two tensors one name.
  if (digits != std::to_string(layer)) return {};
  name.remove_prefix(digits.size());
  const size_t dot = name.rfind('.');
  if (!name.starts_with('.') || dot == 0) return {};
  const std::string_view part = name.substr(1, dot - 1), kind = name.substr(dot + 1);
  if (kind != "weight" && kind != "bias") return {};
  for (const NamePair& pair : kInLayer) {
    if (pair.*from == part) return fmt::format("{}{}.{}.{}", to_layers, layer, pair.*to, kind);
  }
  return {};
}

}  // namespace

const GgufArchitecture* FindGgufArchitecture(std::string_view name) {
  for (const GgufArchitecture& row : kArchitectures) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

std::string KnownGgufArchitectures() {
  std::string names;
  for (const GgufArchitecture& row : kArchitectures) names += fmt::format("{}{}", names.empty() ? "" : ", ", row.name);
  return names;
}

const GgufArchitecture& ArchitectureToExport(const ModelConfig& config) {
  // Mistral's models are of Llama's shape and go by its name in GGUF.
  const std::string_view family = config.family == "mistral" ? "llama" : std::string_view(config.family);
  for (const GgufArchitecture& row : kArchitectures) {
    if (!row.is_exported || row.family != family) continue;
    if (row.activation != config.activation) {
      Fail(ErrorCode::kUnsupported, "llama.cpp's architecture {} has another activation than this model", row.name);
    }
    if (row.qk_norm != config.qk_norm || row.sub_norms != config.sub_norms) {
      Fail(ErrorCode::kUnsupported, "llama.cpp's architecture {} has other norms than this model", row.name);
    }
    return row;
  }
  Fail(ErrorCode::kUnsupported, "llama.cpp has no architecture for the family {}", config.family);
}

std::optional<std::string> CanonicalName(std::string_view gguf_name) {
  return Rename(gguf_name, &NamePair::gguf, &NamePair::canonical, kGgufLayers, kCanonicalLayers);
}

std::optional<std::string> GgufName(std::string_view canonical_name) {
  return Rename(canonical_name, &NamePair::canonical, &NamePair::gguf, kCanonicalLayers, kGgufLayers);
}

bool IsRotary(std::string_view canonical_name) {
  return canonical_name.find(".q_proj.") != std::string_view::npos ||
         canonical_name.find(".k_proj.") != std::string_view::npos;
}

int64_t RowInPairs(int64_t row, int64_t head_dim) {
  const int64_t half = head_dim / 2, within = row % head_dim;
  return row - within + within % half * 2 + within / half;
}

int64_t RowInHalves(int64_t row, int64_t head_dim) {
  const int64_t half = head_dim / 2, within = row % head_dim;
  return row - within + within % 2 * half + within / 2;
}

std::vector<float> Llama3RopeFactors(const Llama3RopeScaling& scaling, float theta, int head_dim) {
  std::vector<float> factors;
  const double low = scaling.low_frequency_factor, high = scaling.high_frequency_factor;
  for (int i = 0; i < head_dim; i += 2) {
    const double frequency = 1.0 / std::pow(static_cast<double>(theta), static_cast<double>(i) / head_dim);
    const double turns = scaling.original_context * frequency / (2 * std::numbers::pi);  // within the original context
    if (turns > high) {
      factors.push_back(1.0f);
    } else if (turns < low) {
      factors.push_back(scaling.factor);
    } else {
      const double smooth = (turns - low) / (high - low);
      factors.push_back(static_cast<float>(1.0 / ((1.0 - smooth) / scaling.factor + smooth)));
    }
  }
  return factors;
}

}  // namespace edgellm
