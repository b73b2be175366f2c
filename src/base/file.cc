// See file.h.
#include "base/file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

namespace edgellm {
namespace {

[[noreturn]] void FailErrno(const std::filesystem::path& path, const char* action) {
  const int cause = errno;
  Fail(cause == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: cannot {}: {}", path.string(), action,
       std::strerror(cause));
}

/// Opens a regular file for reading and tells its size.
int OpenRegular(const std::filesystem::path& path, size_t* size) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) FailErrno(path, "open");
  struct stat status {};
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(descriptor);
    if (S_ISDIR(status.st_mode)) Fail(ErrorCode::kInvalidArgument, "{}: is a directory, not a file", path.string());
    Fail(ErrorCode::kInvalidArgument, "{}: is not a regular file", path.string());
  }
  *size = static_cast<size_t>(status.st_size);
  return descriptor;
}

/// Reads until the end of `descriptor` or `max_bytes` + 1 bytes.
std::string ReadAll(int descriptor, const std::filesystem::path& path, size_t max_bytes) {
  std::string text;
  char block[1 << 16];
  for (;;) {
    const ssize_t got = read(descriptor, block, sizeof block);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) FailErrno(path, "read");
    if (got == 0) return text;
    text.append(block, static_cast<size_t>(got));
    if (text.size() > max_bytes) {
      Fail(ErrorCode::kLimit, "{}: longer than the {} bytes that are accepted", path.string(), max_bytes);
    }
  }
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const int descriptor = OpenRegular(path, &size_);
  if (size_ > 0) {
    void* pages = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (pages == MAP_FAILED) {
      close(descriptor);
      FailErrno(path, "map");
    }
    data_ = static_cast<const std::byte*>(pages);
  }
  close(descriptor);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

std::string ReadFile(const std::filesystem::path& path, size_t max_bytes) {
  size_t size = 0;
  const int descriptor = OpenRegular(path, &size);
  try {
    std::string text = ReadAll(descriptor, path, max_bytes);
    close(descriptor);
    return text;
  } catch (...) {
    close(descriptor);
    throw;
  }
}

std::string ReadStandardInput(size_t max_bytes) {
  return ReadAll(STDIN_FILENO, "standard input", max_bytes);
}

void WriteAt(int descriptor, size_t offset, std::span<const std::byte> bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t wrote = pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) FailErrno(path, "write");
    bytes = bytes.subspan(static_cast<size_t>(wrote));
    offset += static_cast<size_t>(wrote);
  }
}

FileWriter::FileWriter(const std::filesystem::path& path) : path_(path), temporary_(path) {
  temporary_ += fmt::format(".{}.part", getpid());
  descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) FailErrno(path, "create");
}

FileWriter::~FileWriter() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  unlink(temporary_.c_str());
}

void FileWriter::Write(std::span<const std::byte> bytes) {
  WriteAt(position_, bytes);
  position_ += bytes.size();
}

void FileWriter::WriteAt(size_t offset, std::span<const std::byte> bytes) {
  edgellm::WriteAt(descriptor_, offset, bytes, path_);
}

void FileWriter::Commit() {
  // The rename must not reach the disk before the bytes do, or a power cut leaves an empty file under the final name.
  if (fsync(descriptor_) != 0) FailErrno(path_, "write");
  close(descriptor_);
  descriptor_ = -1;
  if (rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int cause = errno;
    unlink(temporary_.c_str());
    errno = cause;
    FailErrno(path_, "create");
  }
}

}  // namespace edgellm
