// The registry of model families: which Hugging Face architectures are read, and how each differs from the Llama shape.
// A new family of a known shape is one row in family.cc.
#pragma once

#include <span>
#include <string_view>

#include "plan/step.h"

namespace edgellm {

struct Family {
  std::string_view architecture;  // an entry of "architectures" in config.json
  std::string_view model_type;    // its "model_type", for configurations that name no architecture
  std::string_view key;           // ModelConfig::family
  // What the family's code in transformers does whatever the configuration says, and its defaults for absent fields.
  bool qkv_bias = false;  // q, k, v have biases (otherwise "attention_bias" gives q, k, v and o theirs)
  bool qk_norm = false;
  bool sub_norms = false;
  bool window_opt_in = false;  // "sliding_window" counts only if "use_sliding_window" is true
  int default_head_dim = 0;    // 0: hidden size / heads
  double default_rope_theta = 10000.0;
};

std::span<const Family> Families();

/// By its key. Null when there is none.
const Family* FindFamily(std::string_view key);

}  // namespace edgellm
