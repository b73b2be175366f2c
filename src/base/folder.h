// Folders in which something is made before a rename publishes it, and names that last. Not: files (base/file.h).
#pragma once

#include <filesystem>
#include <string_view>

namespace edgellm {

/// A new folder `parent`/`prefix`XXXXXX; makes `parent` where it is not there. It goes with all that is in it, unless it was
/// renamed meanwhile. Throws Error(kIo) naming the parent and the cause.
class ScratchFolder {
 public:
  ScratchFolder(const std::filesystem::path& parent, std::string_view prefix);
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Brings a file, or the names in a folder, to the disk: names of files reach it only with the folder itself. As well as the
/// system can: a failure is not told.
void SyncToDisk(const std::filesystem::path& path);

}  // namespace edgellm
