// The model store: names to files. Models are plain files and folders under one folder, NAME[:TAG].edgellm (or .gguf,
// a Hugging Face folder, or a manifest NAME.model.json over another model), so that people can copy them about with any
// tool; beside it stand the models that come with the program. It opens no model: it knows names, sizes and dates.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace edgellm {

struct StoredModel {
  std::string name;            // "demo", "smollm2:int4", "someone/model"
  std::filesystem::path path;  // a file or a folder
  uint64_t bytes = 0;          // of a manifest: its own few
  int64_t modified = 0;        // Unix seconds
  bool bundled = false;        // came with the program: can be neither removed nor replaced
};

class ModelStore {
 public:
  /// `folder` need not exist yet. `bundled` folders are searched after it, one level of subfolders deep.
  explicit ModelStore(std::filesystem::path folder, std::vector<std::filesystem::path> bundled = {});

  /// EDGELLM_MODELS, else ~/.edgellm/models; and what lies beside this executable: ../share/edgellm/models of an
  /// installation, ../../../models of a source tree.
  static ModelStore Default();

  const std::filesystem::path& folder() const { return folder_; }

  /// All models by name; a model of the folder hides a bundled one of the same name.
  std::vector<StoredModel> List() const;

  /// By name; ":latest" is the same as no tag, and the hub's host before a name ("hf.co/") may stand or not.
  std::optional<StoredModel> Find(std::string_view name) const;

  /// The file or folder that a user means: a stored model's name, else a path. "./x" is always a path.
  /// Throws Error(kNotFound).
  std::filesystem::path Resolve(std::string_view model) const;

  /// Where a model file of that name belongs. Throws Error(kInvalidArgument) for what cannot be a name.
  std::filesystem::path PathFor(std::string_view name) const;

  /// Copies a model (a name or a path) to a name of the store; an existing one is replaced.
  void Copy(std::string_view source, std::string_view destination) const;
  /// Removes a model, or what an unfinished pull of that name left.
  void Remove(std::string_view name) const;

  /// Makes `ready` (a file or a folder on the store's file system, complete and on the disk) the model `name`, in one
  /// step: at every moment a reader finds the old model or the new one.
  void Publish(const std::filesystem::path& ready, std::string_view name) const;

  /// Where unfinished pulls lie: inside the store, so that publishing is a rename; never listed.
  std::filesystem::path WorkFolder() const;

 private:
  std::filesystem::path folder_;
  std::vector<std::filesystem::path> bundled_;
};

/// Twelve hexadecimal digits that tell models apart: from the size and both ends of the files, which is quick however
/// large they are. It is no checksum; `edgellm verify` has those.
std::string ShortId(const std::filesystem::path& path);
/// All 64 digits of it.
std::string LongId(const std::filesystem::path& path);

/// The files that make up a model, in name order: the file, those in the folder, all parts of a split GGUF.
std::vector<std::filesystem::path> FilesOf(const std::filesystem::path& path);

/// Ends the file names of manifests (model_manifest.h).
inline constexpr std::string_view kManifestSuffix = ".model.json";
bool IsManifestPath(const std::filesystem::path& path);

/// As the store spells a name: without ":latest", without the hub's host.
std::string NameInStore(std::string_view name);

/// True for NAME[:TAG], where NAME may have parts divided by '/'; letters, digits, '.', '_' and '-'.
bool IsModelName(std::string_view name);

}  // namespace edgellm
