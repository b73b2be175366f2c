// The quantisation recipe: for each matrix what it was, what it became, and how far that is off. Carried as JSON in
// model files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace edgellm {

struct RecipeEntry {
  /// Of the layer's outputs on the calibration text, relative, root of mean square: see OutputErrors.
  struct OutputError {
    double plain, calibrated;
  };

  std::string tensor;  // canonical name
  std::string source;  // "bf16", "int8-g32"; a GGUF type's name where it has no equal here
  std::string format;  // WeightFormat::Name()
  bool is_exact = true;
  std::optional<double> relative_error = {};     // root of the squared error over the squared values; where not exact
  std::optional<OutputError> output_error = {};  // where it was calibrated
};

/// What the matrices with an output error were calibrated with.
struct RecipeCalibration {
  std::string text, text_sha256;  // file name; of the whole file
  int64_t tokens = 0;
  int window = 0;
  double damping = 0;
};

/// `method` is "import" or "quantize". `previous` is the recipe of the source, kept inside where it is not "{}".
std::string RecipeJson(const std::string& method, const std::vector<RecipeEntry>& entries, const std::string& previous,
                       const std::optional<RecipeCalibration>& calibration = {});

}  // namespace edgellm
