// Digests of files while they are downloaded: a thread follows what is there without a gap, so that little is left to
// read when the last byte has come. It also saves how far the files are, now and then. Compares nothing.
#pragma once

#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "hub/file_digest.h"
#include "hub/partial_file.h"

namespace edgellm {

class Verifier {
 public:
  struct File {
    PartialFile* file = nullptr;
    FileDigest::Kind kind = FileDigest::Kind::kNone;
  };

  /// The files must outlive it.
  explicit Verifier(std::vector<File> files);
  /// Saves once more.
  ~Verifier();
  Verifier(const Verifier&) = delete;
  Verifier& operator=(const Verifier&) = delete;

  /// The digest of a whole file; absent as long as it is not known. Throws what went wrong on the thread.
  std::optional<std::string> Result(size_t index);
  /// How many bytes of a file have been read.
  uint64_t Read(size_t index) const;
  /// The file has been reset: its digest begins anew.
  void Restart(size_t index);

 private:
  struct Following {
    std::optional<DigestStream> stream;
    uint64_t read = 0;
    int generation = 0;
    std::optional<std::string> result;
  };

  void Run();
  bool FollowOne(size_t index);
  void SaveAll();

  std::vector<File> files_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::vector<Following> following_;
  std::exception_ptr failure_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace edgellm
