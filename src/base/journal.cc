// See journal.h. The file: a first line, then records. A record: three lengths (name, text, bytes; 64 bits each,
// little-endian), name, text, zeros up to a multiple of 64, the bytes and again zeros up to one, then the SHA-256 of
// all this in 64 hexadecimal digits. So every record begins at a multiple of 64.
#include "base/journal.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"
#include "base/sha256.h"

namespace edgellm {
namespace {

constexpr size_t kAlignment = 64, kDigestBytes = 64;
using Lengths = std::array<uint64_t, 3>;

[[noreturn]] void FailErrno(const std::filesystem::path& path, const char* action) {
  Fail(ErrorCode::kIo, "{}: cannot {}: {}", path.string(), action, std::strerror(errno));
}

size_t Padding(size_t bytes) {
  return (kAlignment - bytes % kAlignment) % kAlignment;
}

std::string FirstLine(const std::string& identity) {
  std::string line = "EdgeLLM journal 1 " + identity;
  line.append(Padding(line.size() + 1), ' ');
  return line + '\n';
}

}  // namespace

Journal::Journal(const std::filesystem::path& path, const std::string& identity) : path_(path) {
  descriptor_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) FailErrno(path, "create");
  if (flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    close(descriptor_);
    Fail(ErrorCode::kIo, "{}: another process is writing it", path.string());
  }
  try {
    const auto file = std::make_shared<const MappedFile>(path);
    const std::string line = FirstLine(identity);
    const auto bytes = file->bytes();
    if (bytes.size() >= line.size() && std::memcmp(bytes.data(), line.data(), line.size()) == 0) {
      end_ = ReadRecords(file, line.size());
      found_ = end_ != bytes.size() ? Found::kDamagedRecords : size() == 0 ? Found::kNothing : Found::kRecords;
    } else if (!bytes.empty()) {
      found_ = Found::kForeign;
    }
    if (ftruncate(descriptor_, static_cast<off_t>(end_)) != 0) FailErrno(path, "write");
    if (end_ == 0) Write(std::as_bytes(std::span(line)));
  } catch (...) {
    close(descriptor_);
    throw;
  }
}

Journal::~Journal() {
  close(descriptor_);
}

const Journal::Record* Journal::Find(const std::string& name) const {
  const auto found = records_.find(name);
  return found == records_.end() ? nullptr : &found->second;
}

void Journal::Write(std::span<const std::byte> bytes) {
  WriteAt(descriptor_, end_, bytes, path_);
  end_ += bytes.size();
}

size_t Journal::ReadRecords(const std::shared_ptr<const MappedFile>& file, size_t offset) {
  const auto bytes = file->bytes();
  for (;;) {
    Lengths lengths;
    size_t left = bytes.size() - offset;
    if (left < sizeof(lengths)) return offset;
    std::memcpy(lengths.data(), bytes.data() + offset, sizeof(lengths));
    // Each below what is left, so that their sum cannot wrap.
    for (const uint64_t length : lengths) {
      if (length > left) return offset;
    }
    size_t head = sizeof(lengths) + lengths[0] + lengths[1];
    head += Padding(head);
    const size_t whole = head + lengths[2] + Padding(lengths[2]) + kDigestBytes;
    if (whole > left) return offset;
    const auto record = bytes.subspan(offset, whole);
    const std::string_view text(reinterpret_cast<const char*>(record.data()), whole);
    if (Sha256Hex(record.first(whole - kDigestBytes)) != text.substr(whole - kDigestBytes)) return offset;
    const std::string name(text.substr(sizeof(lengths), lengths[0]));
    records_[name] = {std::string(text.substr(sizeof(lengths) + lengths[0], lengths[1])),
                      record.subspan(head, lengths[2]), file};
    offset += whole;
  }
}

const Journal::Record& Journal::Append(const std::string& name, const std::string& text,
                                       std::span<const std::span<const std::byte>> parts) {
  const size_t begin = end_;
  constexpr std::array<std::byte, kAlignment> kZeros{};
  Sha256 digest;
  const auto write = [&](std::span<const std::byte> bytes) {
    digest.Update(bytes);
    Write(bytes);
  };
  const auto pad = [&](size_t bytes) { write(std::span(kZeros).first(Padding(bytes))); };
  Lengths lengths = {name.size(), text.size(), 0};
  for (const auto& part : parts) lengths[2] += Padding(lengths[2]) + part.size();
  write(std::as_bytes(std::span(lengths)));
  write(std::as_bytes(std::span(name)));
  write(std::as_bytes(std::span(text)));
  pad(sizeof(lengths) + name.size() + text.size());
  for (const auto& part : parts) {
    write(part);
    pad(part.size());
  }
  const std::string hexadecimal = digest.Finish();
  Write(std::as_bytes(std::span(hexadecimal)));
  if (fdatasync(descriptor_) != 0) FailErrno(path_, "write");
  if (ReadRecords(std::make_shared<const MappedFile>(path_), begin) != end_) {
    Fail(ErrorCode::kIo, "{}: what was written to it cannot be read back", path_.string());
  }
  return records_.at(name);
}

void Journal::Remove() {
  unlink(path_.c_str());
}

}  // namespace edgellm
