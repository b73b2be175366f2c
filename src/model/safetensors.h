// The safetensors container (https://github.com/huggingface/safetensors, "Format"): an 8-byte little-endian header
// length, a JSON header, one buffer. Reading checks everything that the format promises; writing lays tensors out
// aligned.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace edgellm {

struct SafetensorsEntry {
  std::string dtype;           // "F32", "BF16", "U8", …: any that the format names
  std::vector<int64_t> shape;  // product of dimensions times element size equals bytes.size()
  std::span<const std::byte> bytes;
};

struct SafetensorsFile {
  std::map<std::string, SafetensorsEntry> tensors;
  std::map<std::string, std::string> metadata;
};

/// Parses bytes that stay alive elsewhere. Throws Error(kCorrupt) naming `name`, the tensor and the cause.
SafetensorsFile ParseSafetensors(std::span<const std::byte> bytes, std::string_view name);

/// A tensor to be written: its bytes are asked for when their turn comes, so that a model need not fit in memory.
struct SafetensorsPlanned {
  std::string name, dtype;
  std::vector<int64_t> shape;
  std::function<void(const std::function<void(std::span<const std::byte>)>& write)> produce;
};

/// What `metadata` takes in the header: how much room to keep for it.
size_t SafetensorsMetadataBytes(const std::map<std::string, std::string>& metadata);

/// Writes atomically. The data of tensors whose size is a multiple of 64 begins at multiples of 64 in the file, that of
/// others at multiples of their element size; no holes, as the format demands. `metadata` is called after the last
/// tensor was written (so that it can carry checksums) and must return no more than `metadata_bytes` bytes of JSON, for
/// which room is kept.
void WriteSafetensors(const std::filesystem::path& path, std::vector<SafetensorsPlanned> tensors, size_t metadata_bytes,
                      const std::function<std::map<std::string, std::string>()>& metadata);

}  // namespace edgellm
