// Quantising a model: which tensor gets which format, and the recipe that records it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/progress.h"
#include "convert/calibrate.h"
#include "model/model.h"
#include "quant/codec.h"

namespace edgellm {

struct QuantizeOptions {
  WeightFormat linear;  // for the layers' matrices
  // For embedding and head. Default: int8, for int8 in the same groups, else by 128 (int4 and ternary lose too much
  // there).
  std::optional<WeightFormat> head = {};
  bool force_ternary = false;                     // accept a checkpoint that was not trained ternary
  ScaleChoice scales = ScaleChoice::kLeastError;  // of int4 matrices that are not calibrated
  std::optional<Calibration> calibration = {};    // for int4 and int8 matrices
  // Where a calibrated run keeps what it has finished; a run that finds its own goes on from there. Empty: nowhere. The
  // caller deletes it when the result is safe; the result may point into it until then.
  std::filesystem::path journal = {};
  int threads = 0;  // 0: one per core. The result does not depend on it
};

/// A model whose matrices are in the asked formats. Ternary of a natively ternary checkpoint uses its own scale
/// (absmean of the whole matrix) and is lossless; of any other checkpoint it throws Error(kInvalidArgument) with the
/// reason unless forced. `note` hears, in a line for people, what became of an earlier run's journal; it may be empty.
Model Quantize(const Model& source, const QuantizeOptions& options, const Progress& progress,
               const std::function<void(std::string_view)>& note = {});

}  // namespace edgellm
