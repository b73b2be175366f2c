// The metadata of model files: everything of a Model but its tensors, as JSON texts under "edgellm." keys. The file
// itself is read and written in model_file.cc; the format is described in docs/model-file.md.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/model.h"

namespace edgellm {

using Metadata = std::map<std::string, std::string>;

/// A weight as "edgellm.tensors" lists it.
struct ListedTensor {
  std::string name;
  WeightFormat format;
  int64_t rows = 0, cols = 0;
  bool is_vector = false;
};

/// Everything but checksums. Texts are made valid UTF-8, as JSON demands.
Metadata MetadataOf(const Model& model);

/// Fills name, config, generation, provenance and golden prompts. Throws Error naming `name` and the field;
/// kUnsupported where the file's version is newer than this program.
void ReadMetadata(const Metadata& metadata, std::string_view name, Model& model);

std::vector<ListedTensor> ReadTensorList(const Metadata& metadata, std::string_view name);

/// Stored tensor name → SHA-256 of its bytes.
std::string ChecksumText(const std::map<std::string, std::string>& checksums);
std::map<std::string, std::string> ReadChecksums(const Metadata& metadata, std::string_view name);

/// SHA-256 over all metadata but the digest itself: with the tensors' checksums among it, it stands for the whole
/// model.
std::string DigestOf(const Metadata& metadata);

inline constexpr const char* kVersionKey = "edgellm.version";
inline constexpr const char* kChecksumKey = "edgellm.sha256";
inline constexpr const char* kDigestKey = "edgellm.digest";

}  // namespace edgellm
