// See range_set.h.
#include "hub/range_set.h"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "base/error.h"

namespace edgellm {
namespace {

/// The number that `text` begins with; it and `end` after it are taken off.
uint64_t TakeNumber(std::string_view* text, char end) {
  uint64_t value = 0;
  const auto [stop, failed] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (failed != std::errc()) Fail(ErrorCode::kCorrupt, "a list of byte ranges is damaged");
  text->remove_prefix(static_cast<size_t>(stop - text->data()));
  if (!text->empty()) {
    if (text->front() != end) Fail(ErrorCode::kCorrupt, "a list of byte ranges is damaged");
    text->remove_prefix(1);
  }
  return value;
}

}  // namespace

void RangeSet::Add(ByteRange range) {
  if (range.begin >= range.end) return;
  auto next = ranges_.upper_bound(range.begin);
  if (next != ranges_.begin() && std::prev(next)->second >= range.begin) --next;
  while (next != ranges_.end() && next->first <= range.end) {
    range.begin = std::min(range.begin, next->first);
    range.end = std::max(range.end, next->second);
    total_ -= next->second - next->first;
    next = ranges_.erase(next);
  }
  ranges_.emplace(range.begin, range.end);
  total_ += range.size();
}

void RangeSet::Remove(ByteRange range) {
  if (range.begin >= range.end) return;
  auto next = ranges_.upper_bound(range.begin);
  if (next != ranges_.begin() && std::prev(next)->second > range.begin) --next;
  while (next != ranges_.end() && next->first < range.end) {
    const ByteRange whole{next->first, next->second};
    next = ranges_.erase(next);
    total_ -= whole.size();
    for (const ByteRange rest : {ByteRange{whole.begin, std::max(whole.begin, range.begin)},
                                 ByteRange{std::min(whole.end, range.end), whole.end}}) {
      if (rest.begin >= rest.end) continue;
      ranges_.emplace(rest.begin, rest.end);
      total_ += rest.size();
    }
  }
}

bool RangeSet::Contains(ByteRange range) const {
  if (range.begin >= range.end) return true;
  const auto next = ranges_.upper_bound(range.begin);
  return next != ranges_.begin() && std::prev(next)->second >= range.end;
}

uint64_t RangeSet::Prefix() const {
  return ranges_.empty() || ranges_.begin()->first != 0 ? 0 : ranges_.begin()->second;
}

ByteRange RangeSet::FirstGap(uint64_t from, uint64_t size) const {
  if (from >= size) return {size, size};
  auto next = ranges_.upper_bound(from);
  if (next != ranges_.begin() && std::prev(next)->second > from) from = std::prev(next)->second;
  if (from >= size) return {size, size};
  return {from, next == ranges_.end() ? size : std::min(size, next->first)};
}

std::string RangeSet::ToText() const {
  std::string text;
  for (const auto& [begin, end] : ranges_) text += fmt::format("{}{}-{}", text.empty() ? "" : ",", begin, end);
  return text;
}

RangeSet RangeSet::Parse(std::string_view text) {
  RangeSet set;
  while (!text.empty()) {
    const uint64_t begin = TakeNumber(&text, '-');
    const uint64_t end = TakeNumber(&text, ',');
    if (begin >= end || (!set.ranges_.empty() && begin <= set.ranges_.rbegin()->second)) {
      Fail(ErrorCode::kCorrupt, "a list of byte ranges is damaged");
    }
    set.Add({begin, end});
  }
  return set;
}

}  // namespace edgellm
