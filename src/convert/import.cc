// LoadModel: what lies at a path is told by its content, not by its name.
#include "convert/import.h"

#include "base/error.h"
#include "base/file.h"
#include "convert/gguf_parts.h"
#include "convert/huggingface.h"
#include "convert/llama2c.h"
#include "model/model_file.h"

namespace edgellm {
namespace {

namespace fs = std::filesystem;

enum class FileKind { kEmpty, kGguf, kSafetensors, kPickle, kLlama2c, kUnknown };

bool StartsWith(std::span<const std::byte> bytes, std::string_view text) {
  return bytes.size() >= text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
}

FileKind KindOf(std::span<const std::byte> bytes) {
  if (bytes.empty()) return FileKind::kEmpty;
  if (StartsWith(bytes, "GGUF")) return FileKind::kGguf;
  // A safetensors file has no magic number, but its ninth byte opens the JSON header.
  if (bytes.size() > 8 && bytes[8] == std::byte{'{'}) return FileKind::kSafetensors;
  if (StartsWith(bytes, "PK\x03\x04") || StartsWith(bytes, "\x80\x02")) return FileKind::kPickle;
  return LooksLikeLlama2c(bytes) ? FileKind::kLlama2c : FileKind::kUnknown;
}

Model LoadSafetensors(const fs::path& path, const Progress& progress) {
  if (IsModelFile(path)) return ReadModelFile(path);
  const fs::path folder = fs::absolute(path).parent_path();
  if (fs::exists(folder / "config.json")) {
    return ImportHuggingFaceFiles(folder, {path.filename().string()}, progress);
  }
  Fail(ErrorCode::kUnsupported,
       "{}: a safetensors file that is no EdgeLLM model file, with no config.json beside it: its architecture is "
       "unknown",
       path.string());
}

Model LoadFolder(const fs::path& path, const Progress& progress) {
  if (!fs::exists(path / "config.json") && HoldsGguf(path)) return ImportGguf(path, progress);
  return ImportHuggingFace(path, progress);
}

Model LoadFile(const fs::path& path, const Progress& progress) {
  FileKind kind;
  {
    const MappedFile file(path);
    kind = KindOf(file.bytes());
  }
  switch (kind) {
    case FileKind::kGguf:
      return ImportGguf(path, progress);
    case FileKind::kSafetensors:
      return LoadSafetensors(path, progress);
    case FileKind::kLlama2c:
      return ImportLlama2c(path, progress);
    case FileKind::kEmpty:
      Fail(ErrorCode::kCorrupt, "{}: the file is empty", path.string());
    case FileKind::kPickle:
      Fail(ErrorCode::kUnsupported, "{}: PyTorch's pickle files are not read; save the model as safetensors",
           path.string());
    case FileKind::kUnknown:
      break;
  }
  Fail(ErrorCode::kUnsupported, "{}: not a model: no EdgeLLM, safetensors, GGUF or llama2.c file", path.string());
}

}  // namespace

Model LoadModel(const fs::path& path, const Progress& progress) {
  try {
    Model model = fs::is_directory(path) ? LoadFolder(path, progress) : LoadFile(path, progress);
    model.path = path.string();
    return model;
  } catch (const fs::filesystem_error& error) {
    Fail(ErrorCode::kIo, "{}: {}", path.string(), error.code().message());
  }
}

}  // namespace edgellm
