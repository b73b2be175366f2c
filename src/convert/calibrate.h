// Activation-aware quantisation of a whole model: its layers' int4 and int8 matrices are rounded against the inputs
// that a text gives them, each after the layers before it were rounded. How one matrix is rounded stands in
// calibrated_rounding.h.
//
// Memory, beside the mapped source: the activations of all calibration tokens (float_forward.h), size^2 * 4 bytes for
// the widest layer's inputs, that layer's widest matrix as floats, and its rounded matrices. Finished matrices lie in
// the side file, from which they are mapped: the result is not held in memory.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "convert/calibrated_rounding.h"
#include "model/model.h"

namespace edgellm {

struct Calibration {
  std::string text;             // the file's name, for the recipe
  std::string text_sha256;      // of the whole file
  std::vector<int32_t> tokens;  // whole windows
  int window = 0;               // tokens in each
  double damping = 0.01;        // see Gram
};

/// Whole windows of `window` tokens, `most` tokens at most, spread evenly over `tokens`; `bos` replaces the first token
/// of each. Throws Error(kInvalidArgument) where the text fills no window.
std::vector<int32_t> SpreadWindows(std::span<const int32_t> tokens, int window, int64_t most,
                                   std::optional<int32_t> bos);

struct CalibratedTensor {
  Tensor tensor;
  OutputErrors errors;
};

/// The format that a matrix is to get.
using FormatChoice = std::function<WeightFormat(const std::string& name, const WeightView& view)>;

class Journal;

/// By name: every matrix of `weights` that a linear layer applies, for which `choice` wants int4 or int8, and which has
/// another format now; a table that is embedding and head at once is not among them (as an embedding it has no inputs).
/// `journal` may be null; what it holds is taken over as it is, and finished matrices are added. Throws Error
/// (kInvalidArgument: token ids that the model does not have, windows longer than its context).
std::map<std::string, CalibratedTensor> Calibrate(const ModelConfig& config, const WeightTable& weights,
                                                  const FormatChoice& choice, const Calibration& calibration,
                                                  Journal* journal, WorkerPool& pool, const Progress& progress);

}  // namespace edgellm
