// The translation of tokenizers' regular expressions to PCRE2's dialect, and what happens at the limits.
#include "text/regular_expression.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace edgellm::text {
namespace {

TEST(RegularExpression, SpacesAreUnicodesWhiteSpace) {
  EXPECT_EQ(TranslatePattern(R"(\s+(?!\S)|[^\s\p{L}])", "x"),
            R"([\t-\r\x{85}\p{Z}]+(?![^\t-\r\x{85}\p{Z}])|[^\t-\r\x{85}\p{Z}\p{L}])");
  const RegularExpression space(R"(\s)", "x");
  RegularExpression::Match match{};
  for (const char* text : {" ", "\t", "\u0085", "\u00a0", "\u2028", "\u3000"}) {
    RegularExpression::Search search(space);
    EXPECT_EQ(search.Next(text, 0, match), RegularExpression::Result::kMatch) << text;
  }
  for (const char* text : {"a", "\u180e", "\u200b"}) {
    RegularExpression::Search search(space);
    EXPECT_EQ(search.Next(text, 0, match), RegularExpression::Result::kNone) << text;
  }
}

TEST(RegularExpression, TheRestIsLeftAsItIs) {
  for (const char* pattern : {R"(\[\]\\[\]\[\\a-z]+)", "[]a]", "[^]a]", "[[:alpha:]]", R"(\p{N}{1,3})", "(?i:'s|'t)"}) {
    EXPECT_EQ(TranslatePattern(pattern, "x"), pattern);
  }
  for (const char* pattern : {"[a&&b]", "[a[b]]", R"(\h)"})
    EXPECT_THROW(TranslatePattern(pattern, "x"), Error) << pattern;
}

TEST(RegularExpression, GivesUpInsteadOfRunningForEver) {
  const RegularExpression exponential("(a+)+(a+)+(a+)+$", "x");
  RegularExpression::Search search(exponential);
  RegularExpression::Match match{};
  EXPECT_EQ(search.Next(std::string(60, 'a') + "b", 0, match), RegularExpression::Result::kGaveUp);
}

}  // namespace
}  // namespace edgellm::text
