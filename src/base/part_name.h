// Names of files that are one thing in numbered parts, "NAME-00002-of-00003", as GGUF files and safetensors are split.
// Names alone: opens nothing, and knows no extension.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace edgellm {

struct PartName {
  std::string name;           // what all parts have in common
  int number = 1, count = 1;  // 1 <= number <= count <= 99999
};

/// Of a file's name without its extension; nothing where it names no part. "-OF-" is the same as "-of-".
std::optional<PartName> ParsePartName(std::string_view stem);

/// "-00002-of-00003"
std::string PartEnding(int number, int count);

}  // namespace edgellm
