// A file that is being downloaded in pieces, and the note beside it of which bytes are there already: what a killed run
// goes on from. Knows no network.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "hub/range_set.h"

namespace edgellm {

/// One thread writes; any other may ask and save.
class PartialFile {
 public:
  /// Opens or creates `path`. What an earlier run left is kept when its note at `note` has the same identity (one line:
  /// what content is meant) and size; otherwise it begins anew. Throws Error(kIo).
  PartialFile(std::filesystem::path path, std::filesystem::path note, std::string identity,
              std::optional<uint64_t> size);
  ~PartialFile();
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::optional<uint64_t> size() const;
  void SetSize(uint64_t size);

  void Write(uint64_t offset, std::string_view bytes);
  /// Up to `count` bytes from `offset`, which must be there.
  std::string Read(uint64_t offset, size_t count) const;

  RangeSet Ranges() const;
  uint64_t done() const;    // bytes that are there
  uint64_t prefix() const;  // of these, without a gap from the beginning
  bool complete() const;

  /// Puts the bytes on the disk, then the note of them; nothing where nothing is new.
  void Save();
  /// Forgets all bytes.
  void Reset();
  /// The file is complete: it and its note are on the disk when this returns.
  void Seal();

 private:
  void ReadNote();

  std::filesystem::path path_, note_;
  std::string identity_;
  int descriptor_ = -1;
  mutable std::mutex mutex_;  // guards what follows
  std::optional<uint64_t> size_;
  RangeSet ranges_;
  bool unsaved_ = false;
};

}  // namespace edgellm
