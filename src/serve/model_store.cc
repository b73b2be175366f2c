// See model_store.h.
#include "serve/model_store.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/part_name.h"
#include "base/sha256.h"
#include "convert/gguf_parts.h"
#include "hub/pull.h"
#include "model/model_file.h"
#include "serve/environment.h"

namespace edgellm {
namespace {

namespace fs = std::filesystem;

/// Namespaces in a store nest no deeper than host/owner/model.
constexpr int kMostNameParts = 3;

bool IsNamePart(std::string_view part) {
  if (part.empty() || part.front() == '.') return false;
  return std::all_of(part.begin(), part.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  });
}

bool IsHuggingFaceFolder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored) && fs::exists(path / "config.json", ignored);
}

/// A model that is a folder: a checkpoint, or the parts of a split GGUF.
bool IsModelFolder(const fs::path& path) {
  std::error_code ignored;
  return IsHuggingFaceFolder(path) || (fs::is_directory(path, ignored) && IsGgufFolder(path));
}

/// What a file or folder's name says after the model's: ".edgellm", ".gguf", ".model.json", "" for a folder; absent for
/// what is no model. Of a split GGUF whose parts lie beside other models the first part stands for all.
std::optional<std::string> ModelSuffix(const fs::path& path) {
  if (IsModelFolder(path)) return "";
  if (IsGgufPart(path)) {
    const auto part = ParsePartName(path.stem().native());
    if (part->number != 1) return std::nullopt;
    return PartEnding(1, part->count) + ".gguf";
  }
  for (const std::string_view suffix :
       {std::string_view(kModelFileSuffix), std::string_view(".gguf"), kManifestSuffix}) {
    if (path.native().size() > suffix.size() && path.native().ends_with(suffix)) return std::string(suffix);
  }
  return std::nullopt;
}

/// `from` takes the place of `to`. A folder cannot be renamed over another: both change places, and the old one goes.
void Replace(const fs::path& from, const fs::path& to) {
  if (rename(from.c_str(), to.c_str()) == 0) return;
  int failed = errno;
  if (failed == ENOTEMPTY || failed == EEXIST || failed == ENOTDIR || failed == EISDIR) {
    std::error_code ignored;
    if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0) {
      fs::remove_all(from, ignored);
      return;
    }
    // A file system that cannot exchange: for a moment the name has no model, but both are there.
    fs::path old = from;
    old += ".old";
    if (rename(to.c_str(), old.c_str()) == 0 && rename(from.c_str(), to.c_str()) == 0) {
      fs::remove_all(old, ignored);
      return;
    }
    failed = errno;
  }
  Fail(ErrorCode::kIo, "cannot move {} to {}: {}", from.string(), to.string(), std::strerror(failed));
}

int64_t UnixSeconds(fs::file_time_type time) {
  const auto system = std::chrono::file_clock::to_sys(time);
  return std::chrono::duration_cast<std::chrono::seconds>(system.time_since_epoch()).count();
}

/// A file, a folder, or all parts of a split GGUF.
void RemoveModel(const fs::path& path, std::error_code* failed) {
  if (!IsGgufPart(path)) {
    fs::remove_all(path, *failed);
    return;
  }
  // The first part goes first: from then on the others are no model.
  for (const auto& part : GgufPartsBeside(path)) {
    if (!*failed) fs::remove(part, *failed);
  }
}

StoredModel Describe(std::string name, const fs::path& path, bool bundled) {
  StoredModel model{std::move(name), path, 0, UnixSeconds(fs::last_write_time(path)), bundled};
  for (const auto& file : FilesOf(path)) model.bytes += fs::file_size(file);
  return model;
}

/// Adds what lies in `folder` under names that begin with `prefix`; names that are there already stay.
void Collect(const fs::path& folder, const std::string& prefix, int depth, bool bundled,
             std::map<std::string, StoredModel>* found) {
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(folder, failed)) {
    const fs::path& path = entry.path();
    const std::string file_name = path.filename().string();
    try {
      if (file_name.starts_with('.')) continue;  // unfinished pulls among others
      if (const auto suffix = ModelSuffix(path)) {
        const std::string stem = file_name.substr(0, file_name.size() - suffix->size());
        const std::string name = NameInStore(prefix + stem);
        if (!IsModelName(name)) continue;
        StoredModel model = Describe(name, path, bundled);
        const auto [place, added] = found->try_emplace(name, model);
        // Two forms of one name, where replacing one by the other was cut off: the newer one counts.
        if (!added && place->second.bundled == bundled && place->second.modified < model.modified)
          place->second = model;
      } else if (entry.is_directory()) {
        // A bundled model's folder holds its card and script too; its name is the file's.
        if (depth > 1) Collect(path, bundled ? prefix : prefix + file_name + "/", depth - 1, bundled, found);
      }
    } catch (const fs::filesystem_error&) {
      // Removed or replaced while we looked: it is not listed this time.
    }
  }
}

void DigestEnds(const fs::path& path, Sha256* digest) {
  constexpr size_t kEnd = 1 << 20;  // holds a model file's header, where the digest of every tensor stands
  MappedFile file(path);
  const auto bytes = file.bytes();
  const std::string label = fmt::format("{}\n", bytes.size());
  digest->Update(std::as_bytes(std::span(label)));
  digest->Update(bytes.first(std::min(kEnd, bytes.size())));
  if (bytes.size() > kEnd) digest->Update(bytes.last(std::min(kEnd, bytes.size() - kEnd)));
}

}  // namespace

std::vector<fs::path> FilesOf(const fs::path& path) {
  if (!fs::is_directory(path)) return IsGgufPart(path) ? GgufPartsBeside(path) : std::vector{path};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool IsManifestPath(const fs::path& path) {
  return path.native().size() > kManifestSuffix.size() && path.native().ends_with(kManifestSuffix);
}

std::string NameInStore(std::string_view name) {
  constexpr std::string_view kLatest = ":latest";
  if (name.ends_with(kLatest)) name.remove_suffix(kLatest.size());
  for (const std::string_view host : {"hf.co/", "huggingface.co/"}) {
    if (name.starts_with(host)) name.remove_prefix(host.size());
  }
  return std::string(name);
}

bool IsModelName(std::string_view name) {
  if (const size_t colon = name.find(':'); colon != std::string_view::npos) {
    if (!IsNamePart(name.substr(colon + 1))) return false;
    name = name.substr(0, colon);
  }
  for (int part = 0; part < kMostNameParts; ++part) {
    const size_t slash = name.find('/');
    if (!IsNamePart(name.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    name.remove_prefix(slash + 1);
  }
  return false;
}

ModelStore::ModelStore(fs::path folder, std::vector<fs::path> bundled)
    : folder_(std::move(folder)), bundled_(std::move(bundled)) {}

ModelStore ModelStore::Default() {
  fs::path folder;
  // OLLAMA_MODELS is left alone: what lies there has Ollama's own layout of blobs and manifests.
  if (const auto setting = FindSetting("MODELS"); setting && !setting->foreign) {
    folder = setting->value;
  } else if (const fs::path data = DataFolder(); !data.empty()) {
    folder = data / "models";
  }
  std::vector<fs::path> bundled;
  std::error_code failed;
  const fs::path executable = fs::read_symlink("/proc/self/exe", failed);
  if (!failed) {
    const fs::path bin = executable.parent_path();
    bundled.push_back(bin.parent_path() / "share" / "edgellm" / "models");
    // build/<preset>/bin in a source tree; elsewhere three levels up might be anything, so the tree must show its face.
    const fs::path root = bin.parent_path().parent_path().parent_path();
    if (fs::exists(root / "src" / "app", failed)) bundled.push_back(root / "models");
  }
  return ModelStore(std::move(folder), std::move(bundled));
}

std::vector<StoredModel> ModelStore::List() const {
  std::map<std::string, StoredModel> found;
  if (!folder_.empty()) Collect(folder_, "", kMostNameParts, false, &found);
  for (const auto& folder : bundled_) Collect(folder, "", 2, true, &found);
  std::vector<StoredModel> models;
  for (auto& [name, model] : found) models.push_back(std::move(model));
  return models;
}

std::optional<StoredModel> ModelStore::Find(std::string_view name) const {
  if (!IsModelName(name)) return std::nullopt;
  const std::string wanted = NameInStore(name);
  for (auto& model : List()) {
    if (model.name == wanted) return std::move(model);
  }
  return std::nullopt;
}

fs::path ModelStore::Resolve(std::string_view model) const {
  if (auto stored = Find(model)) return stored->path;
  std::error_code failed;
  if (!model.empty() && fs::exists(fs::path(model), failed)) return fs::path(model);
  Fail(ErrorCode::kNotFound,
       "model '{}' not found: it is neither a file nor a folder nor a name that `edgellm list` shows", model);
}

fs::path ModelStore::PathFor(std::string_view name) const {
  if (!IsModelName(name)) {
    Fail(ErrorCode::kInvalidArgument,
         "'{}' cannot be a model name: NAME[:TAG] of letters, digits, '.', '_' and '-', with up to two '/'", name);
  }
  if (folder_.empty()) Fail(ErrorCode::kEnvironment, "no folder for models: set EDGELLM_MODELS or HOME");
  return folder_ / (NameInStore(name) + std::string(kModelFileSuffix));
}

fs::path ModelStore::WorkFolder() const {
  if (folder_.empty()) Fail(ErrorCode::kEnvironment, "no folder for models: set EDGELLM_MODELS or HOME");
  return folder_ / ".pull";
}

void ModelStore::Publish(const fs::path& ready, std::string_view name) const {
  fs::path to = PathFor(name);
  const auto suffix = ModelSuffix(ready);
  if (!suffix) Fail(ErrorCode::kUnsupported, "{}: no model that the store can hold", ready.string());
  EDGELLM_CHECK(!IsGgufPart(ready), "the parts of a split model are published as a folder");
  to = folder_ / (NameInStore(name) + *suffix);
  std::error_code failed;
  for (fs::path above = to.parent_path(); above != folder_ && above.has_relative_path(); above = above.parent_path()) {
    if (IsModelFolder(above)) {
      Fail(ErrorCode::kInvalidArgument, "'{}' cannot be a name: {} is a model's folder", name, above.string());
    }
  }
  if (suffix->empty() && fs::is_directory(to, failed) && !IsModelFolder(to) && !fs::is_empty(to, failed)) {
    Fail(ErrorCode::kInvalidArgument, "'{}' cannot be a name: {} holds other models", name, to.string());
  }
  const auto replaced = Find(name);
  fs::create_directories(to.parent_path(), failed);
  // Its date is that of the publishing, or an older form of the model would be the newer one.
  fs::last_write_time(ready, fs::file_time_type::clock::now(), failed);
  Replace(ready, to);
  SyncToDisk(to.parent_path());
  // The name may have belonged to a model of another form, which must not go on hiding this one.
  if (replaced && !replaced->bundled && replaced->path != to) RemoveModel(replaced->path, &failed);
}

void ModelStore::Copy(std::string_view source, std::string_view destination) const {
  const fs::path from = Resolve(source);
  PathFor(destination);
  std::error_code failed;
  const bool parts = IsGgufPart(from);
  const bool folder = parts || fs::is_directory(from, failed);
  // A file is what its content says, whatever it is called. Parts of a split model become a folder.
  const std::string suffix = folder ? "" : ModelSuffix(from).value_or(std::string(kModelFileSuffix));
  if (fs::equivalent(from, folder_ / (NameInStore(destination) + suffix), failed)) return;
  const fs::path work = WorkFolder() / fmt::format("copy-{}", getpid());
  const fs::path partial = work / ("copy" + suffix);
  fs::create_directories(parts ? partial : work, failed);
  for (const auto& file : parts ? GgufPartsBeside(from) : std::vector{from}) {
    if (!failed) fs::copy(file, partial, fs::copy_options::recursive | fs::copy_options::overwrite_existing, failed);
  }
  try {
    if (failed) Fail(ErrorCode::kIo, "cannot copy {}: {}", from.string(), failed.message());
    Publish(partial, destination);
  } catch (...) {
    fs::remove_all(work, failed);
    throw;
  }
  fs::remove_all(work, failed);
}

void ModelStore::Remove(std::string_view name) const {
  const auto model = Find(name);
  std::error_code failed;
  if (!model) {
    if (IsModelName(name) && !folder_.empty() &&
        fs::remove_all(edgellm::WorkFolder(WorkFolder(), NameInStore(name)), failed) > 0 && !failed) {
      return;
    }
    Fail(ErrorCode::kNotFound, "model '{}' not found", name);
  }
  if (model->bundled) Fail(ErrorCode::kInvalidArgument, "model '{}' came with the program and is not removed", name);
  RemoveModel(model->path, &failed);
  if (failed) Fail(ErrorCode::kIo, "cannot remove {}: {}", model->path.string(), failed.message());
}

std::string LongId(const fs::path& path) {
  Sha256 digest;
  for (const auto& file : FilesOf(path)) DigestEnds(file, &digest);
  return digest.Finish();
}

std::string ShortId(const fs::path& path) {
  return LongId(path).substr(0, 12);
}

}  // namespace edgellm
