// The two halves of reading a Hugging Face folder: checkpoint files to weights (huggingface.cc), and what stands around
// them, tokenizer, chat template, generation defaults (huggingface_text.cc).
#pragma once

#include <filesystem>
#include <vector>

#include "convert/import.h"
#include "model/json_fields.h"

namespace edgellm {

/// As ImportHuggingFace, from these safetensors files of the folder (their names, no paths) and no others.
Model ImportHuggingFaceFiles(const std::filesystem::path& folder, const std::vector<std::string>& files,
                             const Progress& progress);

/// Fills tokenizer_json, chat_template and generation from the folder's files; `config` is its config.json.
void ReadHuggingFaceText(const std::filesystem::path& folder, const JsonFields& config, Model& model);

/// Small JSON files are read whole, within a limit that no real one comes near.
inline constexpr size_t kMaxConfigBytes = size_t{4} << 20;

}  // namespace edgellm
