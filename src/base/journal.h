// A file of named records that long work leaves behind itself, so that a killed run can go on where it was. A record
// that was not written whole, or was damaged later, ends what is read: it and all that follow are forgotten. Knows
// nothing of what the records mean.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"

namespace edgellm {

class Journal {
 public:
  struct Record {
    std::string text;
    std::span<const std::byte> bytes;   // begins at a multiple of 64 in memory
    std::shared_ptr<const void> owner;  // keeps `bytes` alive: the file, mapped
  };
  /// What was found of an earlier run.
  enum class Found { kNothing, kRecords, kDamagedRecords, kForeign };

  /// Opens or creates `path`. `identity` (one line) says what work the records belong to; records of other work, or a
  /// file that is no journal, are dropped. One process may hold a journal at a time. Throws Error(kIo).
  Journal(const std::filesystem::path& path, const std::string& identity);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  Found found() const { return found_; }
  size_t size() const { return records_.size(); }
  /// Null when absent.
  const Record* Find(const std::string& name) const;
  /// Writes a record, on the disk when this returns, and maps it. `parts` are joined, each begun at a multiple of 64.
  const Record& Append(const std::string& name, const std::string& text,
                       std::span<const std::span<const std::byte>> parts);
  /// Deletes the file; records stay readable as long as they are owned.
  void Remove();

 private:
  void Write(std::span<const std::byte> bytes);
  /// Reads records from `offset` on and returns where the last whole one ends.
  size_t ReadRecords(const std::shared_ptr<const MappedFile>& file, size_t offset);

  std::filesystem::path path_;
  int descriptor_ = -1;
  size_t end_ = 0;
  Found found_ = Found::kNothing;
  std::map<std::string, Record> records_;
};

}  // namespace edgellm
