// See vocabulary.h.
#include "text/vocabulary.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "base/error.h"

namespace edgellm::text {
namespace {

uint32_t Hash(std::string_view text) {
  const uint64_t hash = std::hash<std::string_view>()(text);
  return static_cast<uint32_t>(hash ^ (hash >> 32));
}

}  // namespace

void Vocabulary::Reserve(size_t tokens, size_t text_bytes) {
  bytes_.reserve(text_bytes);
  entries_.reserve(tokens);
  if (slots_.size() < 2 * tokens) Rehash(std::bit_ceil(2 * tokens));
}

Vocabulary::AddResult Vocabulary::Add(int32_t id, std::string_view text, bool findable) {
  EDGELLM_CHECK(id >= 0 && id < kMaxTokenId, "token ids are checked where they are read");
  if (Has(id)) return AddResult::kIdTaken;
  if (findable) {
    if (slots_.size() < 2 * (findable_ + 1)) Rehash(std::max<size_t>(64, 2 * slots_.size()));
    const uint32_t hash = Hash(text);
    Slot& slot = slots_[FindSlot(text, hash)];
    if (slot.id >= 0) return AddResult::kTextTaken;
    slot = {hash, id};
    ++findable_;
  }
  if (bytes_.size() + text.size() > UINT32_MAX) Fail(ErrorCode::kLimit, "a vocabulary's texts exceed 4 GiB");
  if (static_cast<size_t>(id) >= entries_.size()) entries_.resize(static_cast<size_t>(id) + 1);
  entries_[static_cast<size_t>(id)] = {static_cast<uint32_t>(bytes_.size()), static_cast<int32_t>(text.size())};
  bytes_.append(text);
  return AddResult::kAdded;
}

int32_t Vocabulary::Find(std::string_view text) const {
  return slots_.empty() ? -1 : slots_[FindSlot(text, Hash(text))].id;
}

/// The slot that holds `text`, else the empty one where it would go.
size_t Vocabulary::FindSlot(std::string_view text, uint32_t hash) const {
  const size_t mask = slots_.size() - 1;
  size_t at = hash & mask;
  while (slots_[at].id >= 0 && !(slots_[at].hash == hash && Text(slots_[at].id) == text)) at = (at + 1) & mask;
  return at;
}

void Vocabulary::Rehash(size_t slots) {
  std::vector<Slot> old(slots);
  old.swap(slots_);
  const size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.id < 0) continue;
    size_t at = slot.hash & mask;
    while (slots_[at].id >= 0) at = (at + 1) & mask;
    slots_[at] = slot;
  }
}

}  // namespace edgellm::text
