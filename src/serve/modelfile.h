// Modelfiles: a model described in a few lines, over another model. The syntax is Ollama's (its docs/modelfile.md):
// instructions in any case, comments by '#', values to the end of the line, in "…", or in """…""" over several lines.
// Text to structure and back; what the instructions mean is model_manifest.h's.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace edgellm {

struct Modelfile {
  std::string from = {};                                             // FROM: a model's name, a file, a folder
  std::vector<std::pair<std::string, std::string>> parameters = {};  // PARAMETER name value, in order
  std::optional<std::string> chat_template = {};                     // TEMPLATE
  std::optional<std::string> system = {};                            // SYSTEM
  std::vector<std::pair<std::string, std::string>> messages = {};    // MESSAGE role content
  std::vector<std::string> licenses = {};                            // LICENSE
  std::vector<std::string> adapters = {};                            // ADAPTER

  bool operator==(const Modelfile&) const = default;
};

/// `name` opens error texts. Throws Error(kInvalidArgument) with the line's number: an unknown instruction, a missing
/// value, quotes that do not end, no FROM or two of them.
Modelfile ParseModelfile(std::string_view text, std::string_view name);

/// Text that ParseModelfile reads back as the same. Throws Error(kUnsupported) for the few texts that the syntax has no
/// way to write (some with """ in them).
std::string WriteModelfile(const Modelfile& modelfile);

}  // namespace edgellm
