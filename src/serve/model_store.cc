// See model_store.h.
#include "serve/model_store.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/sha256.h"
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

std::string WithoutLatest(std::string_view name) {
  constexpr std::string_view kLatest = ":latest";
  if (name.ends_with(kLatest)) name.remove_suffix(kLatest.size());
  return std::string(name);
}

bool IsHuggingFaceFolder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored) && fs::exists(path / "config.json", ignored);
}

int64_t UnixSeconds(fs::file_time_type time) {
  const auto system = std::chrono::file_clock::to_sys(time);
  return std::chrono::duration_cast<std::chrono::seconds>(system.time_since_epoch()).count();
}

/// The files that make up a model, in name order.
std::vector<fs::path> FilesOf(const fs::path& path) {
  if (!fs::is_directory(path)) return {path};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
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
      if (IsHuggingFaceFolder(path)) {
        const std::string name = prefix + file_name;
        if (IsModelName(name) && !found->contains(name)) found->emplace(name, Describe(name, path, bundled));
      } else if (entry.is_directory()) {
        // A bundled model's folder holds its card and script too; its name is the file's.
        if (depth > 1) Collect(path, bundled ? prefix : prefix + file_name + "/", depth - 1, bundled, found);
      } else if (path.extension() == kModelFileSuffix || path.extension() == ".gguf") {
        const std::string name = prefix + WithoutLatest(path.stem().string());
        if (IsModelName(name) && !found->contains(name)) found->emplace(name, Describe(name, path, bundled));
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
  const std::string wanted = WithoutLatest(name);
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
  return folder_ / (WithoutLatest(name) + std::string(kModelFileSuffix));
}

void ModelStore::Copy(std::string_view source, std::string_view destination) const {
  const fs::path from = Resolve(source);
  fs::path to = PathFor(destination);
  if (fs::is_directory(from)) {
    to = folder_ / WithoutLatest(destination);
  } else if (from.extension() == ".gguf") {
    to.replace_extension(".gguf");
  }
  std::error_code failed;
  if (fs::equivalent(from, to, failed)) return;
  const auto replaced = Find(destination);
  fs::create_directories(to.parent_path(), failed);
  fs::path partial = to;
  partial += ".part";
  if (!failed) fs::copy(from, partial, fs::copy_options::recursive | fs::copy_options::overwrite_existing, failed);
  if (!failed && fs::is_directory(to)) fs::remove_all(to, failed);
  if (!failed) fs::rename(partial, to, failed);
  if (failed) {
    std::error_code ignored;
    fs::remove_all(partial, ignored);
    Fail(ErrorCode::kIo, "cannot copy {} to {}: {}", from.string(), to.string(), failed.message());
  }
  // The name may have belonged to a model of another form, which must not go on hiding this one.
  if (replaced && !replaced->bundled && replaced->path != to) fs::remove_all(replaced->path, failed);
}

void ModelStore::Remove(std::string_view name) const {
  const auto model = Find(name);
  if (!model) Fail(ErrorCode::kNotFound, "model '{}' not found", name);
  if (model->bundled) Fail(ErrorCode::kInvalidArgument, "model '{}' came with the program and is not removed", name);
  std::error_code failed;
  fs::remove_all(model->path, failed);
  if (failed) Fail(ErrorCode::kIo, "cannot remove {}: {}", model->path.string(), failed.message());
}

std::string ShortId(const fs::path& path) {
  Sha256 digest;
  for (const auto& file : FilesOf(path)) DigestEnds(file, &digest);
  return digest.Finish().substr(0, 12);
}

}  // namespace edgellm
