// Several files by HTTP into one folder: pieces of them side by side, resumed where an earlier run stopped, tried again
// where that may help, and checked against their digests while they come. Knows no hub and no store.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "hub/fetch.h"
#include "hub/file_digest.h"

namespace edgellm {

struct RemoteFile {
  std::string path;  // where it belongs in the folder; checked by the caller (IsSafePath)
  std::string url;
  std::optional<uint64_t> size;  // absent: the server does not say; then it comes in one piece
  FileDigest digest;
  std::string version;  // tells contents apart where there is no digest: an ETag, a commit
  bool ranges = true;   // the server is known to send parts of it
};

struct DownloadOptions {
  FetchOptions fetch;
  int connections = 8;
  uint64_t piece = uint64_t{16} << 20;
};

struct FileProgress {
  std::string path;
  FileDigest digest;
  uint64_t done = 0, total = 0;  // total is 0 while it is not known
};

struct DownloadProgress {
  uint64_t done = 0, total = 0;  // of all files
  bool verifying = false;        // all bytes are there, and are read once more
  std::vector<FileProgress> files;
};

/// Called a few times a second in the calling thread; throwing stops the download, and what is there stays for the
/// next time.
using DownloadListener = std::function<void(const DownloadProgress&)>;

/// Downloads into `folder`, with notes of what is there in `notes` (both are created, both are to be given again to
/// resume). When it returns, every file is complete, has the digest that was asked for, and is on the disk.
/// Throws Error: kIo (no connection, too many failures), kNotFound and kInvalidArgument (refused by the server, with
/// what to do), kCorrupt (another size or digest than expected, twice).
void Download(const std::vector<RemoteFile>& files, const std::filesystem::path& folder,
              const std::filesystem::path& notes, const DownloadOptions& options, const DownloadListener& listener);

/// Bytes that a Download with these arguments still has to fetch.
uint64_t MissingBytes(const std::vector<RemoteFile>& files, const std::filesystem::path& folder,
                      const std::filesystem::path& notes);

}  // namespace edgellm
