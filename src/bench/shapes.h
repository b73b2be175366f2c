// The sizes of published models, for measurements that need a real shape and no weights.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"

namespace edgellm {

/// In the order in which help texts list them: "smollm-135m", "qwen2.5-0.5b", …
std::vector<std::string> ShapeNames();

/// By name, in any case; "-llama" behind a name gives the plain Llama graph of the same sizes. Throws
/// Error(kInvalidArgument) listing the names.
ModelConfig ShapeByName(std::string_view name);

}  // namespace edgellm
