// See pull.h. A pull's folder: WORK/NAME/files (what will be the model), WORK/NAME/notes (how far its files are). The
// folder is locked while somebody works in it.
#include "hub/pull.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <set>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <thread>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"

namespace edgellm {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kAskEvery{100};
/// Kept free: a full disk is more than this program's trouble.
constexpr uint64_t kDiskReserve = uint64_t{64} << 20;

/// The folder of one pull, which one process at a time works in.
class LockedFolder {
 public:
  /// Waits for whoever has it; `waiting` is called meanwhile, and may throw.
  LockedFolder(fs::path path, const std::function<void()>& waiting) : path_(std::move(path)) {
    for (;;) {
      std::error_code failed;
      fs::create_directories(path_, failed);
      descriptor_ = open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (descriptor_ < 0) Fail(ErrorCode::kIo, "{}: cannot create: {}", path_.string(), std::strerror(errno));
      if (flock(descriptor_, LOCK_EX | LOCK_NB) == 0 && StillThere()) return;
      close(descriptor_);
      descriptor_ = -1;
      waiting();
      std::this_thread::sleep_for(kAskEvery);
    }
  }
  ~LockedFolder() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  LockedFolder(const LockedFolder&) = delete;
  LockedFolder& operator=(const LockedFolder&) = delete;

  const fs::path& path() const { return path_; }

  /// The work is done: nothing of it stays.
  void Remove() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

 private:
  /// Whoever had it before us may have removed it: then the lock is on a folder without a name.
  bool StillThere() const {
    struct stat ours {
    }, named{};
    return fstat(descriptor_, &ours) == 0 && stat(path_.c_str(), &named) == 0 && ours.st_ino == named.st_ino &&
           ours.st_dev == named.st_dev;
  }

  fs::path path_;
  int descriptor_ = -1;
};

void CheckRoom(uint64_t missing, const fs::path& folder) {
  struct statvfs disk {};
  if (statvfs(folder.c_str(), &disk) != 0) return;
  const uint64_t free = static_cast<uint64_t>(disk.f_bavail) * disk.f_frsize;
  if (missing == 0 || free >= missing + kDiskReserve) return;
  Fail(ErrorCode::kLimit, "{}: the disk is too full: {:.1f} MB are still to be fetched, {:.1f} MB are free",
       folder.string(), static_cast<double>(missing) / 1e6, static_cast<double>(free) / 1e6);
}

/// Leaves in `folder` only files whose names are in `wanted`.
void RemoveOthers(const fs::path& folder, const std::set<std::string>& wanted) {
  std::error_code failed;
  std::vector<fs::path> others;
  for (const auto& entry : fs::directory_iterator(folder, failed)) {
    if (!wanted.contains(entry.path().filename().string())) others.push_back(entry.path());
  }
  for (const auto& path : others) fs::remove_all(path, failed);
}

void CheckMagic(const fs::path& file) {
  if (file.extension() != ".gguf") return;
  const MappedFile mapped(file);
  if (mapped.bytes().size() >= 4 && std::memcmp(mapped.bytes().data(), "GGUF", 4) == 0) return;
  Fail(ErrorCode::kCorrupt, "{}: what the server sent is no GGUF file", file.filename().string());
}

class Puller {
 public:
  Puller(const PullPlace& place, const DownloadOptions& options, const PullListener& listener)
      : place_(place), options_(options), listener_(listener) {}

  bool Run(const HubSource& source) {
    LockedFolder folder(WorkFolder(place_.work, place_.name), [this] { Tell(PullStatus::Phase::kWaiting); });
    if (place_.existing) existing_ = place_.existing();
    Tell(PullStatus::Phase::kListing);
    plan_ = PlanPull(source, options_.fetch, [this] { Tell(PullStatus::Phase::kListing); });
    files_ = folder.path() / "files";
    notes_ = folder.path() / "notes";
    fs::create_directories(files_);
    RemoveStale();
    const auto missing = TakeExisting();
    if (missing.empty() && unchanged_) {
      folder.Remove();
      return false;
    }
    CheckRoom(MissingBytes(missing, files_, notes_), files_);
    Download(missing, files_, notes_, options_, [this](const DownloadProgress& progress) { OnDownload(progress); });
    for (const auto& file : plan_.files) CheckMagic(files_ / file.path);
    Tell(PullStatus::Phase::kPublishing);
    Publish();
    folder.Remove();
    return true;
  }

 private:
  void Tell(PullStatus::Phase phase) {
    PullStatus status;
    status.phase = phase;
    if (listener_) listener_(status);
  }

  /// What is there already counts in the totals that people see.
  void OnDownload(const DownloadProgress& progress) {
    if (!listener_) return;
    PullStatus status{progress.verifying ? PullStatus::Phase::kVerifying : PullStatus::Phase::kDownloading, progress};
    for (const auto& file : taken_) {
      status.progress.files.push_back(file);
      status.progress.done += file.done;
      status.progress.total += file.total;
    }
    listener_(status);
  }

  /// What an earlier pull of another version left.
  void RemoveStale() {
    std::set<std::string> files, notes;
    for (const auto& file : plan_.files) {
      files.insert(file.path);
      notes.insert(file.path + ".ranges");
    }
    RemoveOthers(files_, files);
    RemoveOthers(notes_, notes);
  }

  fs::path ExistingFile(const RemoteFile& file) const {
    if (!existing_) return {};
    std::error_code failed;
    const bool folder = fs::is_directory(*existing_, failed);
    if (folder != (plan_.form == ChosenFiles::Form::kFolder)) return {};
    return folder ? *existing_ / file.path : *existing_;
  }

  /// Files of the model that is here which are the same in the new one: linked instead of downloaded. The rest is
  /// returned.
  std::vector<RemoteFile> TakeExisting() {
    std::vector<RemoteFile> missing;
    for (const auto& file : plan_.files) {
      const fs::path existing = ExistingFile(file);
      if (existing.empty() || !IsSame(existing, file)) {
        missing.push_back(file);
        continue;
      }
      std::error_code failed;
      fs::remove(files_ / file.path, failed);
      fs::remove(notes_ / (file.path + ".ranges"), failed);
      fs::create_hard_link(existing, files_ / file.path, failed);
      if (failed) fs::copy_file(existing, files_ / file.path, failed);
      if (failed) {
        missing.push_back(file);
        continue;
      }
      taken_.push_back({file.path, file.digest, file.size.value_or(0), file.size.value_or(0)});
    }
    unchanged_ = missing.empty();
    return missing;
  }

  bool IsSame(const fs::path& existing, const RemoteFile& file) {
    std::error_code failed;
    if (file.digest.kind == FileDigest::Kind::kNone || !file.size) return false;
    if (!fs::is_regular_file(existing, failed) || fs::file_size(existing, failed) != *file.size || failed) return false;
    DigestStream digest(file.digest.kind, *file.size);
    const MappedFile mapped(existing);
    auto bytes = mapped.bytes();
    constexpr size_t kBlock = size_t{8} << 20;
    while (!bytes.empty()) {
      const auto block = bytes.first(std::min(kBlock, bytes.size()));
      digest.Update(block);
      bytes = bytes.subspan(block.size());
      Compared(file, *file.size - bytes.size());
    }
    return digest.Finish() == file.digest.hex;
  }

  void Compared(const RemoteFile& file, uint64_t done) {
    const auto now = Clock::now();
    if (!listener_ || now - told_ < kAskEvery) return;
    told_ = now;
    PullStatus status;
    status.phase = PullStatus::Phase::kComparing;
    status.progress.done = done;
    status.progress.total = *file.size;
    status.progress.files.push_back({file.path, file.digest, done, *file.size});
    listener_(status);
  }

  void Publish() {
    if (plan_.form == ChosenFiles::Form::kFile) {
      place_.publish(files_ / plan_.files.front().path);
    } else {
      SyncToDisk(files_);  // the names of the files in it
      place_.publish(files_);
    }
  }

  const PullPlace& place_;
  const DownloadOptions& options_;
  const PullListener& listener_;
  PullPlan plan_;
  std::optional<fs::path> existing_;
  fs::path files_, notes_;
  std::vector<FileProgress> taken_;
  bool unchanged_ = false;
  Clock::time_point told_{};
};

}  // namespace

fs::path WorkFolder(const fs::path& work, std::string_view name) {
  std::string folder(name);
  std::replace(folder.begin(), folder.end(), '/', '+');
  return work / folder;
}

bool Pull(const HubSource& source, const PullPlace& place, const DownloadOptions& options,
          const PullListener& listener) {
  try {
    return Puller(place, options, listener).Run(source);
  } catch (const fs::filesystem_error& error) {
    Fail(ErrorCode::kIo, "{}: {}", error.path1().string(), error.code().message());
  }
}

}  // namespace edgellm
