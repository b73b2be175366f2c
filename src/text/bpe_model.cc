// See bpe_model.h.
#include "text/bpe_model.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <iterator>
#include <tuple>

#include "base/error.h"
#include "base/utf8.h"

namespace edgellm::text {
namespace {

constexpr uint32_t kNoRank = UINT32_MAX;

/// Up to this many symbols, looking through all pairs beats keeping a heap (most words have fewer than ten).
constexpr size_t kShort = 40;

size_t HashPair(int32_t left, int32_t right) {
  const uint64_t pair = uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  return static_cast<size_t>((pair * 0x9E3779B97F4A7C15u) >>
                             24);  // Fibonacci hashing: the high bits are the mixed ones
}

}  // namespace

MergeTable::MergeTable(std::span<const Merge> merges) {
  slots_.resize(std::bit_ceil(std::max<size_t>(16, merges.size() + merges.size() / 2)));
  const size_t mask = slots_.size() - 1;
  for (const Merge& merge : merges) {
    size_t at = HashPair(merge.left, merge.right) & mask;
    while (slots_[at].left >= 0 && !(slots_[at].left == merge.left && slots_[at].right == merge.right)) {
      at = (at + 1) & mask;
    }
    if (slots_[at].left >= 0) continue;
    slots_[at] = merge;
    ++size_;
  }
}

const Merge* MergeTable::Find(int32_t left, int32_t right) const {
  if (size_ == 0) return nullptr;
  const size_t mask = slots_.size() - 1;
  for (size_t at = HashPair(left, right) & mask; slots_[at].left >= 0; at = (at + 1) & mask) {
    if (slots_[at].left == left && slots_[at].right == right) return &slots_[at];
  }
  return nullptr;
}

std::vector<Merge> MergeTable::Sorted() const {
  std::vector<Merge> merges;
  merges.reserve(size_);
  std::copy_if(slots_.begin(), slots_.end(), std::back_inserter(merges), [](const Merge& m) { return m.left >= 0; });
  std::sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    return std::tie(a.rank, a.left, a.right) < std::tie(b.rank, b.left, b.right);
  });
  return merges;
}

BpeModel::BpeModel(Vocabulary vocabulary, std::span<const Merge> merges, const Options& options)
    : vocabulary_(std::move(vocabulary)), merges_(merges), options_(options) {
  if (!options_.byte_level && !options_.ignore_merges) ChooseBoundary();
}

/// SentencePiece models see a whole text as one piece. Where no token has a space mark after anything but space marks,
/// words cannot influence one another, and cutting the text into words gives the same ids from short, cache-warm
/// pieces.
void BpeModel::ChooseBoundary() {
  for (const std::string_view mark : {"\u2581", " "}) {
    if (vocabulary_.Find(mark) < 0) continue;
    bool separates = true;
    for (const Merge& merge : merges_.Sorted()) {
      const std::string_view token = vocabulary_.Text(merge.result);
      size_t marks = 0;
      while (token.substr(marks).starts_with(mark)) marks += mark.size();
      if (token.find(mark, marks) != std::string_view::npos) {
        separates = false;
        break;
      }
    }
    if (separates) {
      boundary_ = mark;
      return;
    }
  }
}

void BpeModel::Encode(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const {
  if (options_.ignore_merges) {
    if (const int32_t whole = vocabulary_.Find(piece); whole >= 0) {
      ids.push_back(whole);
      return;
    }
  }
  if (boundary_.empty()) return EncodeUnit(piece, scratch, ids);
  size_t begin = 0;
  while (begin < piece.size()) {
    size_t end = begin;
    while (piece.substr(end).starts_with(boundary_)) end += boundary_.size();
    end = std::min(piece.find(boundary_, end), piece.size());
    EncodeUnit(piece.substr(begin, end - begin), scratch, ids);
    begin = end;
  }
}

void BpeModel::EncodeUnit(std::string_view unit, BpeScratch& scratch, std::vector<int32_t>& ids) const {
  scratch.ids.clear();
  AppendSymbols(unit, scratch.ids);
  if (scratch.ids.size() > UINT32_MAX / 2) Fail(ErrorCode::kLimit, "a text of {} bytes is too long", unit.size());
  if (scratch.ids.size() <= kShort) {
    MergeShort(scratch);
  } else {
    MergeLong(scratch);
  }
  ids.insert(ids.end(), scratch.ids.begin(), scratch.ids.end());
}

void BpeModel::AppendSymbols(std::string_view unit, std::vector<int32_t>& symbols) const {
  const auto append_unknown = [&] {
    if (options_.unknown < 0) return;
    if (options_.fuse_unknown && !symbols.empty() && symbols.back() == options_.unknown) return;
    symbols.push_back(options_.unknown);
  };
  const auto byte_id = [&](char byte) { return options_.byte_ids[static_cast<uint8_t>(byte)]; };
  if (options_.byte_level) {
    for (const char byte : unit) {
      if (const int32_t id = byte_id(byte); id >= 0) {
        symbols.push_back(id);
      } else {
        append_unknown();
      }
    }
    return;
  }
  while (!unit.empty()) {
    const auto length = static_cast<size_t>(utf8::Decode(unit).length);
    const std::string_view character = unit.substr(0, length);
    unit.remove_prefix(length);
    if (const int32_t id = vocabulary_.Find(character); id >= 0) {
      symbols.push_back(id);
    } else if (options_.byte_fallback &&
               std::all_of(character.begin(), character.end(), [&](char byte) { return byte_id(byte) >= 0; })) {
      for (const char byte : character) symbols.push_back(byte_id(byte));
    } else {
      append_unknown();
    }
  }
}

void BpeModel::MergeShort(BpeScratch& scratch) const {
  auto& ids = scratch.ids;
  if (ids.size() < 2) return;
  std::array<uint32_t, kShort> ranks;
  std::array<int32_t, kShort> results;
  size_t pairs = ids.size() - 1;
  const auto look = [&](size_t at) {
    const Merge* merge = merges_.Find(ids[at], ids[at + 1]);
    ranks[at] = merge != nullptr ? merge->rank : kNoRank;
    results[at] = merge != nullptr ? merge->result : -1;
  };
  for (size_t at = 0; at < pairs; ++at) look(at);
  while (pairs > 0) {
    const auto best = static_cast<size_t>(std::min_element(ranks.begin(), ranks.begin() + pairs) - ranks.begin());
    if (ranks[best] == kNoRank) return;
    ids[best] = results[best];
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(best) + 1);
    std::copy(ranks.begin() + best + 1, ranks.begin() + pairs, ranks.begin() + best);
    std::copy(results.begin() + best + 1, results.begin() + pairs, results.begin() + best);
    --pairs;
    if (best < pairs) look(best);
    if (best > 0) look(best - 1);
  }
}

/// A heap of (rank, position) over a linked list. An entry is stale when the pair at its position has another rank by
/// now.
void BpeModel::MergeLong(BpeScratch& s) const {
  const auto count = static_cast<int32_t>(s.ids.size());
  s.next.resize(s.ids.size());
  s.previous.resize(s.ids.size());
  s.ranks.resize(s.ids.size());
  s.results.resize(s.ids.size());
  s.heap.clear();
  const auto look = [&](int32_t at) {
    const Merge* merge = s.next[at] < count ? merges_.Find(s.ids[at], s.ids[s.next[at]]) : nullptr;
    s.ranks[at] = merge != nullptr ? merge->rank : kNoRank;
    if (merge == nullptr) return false;
    s.results[at] = merge->result;
    s.heap.push_back(uint64_t{merge->rank} << 32 | static_cast<uint32_t>(at));
    return true;
  };
  for (int32_t at = 0; at < count; ++at) {
    s.next[at] = at + 1;
    s.previous[at] = at - 1;
    look(at);
  }
  const auto later = std::greater<uint64_t>();
  std::make_heap(s.heap.begin(), s.heap.end(), later);
  while (!s.heap.empty()) {
    std::pop_heap(s.heap.begin(), s.heap.end(), later);
    const uint64_t entry = s.heap.back();
    s.heap.pop_back();
    const auto at = static_cast<int32_t>(entry & UINT32_MAX);
    if (s.ranks[at] != static_cast<uint32_t>(entry >> 32)) continue;
    const int32_t joined = s.next[at];
    s.ids[at] = s.results[at];
    s.ranks[joined] = kNoRank;
    s.next[at] = s.next[joined];
    if (s.next[at] < count) s.previous[s.next[at]] = at;
    if (look(at)) std::push_heap(s.heap.begin(), s.heap.end(), later);
    if (s.previous[at] >= 0 && look(s.previous[at])) std::push_heap(s.heap.begin(), s.heap.end(), later);
  }
  size_t kept = 0;
  for (int32_t at = 0; at < count; at = s.next[at]) s.ids[kept++] = s.ids[at];
  s.ids.resize(kept);
}

}  // namespace edgellm::text
