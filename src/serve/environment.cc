// See environment.h.
#include "serve/environment.h"

#include <cstdlib>

namespace edgellm {

std::optional<EnvironmentSetting> FindSetting(std::string_view name) {
  for (const bool foreign : {false, true}) {
    std::string variable = (foreign ? "OLLAMA_" : "EDGELLM_") + std::string(name);
    const char* value = std::getenv(variable.c_str());
    if (value != nullptr && *value != '\0') return EnvironmentSetting{std::move(variable), value, foreign};
  }
  return std::nullopt;
}

bool IsSwitchedOn(std::string_view name) {
  const auto setting = FindSetting(name);
  return setting && setting->value != "0" && setting->value != "false";
}

std::filesystem::path DataFolder() {
  const char* home = std::getenv("HOME");
  return home == nullptr || *home == '\0' ? std::filesystem::path() : std::filesystem::path(home) / ".edgellm";
}

}  // namespace edgellm
