// A model's whole forward pass, lowered from its configuration: sizes, the list of weights it needs, the steps.
// Pure data: printed, compared and tested with no device. Backends bind it; they never see a model family.
#pragma once

#include <string>
#include <vector>

#include "plan/step.h"

namespace edgellm {

/// A weight that the plan reads, by the canonical name (the Hugging Face Llama names, see model/lower.cc).
struct WeightSlot {
  std::string name;
  int64_t rows = 0, cols = 0;  // a vector has one row
  bool operator==(const WeightSlot&) const = default;
};

struct Plan {
  int hidden = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn = 0, vocab = 0;
  int max_context = 0;  // positions that the model was trained for
  float norm_epsilon = 0;
  std::vector<float> rope_inverse_frequencies;  // [head_dim / 2]; pair i is (x[i], x[i + head_dim/2])
  std::vector<WeightSlot> weights;
  std::vector<Step> steps;

  bool operator==(const Plan&) const = default;
};

/// One line a step and a weight, for `edgellm inspect --plan`.
std::string ToText(const Plan& plan);

/// Throws Error(kCorrupt) unless ids are in range, shapes fit the steps, sizes are positive and divide as they must
/// (heads by kv_heads, head_dim by 2). A backend may rely on what this checks.
void Validate(const Plan& plan);

}  // namespace edgellm
