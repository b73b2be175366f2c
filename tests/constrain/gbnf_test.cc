// GBNF: every construct by texts that it takes and texts that it does not, and every error by its place.
#include "constrain/gbnf.h"

#include <string>

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/constrain/matching.h"

namespace edgellm::constrain {
namespace {

struct Case {
  const char* grammar;
  std::vector<std::string> takes, refuses;
};

void Check(const Case& c) {
  Language language(ParseGbnf(c.grammar, "g"));
  for (const auto& text : c.takes) EXPECT_TRUE(language.Takes(text)) << c.grammar << " should take '" << text << "'";
  for (const auto& text : c.refuses)
    EXPECT_FALSE(language.Takes(text)) << c.grammar << " should refuse '" << text << "'";
}

std::string ErrorOf(const std::string& grammar) {
  try {
    CompileGrammar(ParseGbnf(grammar, "g"));
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Gbnf, TextsAndEscapes) {
  Check({"root ::= \"abc\"", {"abc"}, {"", "ab", "abcd", "abd"}});
  Check({R"(root ::= "a\n\t\r\\\"\x41\u00e9\U0001F600")", {"a\n\t\r\\\"A\u00e9\U0001F600"}, {"a"}});
  Check({"root ::= \"\"", {""}, {"a"}});
  Check({"root ::= \"h\u00e9\"", {"h\u00e9"}, {"he", "h\xc3"}});
}

TEST(Gbnf, Classes) {
  Check({"root ::= [a-cx]", {"a", "b", "c", "x"}, {"d", "", "aa", "-"}});
  Check({"root ::= [^a-c]", {"d", "\n", "\u00e9", "\u4e2d", "\U0001F600"}, {"a", "b", "", "\xff", "\xc3"}});
  Check({"root ::= [a-]", {"a", "-"}, {"b"}});
  Check({"root ::= [\\]\\[\\-\\^]", {"]", "[", "-", "^"}, {"\\"}});
  Check({"root ::= [\u00e9-\u00eb\u4e00-\u9fff]", {"\u00e9", "\u00ea", "\u4e2d", "\u9fff"}, {"\u00e8", "\u00ec", "a"}});
  Check({"root ::= .", {"a", "\n", "\U0010FFFF"}, {"", "ab", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\x80"}});
}

TEST(Gbnf, SequencesChoicesAndGroups) {
  Check({"root ::= \"a\" (\"b\" | \"c\" \"d\") \"e\"", {"abe", "acde"}, {"ae", "abcde", "ade"}});
  Check({"root ::= \"a\" | \"b\" |", {"a", "b", ""}, {"ab"}});
  Check({"root ::= (\"a\"\n  | \"b\"\n)\n\n# a comment\n", {"a", "b"}, {""}});
  Check({"root ::= \"x\" | # first\n  \"y\" # second\n", {"x", "y"}, {"xy"}});
}

TEST(Gbnf, Repetitions) {
  Check({"root ::= \"a\"*", {"", "a", "aaaa"}, {"b", "ab"}});
  Check({"root ::= \"a\"+", {"a", "aaaa"}, {"", "b"}});
  Check({"root ::= \"a\"? \"b\"", {"b", "ab"}, {"a", "aab"}});
  Check({"root ::= \"a\"{3}", {"aaa"}, {"aa", "aaaa"}});
  Check({"root ::= [ab]{2,}", {"ab", "abab"}, {"a"}});
  Check({"root ::= (\"ab\"){1, 3}", {"ab", "ababab"}, {"", "aba", "abababab"}});
  Check({"root ::= \"a\"{0}", {""}, {"a"}});
  Check({"root ::= (\"a\"*)*", {"", "aaa"}, {"b"}});
  Check({"root ::= (\"a\"? \"b\"?){2}", {"", "ab", "ba", "abab", "bb"}, {"aba b", "aaa", "bbb"}});
}

TEST(Gbnf, Rules) {
  Check({"root ::= item (\",\" item)*\nitem ::= [0-9]+ | \"(\" root \")\"\n",
         {"1", "1,22", "(1,(2,3)),4"},
         {"", "(1", "1,"}});
  Check({"root ::= a-b_1\na-b_1 ::= \"x\"", {"x"}, {""}});
  Check({"root ::= ws \"a\" ws\nws ::= \" \" ws | \"\"", {"a", "  a   "}, {"b"}});
  // A palindrome needs the stack, and is ambiguous until it ends.
  Check({"root ::= \"a\" root \"a\" | \"b\" root \"b\" | [ab] | \"\"",
         {"abba", "ababa", "", "a", "bbbbbb"},
         {"ab", "abb"}});
  Check({"root ::= x x \"!\"\nx ::= \"a\" | \"\"", {"!", "a!", "aa!"}, {"aaa!", ""}});
}

TEST(Gbnf, WhatLeadsNowhereIsNeverBegun) {
  Language language(ParseGbnf("root ::= \"a\" dead | \"b\"\ndead ::= \"x\" dead", "g"));
  EXPECT_FALSE(language.Begins("a"));
  EXPECT_TRUE(language.Takes("b"));
  EXPECT_NE(ErrorOf("root ::= \"x\" root").find("no finite text"), std::string::npos);
}

TEST(Gbnf, AGrammarInAnother) {
  Grammar first = ParseGbnf("root ::= \"a\" x\nx ::= \"1\" | \"(\" x \")\"", "first");
  const Grammar second = ParseGbnf("root ::= \"b\" x{2}\nx ::= [2-3]", "second");
  const RuleId other = first.Import(second);
  first.root = first.AddRule("both", first.Choice({first.Reference(first.root), first.Reference(other)}));
  Language language(first);
  for (const char* text : {"a1", "a((1))", "b23"}) EXPECT_TRUE(language.Takes(text)) << text;
  for (const char* text : {"a2", "b1", "b2", "a1b23"}) EXPECT_FALSE(language.Takes(text)) << text;
}

TEST(Gbnf, LeftRecursionIsRefusedByName) {
  EXPECT_NE(ErrorOf("root ::= expression\nexpression ::= expression \"+\" [0-9] | [0-9]")
                .find("'expression' is left-recursive"),
            std::string::npos);
  EXPECT_NE(ErrorOf("root ::= a\na ::= b \"x\" | \"y\"\nb ::= \"z\"? a").find("is left-recursive"), std::string::npos);
  EXPECT_NE(ErrorOf("root ::= root | \"a\"").find("'root' is left-recursive"), std::string::npos);
  EXPECT_EQ(ErrorOf("root ::= \"a\" root | \"b\""), "no error");
  EXPECT_EQ(ErrorOf("root ::= x* \"b\"\nx ::= \"a\"?"), "no error");
}

TEST(Gbnf, ErrorsTellTheirPlace) {
  EXPECT_EQ(ErrorOf("root ::= \"a"), "g:1:12: the grammar ends inside quotes or brackets");
  EXPECT_EQ(ErrorOf("root ::= \"a\n\""), "g:1:12: the line ends inside quotes or brackets");
  EXPECT_EQ(ErrorOf("root ::= x\n"), "g:1:10: the rule 'x' is not defined");
  EXPECT_EQ(ErrorOf("root ::= \"\u00e9\" x"), "g:1:14: the rule 'x' is not defined");
  EXPECT_EQ(ErrorOf("x ::= \"a\""), "g: the grammar has no rule 'root'");
  EXPECT_EQ(ErrorOf("root ::= \"a\"\nroot ::= \"b\""), "g:2:1: the rule 'root' is defined twice");
  EXPECT_EQ(ErrorOf("root = \"a\""), "g:1:6: expected ::= after the name of a rule");
  EXPECT_EQ(ErrorOf("root ::= (\"a\""), "g:1:10: a ( without its )");
  EXPECT_EQ(ErrorOf("root ::= \"a\")"), "g:1:13: a ) without its (");
  EXPECT_EQ(ErrorOf("root ::= *"), "g:1:10: there is nothing before '*' to be repeated");
  EXPECT_EQ(ErrorOf("root ::= \"a\"{3,2}"), "g:1:17: the second number is below the first");
  EXPECT_EQ(ErrorOf("root ::= [z-a]"), "g:1:14: a range that ends before it begins");
  EXPECT_EQ(ErrorOf("root ::= []"), "g:1:10: an empty class matches nothing");
  EXPECT_EQ(ErrorOf("root ::= \"\\q\""),
            "g:1:12: an unknown escape: there are \\n \\r \\t \\xHH \\uHHHH \\UHHHHHHHH \\\\ \\\" \\[ \\] \\- \\^");
  EXPECT_EQ(ErrorOf("root ::= \"\\ud800\""), "g:1:17: that is no code point");
  EXPECT_EQ(ErrorOf("root ::= \"\xff\""), "g:1:11: broken UTF-8");
  EXPECT_EQ(ErrorOf("root ::= <[12]>"), "g:1:10: references to tokens are not supported: a grammar speaks of text");
  EXPECT_EQ(ErrorOf(""), "g: the grammar has no rule 'root'");
}

TEST(Gbnf, LimitsHold) {
  EXPECT_NE(ErrorOf("root ::= \"a\"{20000}").find("more than 10000 repetitions"), std::string::npos);
  EXPECT_NE(ErrorOf("root ::= (((\"a\"{100}){100}){100}){100}").find("states"), std::string::npos);
  EXPECT_NE(ErrorOf("root ::= " + std::string(200, '(') + "\"a\"" + std::string(200, ')')).find("nest deeper"),
            std::string::npos);
  EXPECT_NE(ErrorOf("root ::= \"" + std::string(1 << 20, 'a') + "\"").find("longer than the limit"), std::string::npos);
}

TEST(Gbnf, LlamaCppJsonGrammar) {
  // grammars/json.gbnf of llama.cpp, as its users bring it along.
  Check({R"(
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws

object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws

array  ::=
  "[" ws (
            value
    ("," ws value)*
  )? "]" ws

string ::=
  "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\"" ws

number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws

# Optional space: by convention, applied in this grammar after literal chars when allowed
ws ::= | " " | "\n" [ \t]{0,20}
)",
         {"{}", R"({"a": [1, -2.5e3, "x\u00e9\n", {"b": null}], "c": true})", "{ \"a\":1}"},
         {"[]", "{", R"({"a"})", R"({"a": 01})", R"({"a": "x)"}});
}

}  // namespace
}  // namespace edgellm::constrain
