// See partial_file.h.
#include "hub/partial_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/sha256.h"

namespace edgellm {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFirstLine = "edgellm download 1";
constexpr size_t kMostNoteBytes = size_t{16} << 20;

[[noreturn]] void FailErrno(const fs::path& path, const char* action) {
  const int cause = errno;
  Fail(ErrorCode::kIo, "{}: cannot {}: {}", path.string(), action, std::strerror(cause));
}

std::string Checksum(std::string_view text) {
  return Sha256Hex(std::as_bytes(std::span(text.data(), text.size())));
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    if (end == text.npos) break;  // a line that is not whole
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

std::string SizeText(std::optional<uint64_t> size) {
  return size ? std::to_string(*size) : "?";
}

}  // namespace

PartialFile::PartialFile(fs::path path, fs::path note, std::string identity, std::optional<uint64_t> size)
    : path_(std::move(path)), note_(std::move(note)), identity_(std::move(identity)), size_(size) {
  std::error_code failed;
  fs::create_directories(path_.parent_path(), failed);
  fs::create_directories(note_.parent_path(), failed);
  descriptor_ = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) FailErrno(path_, "create");
  ReadNote();
}

PartialFile::~PartialFile() {
  close(descriptor_);
}

void PartialFile::ReadNote() {
  std::error_code failed;
  if (!fs::exists(note_, failed)) return;
  try {
    const auto lines = Lines(ReadFile(note_, kMostNoteBytes));
    if (lines.size() != 5 || lines[0] != kFirstLine || lines[1] != identity_ || lines[2] != SizeText(size_)) return;
    if (Checksum(lines[1] + "\n" + lines[2] + "\n" + lines[3]) != lines[4]) return;
    const RangeSet found = RangeSet::Parse(lines[3]);
    struct stat status {};
    if (fstat(descriptor_, &status) != 0) return;
    // What the file is too short for was never written, or was cut off.
    ranges_ = found;
    ranges_.Remove({static_cast<uint64_t>(status.st_size), UINT64_MAX});
    if (size_) ranges_.Remove({*size_, UINT64_MAX});
  } catch (const Error&) {
    ranges_.Clear();  // damaged: the download begins anew
  }
}

std::optional<uint64_t> PartialFile::size() const {
  const std::lock_guard lock(mutex_);
  return size_;
}

void PartialFile::SetSize(uint64_t size) {
  const std::lock_guard lock(mutex_);
  size_ = size;
  ranges_.Remove({size, UINT64_MAX});
}

void PartialFile::Write(uint64_t offset, std::string_view bytes) {
  WriteAt(descriptor_, offset, std::as_bytes(std::span(bytes.data(), bytes.size())), path_);
  const std::lock_guard lock(mutex_);
  ranges_.Add({offset, offset + bytes.size()});
  unsaved_ = true;
}

std::string PartialFile::Read(uint64_t offset, size_t count) const {
  std::string bytes(count, '\0');
  size_t got = 0;
  while (got < count) {
    const ssize_t now = pread(descriptor_, bytes.data() + got, count - got, static_cast<off_t>(offset + got));
    if (now < 0 && errno == EINTR) continue;
    if (now < 0) FailErrno(path_, "read");
    if (now == 0) break;
    got += static_cast<size_t>(now);
  }
  bytes.resize(got);
  return bytes;
}

RangeSet PartialFile::Ranges() const {
  const std::lock_guard lock(mutex_);
  return ranges_;
}

uint64_t PartialFile::done() const {
  const std::lock_guard lock(mutex_);
  return ranges_.total();
}

uint64_t PartialFile::prefix() const {
  const std::lock_guard lock(mutex_);
  return ranges_.Prefix();
}

bool PartialFile::complete() const {
  const std::lock_guard lock(mutex_);
  return size_ && ranges_.Prefix() == *size_;
}

void PartialFile::Save() {
  std::string body;
  {
    const std::lock_guard lock(mutex_);
    if (!unsaved_) return;
    unsaved_ = false;
    body = identity_ + "\n" + SizeText(size_) + "\n" + ranges_.ToText();
  }
  // In this order: a note of bytes that a power cut then takes away would be believed.
  if (fdatasync(descriptor_) != 0) FailErrno(path_, "write");
  FileWriter file(note_);
  file.Write(fmt::format("{}\n{}\n{}\n", kFirstLine, body, Checksum(body)));
  file.Commit();
}

void PartialFile::Reset() {
  const std::lock_guard lock(mutex_);
  ranges_.Clear();
  unsaved_ = true;
  if (ftruncate(descriptor_, 0) != 0) FailErrno(path_, "write");
}

void PartialFile::Seal() {
  uint64_t size = 0;
  {
    const std::lock_guard lock(mutex_);
    EDGELLM_CHECK(size_ && ranges_.Prefix() == *size_, "a file is sealed that is not complete");
    size = *size_;
  }
  if (ftruncate(descriptor_, static_cast<off_t>(size)) != 0 || fsync(descriptor_) != 0) FailErrno(path_, "write");
  Save();
}

}  // namespace edgellm
