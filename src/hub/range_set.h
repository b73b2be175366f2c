// Which bytes of a file are there: a set of numbers as ranges that neither touch nor overlap. Knows no file.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace edgellm {

/// From `begin` up to, and without, `end`.
struct ByteRange {
  uint64_t begin = 0, end = 0;
  uint64_t size() const { return end - begin; }
  bool operator==(const ByteRange&) const = default;
};

class RangeSet {
 public:
  void Add(ByteRange range);
  void Remove(ByteRange range);
  void Clear() { ranges_.clear(), total_ = 0; }

  bool Contains(ByteRange range) const;
  /// How many bytes are there.
  uint64_t total() const { return total_; }
  /// How many are there from the beginning on, without a gap.
  uint64_t Prefix() const;
  /// The first range of [from, size) that is missing; empty (begin == end == size) where none is.
  ByteRange FirstGap(uint64_t from, uint64_t size) const;
  const std::map<uint64_t, uint64_t>& ranges() const { return ranges_; }  // begin → end

  /// "0-100,200-300", and back. Parse throws Error(kCorrupt) for anything that ToText does not write.
  std::string ToText() const;
  static RangeSet Parse(std::string_view text);

  bool operator==(const RangeSet&) const = default;

 private:
  std::map<uint64_t, uint64_t> ranges_;
  uint64_t total_ = 0;
};

}  // namespace edgellm
