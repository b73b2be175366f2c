// Files: mapped for reading, read whole, written so that a reader never sees half of one.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace edgellm {

/// A regular file mapped read-only. Throws Error (kNotFound, kIo) naming the path and the cause.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

/// The whole file as bytes in a string. Throws Error (kNotFound, kIo, kLimit when longer than max_bytes).
std::string ReadFile(const std::filesystem::path& path, size_t max_bytes = size_t{1} << 30);

/// Writes all of `bytes` at `offset` of a file that is open for writing. Throws Error(kIo) naming `path`.
void WriteAt(int descriptor, size_t offset, std::span<const std::byte> bytes, const std::filesystem::path& path);

/// Standard input until its end. Throws Error(kLimit) past max_bytes.
std::string ReadStandardInput(size_t max_bytes = size_t{1} << 30);

/// Writes to a temporary file beside `path` and renames it over `path` in Commit(); without Commit nothing remains.
class FileWriter {
 public:
  explicit FileWriter(const std::filesystem::path& path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void Write(std::span<const std::byte> bytes);
  void Write(std::string_view text) { Write(std::as_bytes(std::span(text.data(), text.size()))); }
  /// Overwrites bytes that were written before.
  void WriteAt(size_t offset, std::span<const std::byte> bytes);
  size_t position() const { return position_; }
  void Commit();

 private:
  std::filesystem::path path_, temporary_;
  int descriptor_ = -1;
  size_t position_ = 0;
};

}  // namespace edgellm
