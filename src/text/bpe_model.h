// Byte-pair encoding of one piece of text: start from single symbols, join the adjacent pair of the lowest rank (the
// leftmost of equals) until none is left. Byte-level and SentencePiece models differ only in what the first symbols are
// and in how ranks were made, so this one engine runs both. It knows no pre-tokeniser and no special tokens.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace edgellm::text {

struct Merge {
  int32_t left = -1, right = -1;
  int32_t result = -1;
  uint32_t rank = 0;  // lower goes first; equal ranks are resolved by position in the text
};

/// Pair of ids → merge, open-addressed: one cache line a lookup, mostly.
class MergeTable {
 public:
  MergeTable() = default;
  /// Of merges that name the same pair the first stays.
  explicit MergeTable(std::span<const Merge> merges);
  /// The merge of a pair, or null.
  const Merge* Find(int32_t left, int32_t right) const;
  size_t size() const { return size_; }
  /// All merges by (rank, left, right).
  std::vector<Merge> Sorted() const;

 private:
  std::vector<Merge> slots_;  // a power of two; free where left < 0
  size_t size_ = 0;
};

/// Working memory of Encode; reused from piece to piece.
struct BpeScratch {
  std::vector<int32_t> ids, next, previous, results;
  std::vector<uint32_t> ranks;
  std::vector<uint64_t> heap;
};

class BpeModel {
 public:
  struct Options {
    bool byte_level = false;     // symbols are bytes and the vocabulary holds bytes; otherwise both are code points
    bool byte_fallback = false;  // a code point without a token becomes its bytes' tokens
    bool fuse_unknown = false;   // neighbouring unknown symbols become one
    bool ignore_merges = false;  // a piece that is a token as a whole is that token, merges or not
    int32_t unknown = -1;        // id for symbols without a token; -1 drops them
    std::array<int32_t, 256> byte_ids{};  // ids of single bytes (byte-level, byte fallback), -1 where there is none
  };

  BpeModel() = default;
  BpeModel(Vocabulary vocabulary, std::span<const Merge> merges, const Options& options);

  /// Appends the ids of `piece`, which must be well-formed UTF-8 unless byte_level. O(n log n).
  void Encode(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }
  const MergeTable& merges() const { return merges_; }
  const Options& options() const { return options_; }

 private:
  void ChooseBoundary();
  void EncodeUnit(std::string_view unit, BpeScratch& scratch, std::vector<int32_t>& ids) const;
  void AppendSymbols(std::string_view unit, std::vector<int32_t>& symbols) const;
  void MergeShort(BpeScratch& scratch) const;
  void MergeLong(BpeScratch& scratch) const;

  Vocabulary vocabulary_;
  MergeTable merges_;
  Options options_;
  std::string boundary_;  // no merge reaches across "x" + boundary_: pieces are cut there first. Empty: no such text
};

}  // namespace edgellm::text
