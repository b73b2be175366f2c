// The quantisation recipe: for each matrix what it was, what it became, and how far that is off. Carried as JSON in
// model files.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace edgellm {

struct RecipeEntry {
  std::string tensor;  // canonical name
  std::string source;  // "bf16", "int8-g32"; a GGUF type's name where it has no equal here
  std::string format;  // WeightFormat::Name()
  bool is_exact = true;
  std::optional<double> relative_error;  // root of the squared error over the squared values; where not exact
};

/// `method` is "import" or "quantize". `previous` is the recipe of the source, kept inside where it is not "{}".
std::string RecipeJson(const std::string& method, const std::vector<RecipeEntry>& entries, const std::string& previous);

}  // namespace edgellm
