// A model of given sizes with random weights: what decoding costs depends on the sizes, not on the values.
#pragma once

#include <optional>
#include <string>

#include "base/progress.h"
#include "model/model.h"

namespace edgellm {

struct RandomModelOptions {
  WeightFormat linear;  // of the layers' matrices
  WeightFormat head;    // of embedding and head
  uint64_t seed = 1;
};

/// Matrices filled straight in their formats, at a size that keeps activations of order one; norms are one, biases
/// small; a tokenizer of stand-in words, so that peers can load the export. The same seed gives the same model.
Model RandomModel(const std::string& name, const ModelConfig& config, const RandomModelOptions& options,
                  const Progress& progress);

}  // namespace edgellm
