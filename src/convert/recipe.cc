// See recipe.h.
#include "convert/recipe.h"

#include <nlohmann/json.hpp>

namespace edgellm {

std::string RecipeJson(const std::string& method, const std::vector<RecipeEntry>& entries, const std::string& previous,
                       const std::optional<RecipeCalibration>& calibration) {
  nlohmann::ordered_json tensors = nlohmann::ordered_json::object();
  for (const RecipeEntry& entry : entries) {
    nlohmann::ordered_json row = {{"format", entry.format}, {"source", entry.source}, {"exact", entry.is_exact}};
    if (entry.relative_error) row["relative_rms_error"] = *entry.relative_error;
    if (entry.output_error) {
      row["output_error_plain"] = entry.output_error->plain;
      row["output_error"] = entry.output_error->calibrated;
    }
    tensors[entry.tensor] = std::move(row);
  }
  nlohmann::ordered_json recipe = {{"method", method}};
  if (calibration) {
    recipe["calibration"] = {{"text", calibration->text},
                             {"text_sha256", calibration->text_sha256},
                             {"tokens", calibration->tokens},
                             {"window", calibration->window},
                             {"damping", calibration->damping}};
  }
  recipe["tensors"] = std::move(tensors);
  const auto before = nlohmann::ordered_json::parse(previous, nullptr, /*allow_exceptions=*/false);
  if (before.is_object() && !before.empty()) recipe["source"] = before;
  return recipe.dump();
}

}  // namespace edgellm
