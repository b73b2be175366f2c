// Model to GGUF, so that peers can read the same weights. Types F16, Q8_0 and Q4_0; weights that are already of the equal
// format (int8-g32, int4-g32) are written bit for bit.
#pragma once

#include <filesystem>
#include <string_view>

#include "base/progress.h"
#include "model/model.h"

namespace edgellm {

enum class GgufType { kF16, kQ8_0, kQ4_0 };

/// Throws Error(kInvalidArgument) listing the names.
GgufType ParseGgufType(std::string_view name);

void ExportGguf(const Model& model, GgufType type, const std::filesystem::path& path, const Progress& progress);

}  // namespace edgellm
