// Lowering: configuration to plan. Pure; the canonical weight names are defined here.
#pragma once

#include <string_view>

#include "model/config.h"
#include "plan/plan.h"

namespace edgellm {

/// Canonical names are those of Hugging Face's Llama: model.embed_tokens.weight, model.layers.N.{input_layernorm,
/// self_attn.{q,k,v,o}_proj, self_attn.{q,k}_norm, self_attn.attn_sub_norm, post_attention_layernorm,
/// mlp.{gate,up,down}_proj, mlp.ffn_sub_norm}.{weight,bias}, model.norm.weight, lm_head.weight (absent when tied).
Plan Lower(const ModelConfig& config);

/// Whether a canonical name is the embedding's or the head's: matrices with a row per word.
bool IsTable(std::string_view name);

}  // namespace edgellm
