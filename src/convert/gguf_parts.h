// GGUF models that lie in several files: which files belong together, and their tables joined to one. A split model's
// files are called NAME-00001-of-00003.gguf; each is a GGUF of its own, the first holds the metadata of all, and
// split.no, split.count and split.tensors.count tell whether they belong together. Also the way to open a GGUF that is
// not split. Source: gguf-split of llama.cpp (tools/gguf-split, llama_model_loader).
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "base/file.h"
#include "convert/gguf.h"

namespace edgellm {

/// The parts of one model in order, or a file that is not split: the metadata of the first, the tensors of all. Throws
/// Error that names the part: kUnsupported (one part alone), kCorrupt (a part twice or in another's place, a part of
/// another model, a tensor in two parts, tensors that no part has).
GgufFile JoinGgufParts(std::vector<GgufFile> parts);

/// A GGUF model's files, mapped.
struct MappedGguf {
  std::vector<std::unique_ptr<const MappedFile>> files;  // in order
  GgufFile gguf;                                         // refers to them; its name is the first one's path
};

/// `path`: a GGUF file, any part of a split one, or a folder that holds one model. Throws Error as ParseGguf and
/// JoinGgufParts, kNotFound for a part that is not there, kInvalidArgument for a folder with none or several.
std::shared_ptr<const MappedGguf> OpenGguf(const std::filesystem::path& path);

/// Whether a folder holds GGUF files, of whatever models.
bool HoldsGguf(const std::filesystem::path& folder);

/// Whether a folder is a split model: parts of one model, which need not be complete, no other GGUF, no folder.
bool IsGgufFolder(const std::filesystem::path& folder);

/// By its name: "NAME-00001-of-00003.gguf" and so on, of more than one part.
bool IsGgufPart(const std::filesystem::path& file);
/// The parts that lie beside one of them, that one included, in order.
std::vector<std::filesystem::path> GgufPartsBeside(const std::filesystem::path& part);

}  // namespace edgellm
