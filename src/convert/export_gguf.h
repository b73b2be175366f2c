// Model to GGUF, so that peers can read the same weights. Weights whose values the type can hold (int8 and int4 codes
// in Q8_0 and Q4_0, ternary codes in TQ2_0) keep every code; others are rounded to the nearest.
#pragma once

#include <filesystem>
#include <string_view>

#include "base/progress.h"
#include "model/model.h"

namespace edgellm {

enum class GgufType { kF16, kQ8_0, kQ4_0, kTQ2_0 };

/// Throws Error(kInvalidArgument) listing the names.
GgufType ParseGgufType(std::string_view name);

void ExportGguf(const Model& model, GgufType type, const std::filesystem::path& path, const Progress& progress);

}  // namespace edgellm
