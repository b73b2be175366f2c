// Stop strings: nothing of one is ever passed on, everything else is, wherever the stream is cut.
#include "serve/stop_matcher.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.h"

namespace edgellm {
namespace {

TEST(StopMatcher, PassesTextOnWithoutStops) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.Push("one "), "one ");
  EXPECT_EQ(matcher.Push("two"), "two");
  EXPECT_EQ(matcher.Finish(), "");
  EXPECT_FALSE(matcher.matched());
}

TEST(StopMatcher, HoldsBackWhatMayBecomeAStop) {
  StopMatcher matcher({"</end>"});
  EXPECT_EQ(matcher.Push("a</"), "a");
  EXPECT_EQ(matcher.Push("en"), "");
  EXPECT_EQ(matcher.Push("ergy"), "</energy");
  EXPECT_EQ(matcher.Push("b<"), "b");
  EXPECT_EQ(matcher.Finish(), "<");
}

TEST(StopMatcher, StopAcrossPieces) {
  StopMatcher matcher({"</end>"});
  EXPECT_EQ(matcher.Push("text<"), "text");
  EXPECT_EQ(matcher.Push("/en"), "");
  EXPECT_EQ(matcher.Push("d>more"), "");
  EXPECT_TRUE(matcher.matched());
  EXPECT_EQ(matcher.Push("later"), "");
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopMatcher, TheEarliestOfSeveralWins) {
  StopMatcher matcher({"cd", "b"});
  EXPECT_EQ(matcher.Push("abcd"), "a");
  EXPECT_TRUE(matcher.matched());
}

TEST(StopMatcher, AStopThatBeginsInsideItself) {
  StopMatcher matcher({"aab"});
  EXPECT_EQ(matcher.Push("aa"), "");
  EXPECT_EQ(matcher.Push("a"), "a");
  EXPECT_EQ(matcher.Push("b"), "");
  EXPECT_TRUE(matcher.matched());
}

TEST(StopMatcher, RefusesEmptyAndIllFormed) {
  EXPECT_THROW(StopMatcher({""}), Error);
  EXPECT_THROW(StopMatcher({"\xff"}), Error);
}

// Against a search in the whole text, however that is cut into pieces.
RC_GTEST_PROP(StopMatcher, EqualsSearchingTheWholeText, ()) {
  const auto letters = rc::gen::container<std::string>(rc::gen::element('a', 'b', 'c'));
  const auto text = *letters;
  auto stops = *rc::gen::container<std::vector<std::string>>(rc::gen::nonEmpty(letters));
  StopMatcher matcher(stops);
  std::string output;
  for (size_t at = 0; at < text.size();) {
    const size_t length = static_cast<size_t>(*rc::gen::inRange(1, 4));
    output += matcher.Push(std::string_view(text).substr(at, length));
    at += length;
  }
  output += matcher.Finish();
  // Which of several overlapping stops comes first may depend on the cuts; that one comes, and what that means, may
  // not.
  size_t first = std::string::npos;
  for (const auto& stop : stops) first = std::min(first, text.find(stop));
  RC_ASSERT(matcher.matched() == (first != std::string::npos));
  if (!matcher.matched()) {
    RC_ASSERT(output == text);
  } else {
    RC_ASSERT(text.starts_with(output));
    for (const auto& stop : stops) RC_ASSERT(output.find(stop) == std::string::npos);
  }
}

}  // namespace
}  // namespace edgellm
