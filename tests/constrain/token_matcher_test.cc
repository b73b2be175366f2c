// Token masks against brute force on small vocabularies, and what a request does with a matcher: stop tokens,
// characters in pieces, dead ends, taking back, copies.
#include "constrain/token_matcher.h"

#include <random>
#include <set>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.h"
#include "constrain/gbnf.h"
#include "constrain/json_parts.h"
#include "tests/constrain/matching.h"
#include "tests/constrain/random_grammar.h"
#include "tests/text/small_tokenizers.h"

namespace edgellm::constrain {
namespace {

std::shared_ptr<const TokenConstraint> Over(const Grammar& grammar, const std::vector<std::string>& texts,
                                            bool strips_leading_space = false) {
  return std::make_shared<const TokenConstraint>(grammar,
                                                 std::make_shared<const VocabularyTrie>(texts, strips_leading_space));
}

std::set<TokenId> AllowedBy(TokenMatcher& matcher, size_t words = 0) {
  std::vector<MaskWord> mask(std::max(words, matcher.constraint().trie().words()), 0xFFFFFFFFu);
  const bool any = matcher.Allowed(mask);
  std::set<TokenId> tokens;
  for (size_t i = 0; i < mask.size() * 32; ++i) {
    if ((mask[i / 32] >> (i % 32) & 1u) != 0) tokens.insert(static_cast<TokenId>(i));
  }
  EXPECT_EQ(any, !tokens.empty());
  return tokens;
}

/// By stepping through every token's bytes.
std::set<TokenId> BruteForce(Language& language, const std::vector<std::string>& texts, const std::string& so_far,
                             const std::vector<TokenId>& stops) {
  std::set<TokenId> tokens;
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto token = static_cast<TokenId>(i);
    if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
      if (language.Takes(so_far)) tokens.insert(token);
    } else if (!texts[i].empty() && language.Begins(so_far + texts[i])) {
      tokens.insert(token);
    }
  }
  return tokens;
}

std::vector<std::string> RandomVocabulary(std::mt19937& random) {
  std::vector<std::string> texts = {"<end>", ""};
  const auto letters = {"a", "b", "\xc3", "\xa9", "\u00e9", "c"};
  for (unsigned i = 10 + random() % 60; i > 0; --i) {
    std::string text;
    for (unsigned length = 1 + random() % 5; length > 0; --length)
      text += *(letters.begin() + random() % letters.size());
    texts.push_back(text);
  }
  for (const char* letter : letters) texts.emplace_back(letter);
  return texts;
}

RC_GTEST_PROP(TokenMatcher, MaskIsWhatBruteForceFinds, ()) {
  std::mt19937 random(*rc::gen::arbitrary<unsigned>());
  const Grammar grammar = RandomGrammar(random);
  Language language(grammar);
  const std::vector<std::string> texts = RandomVocabulary(random);
  const std::vector<TokenId> stops = {0};
  const auto constraint = Over(grammar, texts);
  for (int walk = 0; walk < 4; ++walk) {
    TokenMatcher matcher(constraint, stops);
    std::string so_far;
    for (int step = 0; step < 8 && !matcher.ended(); ++step) {
      const auto allowed = AllowedBy(matcher);
      RC_ASSERT(allowed == BruteForce(language, texts, so_far, stops));
      RC_ASSERT(matcher.may_end() == language.Takes(so_far));
      for (size_t i = 0; i < texts.size(); ++i) {  // what the mask leaves out is not taken
        TokenMatcher copy = matcher;
        RC_ASSERT(copy.Accept(static_cast<TokenId>(i)) == allowed.contains(static_cast<TokenId>(i)));
      }
      const auto forced = matcher.Forced();
      RC_ASSERT(forced.has_value() == (allowed.size() == 1));
      if (allowed.empty()) break;
      auto chosen = allowed.begin();
      std::advance(chosen, random() % allowed.size());
      RC_ASSERT(!forced || *forced == *chosen);
      RC_ASSERT(matcher.Accept(*chosen));
      if (*chosen != 0) so_far += texts[static_cast<size_t>(*chosen)];
    }
  }
}

RC_GTEST_PROP(TokenMatcher, RollbackComesBackToTheSameMasks, ()) {
  std::mt19937 random(*rc::gen::arbitrary<unsigned>());
  const std::vector<std::string> texts = RandomVocabulary(random);
  TokenMatcher matcher(Over(RandomGrammar(random), texts), {0});
  std::vector<std::set<TokenId>> masks = {AllowedBy(matcher)};
  for (int step = 0; step < 20 && !masks.back().empty(); ++step) {
    auto chosen = masks.back().begin();
    std::advance(chosen, random() % masks.back().size());
    RC_ASSERT(matcher.Accept(*chosen));
    masks.push_back(AllowedBy(matcher));
    if (random() % 3 == 0) {
      const size_t back = random() % masks.size();
      RC_ASSERT(matcher.Rollback(static_cast<int>(back)));
      masks.resize(masks.size() - back);
      RC_ASSERT(AllowedBy(matcher) == masks.back());
    }
  }
  RC_ASSERT(!matcher.Rollback(static_cast<int>(masks.size())));
}

TEST(TokenMatcher, BoundedRepetitionsNearAndFarFromTheirBounds) {
  // States far from the bounds share what is known of short tokens; long ones must still be looked at.
  const std::vector<std::string> texts = {"<end>",
                                          "a",
                                          "aa",
                                          "aaaa",
                                          std::string(7, 'a'),
                                          std::string(13, 'a'),
                                          std::string(40, 'a'),
                                          "aa!",
                                          std::string(20, 'a') + "!",
                                          "!",
                                          "\u00e9\u00e9\u00e9"};
  for (const char* source : {"root ::= \"<\"? x \"!\" \"!\"?\nx ::= .{10,50}", "root ::= [a\u00e9]{3,70} \"!\"",
                             "root ::= (x \"!\"?){2}\nx ::= [a\u00e9]{0,45}"}) {
    const Grammar grammar = ParseGbnf(source, "g");
    Language language(grammar);
    const auto constraint = Over(grammar, texts);
    TokenMatcher matcher(constraint, {0});
    std::string so_far;
    for (int step = 0; step < 60; ++step) {
      EXPECT_EQ(AllowedBy(matcher), BruteForce(language, texts, so_far, {0})) << source << " after " << so_far;
      if (!matcher.Accept(1)) break;
      so_far += "a";
    }
  }
}

TEST(TokenMatcher, StopTokensMatchWhereTheTextMayEndAndNowhereElse) {
  // Token 1 spells what the grammar wants, but is a stop token: it is never text.
  const auto constraint = Over(ParseGbnf("root ::= \"a\" \"b\"? ", "g"), {"a", "b", "<end>"});
  TokenMatcher matcher(constraint, {1, 2, 70});
  EXPECT_EQ(AllowedBy(matcher), (std::set<TokenId>{0}));
  EXPECT_FALSE(matcher.Accept(1));
  ASSERT_TRUE(matcher.Accept(0));
  EXPECT_EQ(AllowedBy(matcher), (std::set<TokenId>{1, 2}));
  EXPECT_EQ(AllowedBy(matcher, 3), (std::set<TokenId>{1, 2, 70}));  // the model has more ids than the tokenizer
  ASSERT_TRUE(matcher.Accept(2));
  EXPECT_TRUE(matcher.ended());
  EXPECT_TRUE(AllowedBy(matcher).empty());
  EXPECT_FALSE(matcher.Accept(0));
  EXPECT_TRUE(matcher.Rollback(1));
  EXPECT_EQ(AllowedBy(matcher), (std::set<TokenId>{1, 2}));
}

TEST(TokenMatcher, CharactersMayComeInPieces) {
  // U+1F600 is F0 9F 98 80; the grammar takes U+1F600 … U+1F64F.
  const std::vector<std::string> texts = {"<end>", "\xf0", "\xf0\x9f", "\x9f", "\x98\x80",        "\x99",
                                          "\x98",  "\x80", "\x8f",     "\x90", "\xf0\x9f\x98\x80"};
  const Grammar grammar = ParseGbnf("root ::= [\\U0001F600-\\U0001F64F] \"x\"", "g");
  TokenMatcher matcher(Over(grammar, texts), {0});
  EXPECT_EQ(AllowedBy(matcher), (std::set<TokenId>{1, 2, 10}));
  ASSERT_TRUE(matcher.Accept(2));
  EXPECT_EQ(AllowedBy(matcher), (std::set<TokenId>{4, 5, 6}));
  ASSERT_TRUE(matcher.Accept(5));
  EXPECT_EQ(AllowedBy(matcher), (std::set<TokenId>{7, 8}));  // U+1F640 … U+1F64F
  ASSERT_TRUE(matcher.Accept(8));
  EXPECT_TRUE(AllowedBy(matcher).empty()) << "no token spells x: a dead end";
  EXPECT_FALSE(matcher.may_end());
}

TEST(TokenMatcher, TokensWithTheSameBytesAreAllAllowed) {
  TokenMatcher matcher(Over(ParseGbnf("root ::= \"ab\"", "g"), {"a", "ab", "a", "ab", "b", "x"}), {5});
  EXPECT_EQ(AllowedBy(matcher), (std::set<TokenId>{0, 1, 2, 3}));
}

TEST(TokenMatcher, TheSpaceThatDecodingDropsIsNoText) {
  const std::vector<std::string> texts = {"<end>", " {", "{", " ", "}", " }", "  {"};
  const Grammar grammar = ParseGbnf("root ::= \"{\" \" \"? \"}\"", "g");
  TokenMatcher answer(Over(grammar, texts, /*strips_leading_space=*/true), {0});
  EXPECT_EQ(AllowedBy(answer), (std::set<TokenId>{1, 2}));
  EXPECT_FALSE(answer.Accept(3));
  ASSERT_TRUE(answer.Accept(1));
  EXPECT_EQ(AllowedBy(answer), (std::set<TokenId>{3, 4, 5}));
  TokenMatcher continuation(Over(grammar, texts, true), {0}, /*at_text_start=*/false);
  EXPECT_EQ(AllowedBy(continuation), (std::set<TokenId>{2}));
}

TEST(TokenMatcher, SpecialTokensAreNoText) {
  const auto tokenizer = text::Tokenizer::FromJson(text::SmallByteLevelJson().dump(), "small");
  const TokenId special = *tokenizer.Find("<|end|>"), added = *tokenizer.Find("<tool>");
  const auto trie = std::make_shared<const VocabularyTrie>(tokenizer);
  TokenMatcher matcher(std::make_shared<const TokenConstraint>(ParseGbnf("root ::= .*", "g"), trie), {});
  const auto allowed = AllowedBy(matcher);
  EXPECT_FALSE(allowed.contains(special));
  EXPECT_TRUE(allowed.contains(added));
  EXPECT_TRUE(allowed.contains(*tokenizer.Find("hello")));
}

TEST(TokenMatcher, MemoryStaysBoundedOverALongText) {
  std::vector<std::string> texts = {"<end>", "[", "]", "1", ",", "{", "}", "\"k\"", ":"};
  TokenMatcher matcher(Over(JsonGrammar(JsonRoot::kValue), texts), {0});
  // Nesting makes ever new positions; only what can be come back to is kept.
  size_t largest = 0;
  for (int i = 0; i < 60'000; ++i) {
    ASSERT_TRUE(matcher.Accept(1));
    AllowedBy(matcher);
    largest = std::max(largest, matcher.bytes());
  }
  EXPECT_LT(largest, size_t{64} << 20);
  for (int i = 0; i < 60'000; ++i) ASSERT_TRUE(matcher.Accept(2));
  EXPECT_TRUE(matcher.may_end());
}

TEST(TokenMatcher, CopiesGoTheirOwnWays) {
  TokenMatcher one(Over(ParseGbnf("root ::= \"a\" \"b\" | \"a\" \"c\" \"d\"", "g"), {"a", "b", "c", "d", "<end>"}),
                   {4});
  ASSERT_TRUE(one.Accept(0));
  TokenMatcher other = one;
  ASSERT_TRUE(one.Accept(1));
  ASSERT_TRUE(other.Accept(2));
  EXPECT_TRUE(one.may_end());
  EXPECT_FALSE(other.may_end());
  EXPECT_EQ(AllowedBy(other), (std::set<TokenId>{3}));
}

}  // namespace
}  // namespace edgellm::constrain
