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
  EXPECT_EQ(matcher.stop(), "b");
}

TEST(StopMatcher, TheOneThatIsCompleteFirstCountsHoweverTheTextIsCut) {
  StopMatcher whole({"abcd", "bc"}), cut({"abcd", "bc"});
  EXPECT_EQ(whole.Push("abcd"), "a");
  EXPECT_EQ(cut.Push("ab"), "");
  EXPECT_EQ(cut.Push("c"), "a");
  EXPECT_EQ(cut.Push("d"), "");
  EXPECT_EQ(whole.stop(), "bc");
  EXPECT_EQ(cut.stop(), "bc");
  StopMatcher longest({"c", "bc"});
  EXPECT_EQ(longest.Push("abc"), "a");
  EXPECT_EQ(longest.stop(), "bc");
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
  // The first end of a stop decides, and there the longest.
  std::string expected = text, which;
  for (size_t end = 1; end <= text.size() && which.empty(); ++end) {
    for (const auto& stop : stops) {
      if (std::string_view(text).substr(0, end).ends_with(stop) && stop.size() > which.size()) which = stop;
    }
    if (!which.empty()) expected = text.substr(0, end - which.size());
  }
  RC_ASSERT(matcher.stop() == which);
  RC_ASSERT(matcher.matched() == !which.empty());
  RC_ASSERT(output == expected);
  for (const auto& stop : stops) RC_ASSERT(output.find(stop) == std::string::npos);
}

}  // namespace
}  // namespace edgellm
