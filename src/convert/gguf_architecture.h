// How GGUF files name things: architectures, tensors, and the order of rotary rows. One table for import and export; a
// new architecture of a known shape is one row in gguf_architecture.cc.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"

namespace edgellm {

struct GgufArchitecture {
  std::string_view name;    // general.architecture
  std::string_view family;  // ModelConfig::family
  Activation activation = Activation::kSilu;
  // Rows of q and k (and their biases) come as neighbouring pairs (2i, 2i + 1) of each head, where ours are (i, i +
  // half).
  bool neighbour_pairs = false;
  bool qk_norm = false, sub_norms = false, native_ternary = false;
  bool is_exported = false;  // llama.cpp itself reads it; the others belong to forks of it
};

/// Null for one that is not read.
const GgufArchitecture* FindGgufArchitecture(std::string_view name);
/// The names of those that are read, for error texts.
std::string KnownGgufArchitectures();
/// The one to export a model as. Throws Error(kUnsupported) with the reason where llama.cpp has none.
const GgufArchitecture& ArchitectureToExport(const ModelConfig& config);

/// "blk.3.attn_q.weight" to "model.layers.3.self_attn.q_proj.weight"; nothing for names of tensors that are no weights
/// of ours.
std::optional<std::string> CanonicalName(std::string_view gguf_name);
/// The inverse. Nothing for names that GGUF has none for.
std::optional<std::string> GgufName(std::string_view canonical_name);

/// True for weights and biases of q and k, whose rows the rotary embedding pairs.
bool IsRotary(std::string_view canonical_name);

/// Where row `row` of a half-split matrix of heads of `head_dim` rows lies in one of neighbouring pairs; and the way
/// back.
int64_t RowInPairs(int64_t row, int64_t head_dim);
int64_t RowInHalves(int64_t row, int64_t head_dim);

/// What each rotary frequency is divided by under Llama 3's scaling: GGUF's form of it, the tensor rope_freqs.weight.
std::vector<float> Llama3RopeFactors(const Llama3RopeScaling& scaling, float theta, int head_dim);
inline constexpr std::string_view kRopeFactorsTensor = "rope_freqs.weight";

}  // namespace edgellm
