// Token texts by id and ids by text: one block of bytes, one open-addressed table. Holes between ids are allowed.
// Knows nothing of what a text means (bytes, the printable byte alphabet, ▁): its users do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace edgellm::text {

/// Ids at or above this are refused wherever a file names one: four times the largest vocabulary in use, and small
/// enough that a damaged id cannot make us allocate gigabytes.
inline constexpr int32_t kMaxTokenId = 1 << 20;

class Vocabulary {
 public:
  enum class AddResult { kAdded, kIdTaken, kTextTaken };

  void Reserve(size_t tokens, size_t text_bytes);

  /// `id` must lie in [0, kMaxTokenId). A token that is not `findable` has a text but Find never returns it.
  AddResult Add(int32_t id, std::string_view text, bool findable = true);

  /// The id of a findable text, or -1.
  int32_t Find(std::string_view text) const;

  bool Has(int32_t id) const {
    return id >= 0 && static_cast<size_t>(id) < entries_.size() && entries_[static_cast<size_t>(id)].length >= 0;
  }
  /// Empty for an id that has no token.
  std::string_view Text(int32_t id) const {
    if (!Has(id)) return {};
    const Entry& entry = entries_[static_cast<size_t>(id)];
    return std::string_view(bytes_).substr(entry.offset, static_cast<size_t>(entry.length));
  }
  int32_t size() const { return static_cast<int32_t>(entries_.size()); }  // one past the highest id
  size_t text_bytes() const { return bytes_.size(); }

 private:
  struct Entry {
    uint32_t offset = 0;
    int32_t length = -1;  // negative: a hole
  };
  struct Slot {
    uint32_t hash = 0;
    int32_t id = -1;
  };
  size_t FindSlot(std::string_view text, uint32_t hash) const;
  void Rehash(size_t slots);

  std::string bytes_;
  std::vector<Entry> entries_;
  std::vector<Slot> slots_;  // a power of two of them, at most half in use
  size_t findable_ = 0;
};

}  // namespace edgellm::text
