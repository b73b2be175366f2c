// See recipe.h.
#include "convert/recipe.h"

#include <nlohmann/json.hpp>

namespace edgellm {

std::string RecipeJson(const std::string& method, const std::vector<RecipeEntry>& entries,
                       const std::string& previous) {
  nlohmann::ordered_json tensors = nlohmann::ordered_json::object();
  for (const RecipeEntry& entry : entries) {
    nlohmann::ordered_json row = {{"format", entry.format}, {"source", entry.source}, {"exact", entry.is_exact}};
    if (entry.relative_error) row["relative_rms_error"] = *entry.relative_error;
    tensors[entry.tensor] = std::move(row);
  }
  nlohmann::ordered_json recipe = {{"method", method}, {"tensors", std::move(tensors)}};
  const auto before = nlohmann::ordered_json::parse(previous, nullptr, /*allow_exceptions=*/false);
  if (before.is_object() && !before.empty()) recipe["source"] = before;
  return recipe.dump();
}

}  // namespace edgellm
