// Quantising a model: which tensor gets which format, and the recipe that records it.
#pragma once

#include <optional>
#include <string>

#include "base/progress.h"
#include "model/model.h"

namespace edgellm {

struct QuantizeOptions {
  WeightFormat linear;               // for the layers' matrices
  std::optional<WeightFormat> head;  // for embedding and head; default: int8-g128 (int8 and int4 lose too much there)
  bool force_ternary = false;        // accept a checkpoint that was not trained ternary
};

/// A model whose matrices are in the asked formats. Ternary of a natively ternary checkpoint uses its own scale (absmean of
/// the whole matrix) and is lossless; of any other checkpoint it throws Error(kInvalidArgument) with the reason unless forced.
Model Quantize(const Model& source, const QuantizeOptions& options, const Progress& progress);

}  // namespace edgellm
