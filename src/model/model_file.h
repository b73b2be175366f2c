// EdgeLLM's own model file: a safetensors container (docs/decisions/001-model-file.md) whose metadata carries
// configuration, generation defaults, stop tokens, provenance, recipe, golden prompts and a SHA-256 per tensor, and
// whose tensors include the tokenizer and the chat template as bytes. Reading maps the file; nothing is copied.
#pragma once

#include <filesystem>
#include <string_view>

#include "base/progress.h"
#include "model/model.h"

namespace edgellm {

inline constexpr int kModelFileVersion = 1;
inline constexpr std::string_view kModelFileSuffix = ".edgellm";

/// True if the file is a safetensors container that carries EdgeLLM's metadata.
bool IsModelFile(const std::filesystem::path& path);

/// Checks structure, shapes and the metadata; not the checksums (VerifyChecksums). Throws Error naming file, tensor,
/// cause.
Model ReadModelFile(const std::filesystem::path& path);
/// The same over bytes in memory, which `owner` keeps alive.
Model ReadModelBytes(std::span<const std::byte> bytes, std::string_view name, std::shared_ptr<const void> owner);

void WriteModelFile(const Model& model, const std::filesystem::path& path, const Progress& progress);

/// Recomputes every checksum. Throws Error(kCorrupt) naming the first tensor whose bytes changed.
void VerifyChecksums(const std::filesystem::path& path, const Progress& progress);

}  // namespace edgellm
