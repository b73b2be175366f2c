// Settings from environment variables: EDGELLM_X first, then the OLLAMA_X that people may have set already.
// Not a configuration file, and no cache: a variable is read when it is asked for.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace edgellm {

struct EnvironmentSetting {
  std::string variable;  // the variable that was set, for messages
  std::string value;
  bool foreign = false;  // it is Ollama's: a value that only Ollama understands is passed over, not refused
};

/// EDGELLM_<name>, else OLLAMA_<name>; variables that are empty count as absent.
std::optional<EnvironmentSetting> FindSetting(std::string_view name);

/// True for a setting that is there and is not "0" or "false".
bool IsSwitchedOn(std::string_view name);

/// ~/.edgellm: models and history. Empty when there is no home folder.
std::filesystem::path DataFolder();

}  // namespace edgellm
