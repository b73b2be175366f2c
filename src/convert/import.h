// Foreign checkpoints to Model: Hugging Face folders, GGUF files, llama2.c files. An import keeps the source's values:
// floats stay as they are (mapped, not copied), integer formats that have an exact counterpart here are repacked
// exactly, others are brought to the nearest format and the recipe says so. Rotary layouts are brought to one
// convention (half-split).
#pragma once

#include <filesystem>

#include "base/progress.h"
#include "model/model.h"

namespace edgellm {

/// Whatever lies at `path`: an EdgeLLM model file, a Hugging Face folder, a GGUF (for a split one any of its parts, or
/// a folder with them), a llama2.c .bin (with tok*.bin beside it). Throws Error with one line that names file, tensor
/// and cause.
Model LoadModel(const std::filesystem::path& path, const Progress& progress = {});

Model ImportHuggingFace(const std::filesystem::path& folder, const Progress& progress);
Model ImportGguf(const std::filesystem::path& path, const Progress& progress);
Model ImportLlama2c(const std::filesystem::path& file, const Progress& progress);

}  // namespace edgellm
