// See blob_store.h. In .blobs: "sha256-HEX" is a blob, "weights-HEX" is a folder, "making-…" one that is not ready,
// ".lock" is what Hold and Clean lock.
#include "serve/blob_store.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <set>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/one_line.h"
#include "base/sha256.h"
#include "hub/hub_answer.h"
#include "model/model_file.h"
#include "serve/model_manifest.h"

namespace edgellm {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFolder = ".blobs", kWeights = "weights-", kMaking = "making-";

void Touch(const fs::path& path) {
  std::error_code ignored;
  fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);
}

int OpenLock(const fs::path& folder) {
  std::error_code ignored;
  fs::create_directories(folder, ignored);
  const int descriptor = open((folder / ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) Fail(ErrorCode::kIo, "{}: cannot lock: {}", folder.string(), std::strerror(errno));
  return descriptor;
}

/// A folder that is ready takes its name; where that is there already, it holds the same.
void PublishFolder(const fs::path& folder, const fs::path& to) {
  SyncToDisk(folder);
  std::error_code failed;
  if (!fs::exists(to, failed)) fs::rename(folder, to, failed);
  if (failed && !fs::exists(to)) Fail(ErrorCode::kIo, "{}: {}", to.string(), failed.message());
  SyncToDisk(to.parent_path());
}

void LinkOrCopy(const fs::path& from, const fs::path& to) {
  std::error_code failed;
  fs::create_hard_link(from, to, failed);
  if (failed) fs::copy_file(from, to);
}

/// The names of weights that manifests refer to; false where a manifest cannot be read.
bool FindReferred(const fs::path& store, std::set<std::string>* referred) {
  std::error_code failed;
  for (auto it = fs::recursive_directory_iterator(store, failed); !failed && it != fs::end(it); it.increment(failed)) {
    if (it->path().filename().native().starts_with('.')) {
      it.disable_recursion_pending();
    } else if (IsManifestPath(it->path())) {
      try {
        const ModelManifest manifest = ParseManifest(ReadFile(it->path()), it->path().string());
        if (BlobStore::IsReference(manifest.base))
          referred->insert(std::next(fs::path(manifest.base).begin())->string());
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kNotFound) return false;  // removed meanwhile: it refers to nothing
      }
    }
  }
  return !failed;
}

/// When something in it, or it itself, was last written.
fs::file_time_type LastTouched(const fs::path& path) {
  std::error_code failed;
  auto time = fs::last_write_time(path, failed);
  for (auto it = fs::recursive_directory_iterator(path, failed); !failed && it != fs::end(it); it.increment(failed)) {
    const auto inner = it->last_write_time(failed);
    if (!failed) time = std::max(time, inner);
  }
  return time;
}

void RemoveOlder(const fs::path& folder, std::chrono::seconds kept,
                 const std::function<bool(const std::string& name)>& concerns) {
  const auto limit = fs::file_time_type::clock::now() - kept;
  std::error_code failed;
  std::vector<fs::path> old;
  for (const auto& entry : fs::directory_iterator(folder, failed)) {
    if (concerns(entry.path().filename().string()) && LastTouched(entry.path()) <= limit) old.push_back(entry.path());
  }
  for (const auto& path : old) fs::remove_all(path, failed);
}

}  // namespace

BlobStore::BlobStore(const ModelStore& store) : store_(store), folder_(store.folder() / kFolder) {}

bool BlobStore::IsReference(std::string_view base) {
  return base.starts_with(std::string(kFolder) + "/" + std::string(kWeights)) && base.find("..") == base.npos;
}

fs::path BlobStore::PathOf(const std::string& digest) const {
  std::string name = digest;
  std::replace(name.begin(), name.end(), ':', '-');
  return folder_ / name;
}

bool BlobStore::Has(const std::string& digest) const {
  if (!fs::exists(PathOf(digest))) return false;
  Touch(PathOf(digest));
  return true;
}

void BlobStore::Take(const fs::path& file, const std::string& digest) const {
  {
    const MappedFile mapped(file);
    if (const std::string found = "sha256:" + Sha256Hex(mapped.bytes()); found != digest) {
      Fail(ErrorCode::kInvalidArgument, "digest mismatch, expected \"{}\", got \"{}\"", digest, found);
    }
  }
  const fs::path blob = PathOf(digest);
  std::error_code failed;
  fs::create_directories(folder_, failed);
  SyncToDisk(file);
  fs::rename(file, blob, failed);
  if (failed) {
    // Of another file system: copied beside, then renamed.
    const ScratchFolder making(folder_, kMaking);
    fs::copy_file(file, making.path() / "blob");
    SyncToDisk(making.path() / "blob");
    fs::rename(making.path() / "blob", blob);
  }
  Touch(blob);
  SyncToDisk(folder_);
}

BlobStore::Hold::Hold(const BlobStore& blobs) : descriptor_(OpenLock(blobs.folder_)) {
  while (flock(descriptor_, LOCK_SH) != 0 && errno == EINTR) continue;
}

BlobStore::Hold::~Hold() {
  close(descriptor_);
}

std::string BlobStore::Assemble(const BlobFiles& files) const {
  BlobFiles sorted = files;
  std::sort(sorted.begin(), sorted.end());
  std::string key;
  for (const auto& [name, digest] : sorted) {
    if (!IsSafePath(name) || name.find('/') != name.npos) {
      Fail(ErrorCode::kInvalidArgument, "'{}' cannot be a file's name", OneLine(name));
    }
    if (!Has(digest)) Fail(ErrorCode::kInvalidArgument, "there is no blob {}: send it first", digest);
    key += name + "\n" + digest + "\n";
  }
  const std::string name = std::string(kWeights) + Sha256Hex(std::as_bytes(std::span(key)));
  const bool single = sorted.size() == 1;
  const std::string file = single && sorted[0].first.ends_with(kModelFileSuffix) ? "model.edgellm" : "model.gguf";
  const ScratchFolder making(folder_, kMaking);
  for (const auto& [own, digest] : sorted) LinkOrCopy(PathOf(digest), making.path() / (single ? file : own));
  PublishFolder(making.path(), folder_ / name);
  return std::string(kFolder) + "/" + name + (single ? "/" + file : "");
}

std::string BlobStore::Make(std::string_view file_name, const std::function<void(const fs::path&)>& write) const {
  const ScratchFolder making(folder_, kMaking);
  write(making.path() / file_name);
  // As no other: the name it was made under tells it from those that are there, the digest from those that were.
  const std::string key = making.path().string() + LongId(making.path());
  const std::string name = std::string(kWeights) + Sha256Hex(std::as_bytes(std::span(key)));
  PublishFolder(making.path(), folder_ / name);
  return fmt::format("{}/{}/{}", kFolder, name, file_name);
}

void BlobStore::Clean(std::chrono::seconds kept) const {
  if (store_.folder().empty()) return;
  RemoveOlder(store_.WorkFolder(), kept, [](const std::string& name) {
    // Pulls go on where they were: they stay until somebody removes them.
    return name.starts_with("create-") || name.starts_with("copy-") || name.starts_with(".upload-");
  });
  if (!fs::exists(folder_)) return;
  const int lock = OpenLock(folder_);
  std::set<std::string> referred;
  if (flock(lock, LOCK_EX | LOCK_NB) == 0) {
    if (FindReferred(store_.folder(), &referred)) {
      // While nobody holds, no other weights are waited for.
      RemoveOlder(folder_, std::chrono::seconds(0), [&](const std::string& name) {
        return name.starts_with(kMaking) || (name.starts_with(kWeights) && !referred.contains(name));
      });
    }
    RemoveOlder(folder_, kept, [](const std::string& name) { return name.starts_with("sha256-"); });
  }
  close(lock);
}

}  // namespace edgellm
