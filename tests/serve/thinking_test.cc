// Thinking parts: taken out of a stream wherever it is cut, and a grammar that begins after one.
#include "serve/thinking.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "constrain/gbnf.h"
#include "tests/constrain/matching.h"

namespace edgellm {
namespace {

struct Split {
  std::string thinking, content;
  bool operator==(const Split&) const = default;
};

void PrintTo(const Split& split, std::ostream* out) {
  *out << "thinking '" << split.thinking << "' content '" << split.content << "'";
}

Split Whole(Thinking begin, const std::vector<std::string>& pieces) {
  ThinkingSplitter splitter(begin);
  Split split;
  for (const auto& piece : pieces) splitter.Push(piece, &split.thinking, &split.content);
  splitter.Finish(&split.thinking, &split.content);
  return split;
}

TEST(Thinking, ThePartBeforeTheAnswer) {
  EXPECT_EQ(Whole(Thinking::kMayOpen, {"<think>\nWell,\nso.\n</think>\n\nYes."}), (Split{"Well,\nso.", "Yes."}));
  EXPECT_EQ(Whole(Thinking::kMayOpen, {"\n<think>a</think>b"}), (Split{"a", "b"}));
  EXPECT_EQ(Whole(Thinking::kOpen, {"Well.\n</think>\n\nYes.\n"}), (Split{"Well.", "Yes.\n"}));
  EXPECT_EQ(Whole(Thinking::kMayOpen, {"<think>\n\n</think>\n\nYes."}), (Split{"", "Yes."}));
}

TEST(Thinking, WhatIsNoPartStaysText) {
  EXPECT_EQ(Whole(Thinking::kMayOpen, {" Yes. <think>no</think>"}), (Split{"", " Yes. <think>no</think>"}));
  EXPECT_EQ(Whole(Thinking::kMayOpen, {"<thin", "g>"}), (Split{"", "<thing>"}));
  EXPECT_EQ(Whole(Thinking::kMayOpen, {"<thi"}), (Split{"", "<thi"}));
  EXPECT_EQ(Whole(Thinking::kMayOpen, {"  "}), (Split{"", "  "}));
  EXPECT_EQ(Whole(Thinking::kNone, {"<think>a</think>"}), (Split{"", "<think>a</think>"}));
  EXPECT_EQ(Whole(Thinking::kOpen, {"</think>a</think>"}), (Split{"", "a</think>"}));
}

TEST(Thinking, AnUnfinishedPart) {
  EXPECT_EQ(Whole(Thinking::kOpen, {"So </thi"}), (Split{"So </thi", ""}));
  EXPECT_EQ(Whole(Thinking::kMayOpen, {"<think>So\n"}), (Split{"So\n", ""}));
}

rc::Gen<std::string> Texts() {
  return rc::gen::map(rc::gen::container<std::vector<std::string>>(rc::gen::element<std::string>(
                          "<think>", "</think>", "<", "</", "think", ">", "/", " ", "\n", "a", "ü")),
                      [](const std::vector<std::string>& parts) {
                        std::string text;
                        for (const auto& part : parts) text += part;
                        return text;
                      });
}

RC_GTEST_PROP(Thinking, CutsDoNotMatter, ()) {
  const auto begin = *rc::gen::element(Thinking::kNone, Thinking::kMayOpen, Thinking::kOpen);
  const std::string text = *Texts();
  std::vector<std::string> pieces;
  for (size_t at = 0; at < text.size();) {
    const auto length = static_cast<size_t>(*rc::gen::inRange(1, 5));
    pieces.push_back(text.substr(at, length));
    at += length;
  }
  const Split cut = Whole(begin, pieces);
  RC_ASSERT(cut == Whole(begin, {text}));
  // Nothing but tags and white space gets lost.
  const auto bare = [](std::string s) {
    for (const std::string_view tag : {kThinkOpen, kThinkClose}) {
      if (const size_t at = s.find(tag); at != std::string::npos) s.erase(at, tag.size());
    }
    std::erase_if(s, [](char c) { return c == ' ' || c == '\n'; });
    return s;
  };
  if (cut.thinking.empty()) {
    RC_ASSERT(text.ends_with(cut.content));
  } else if (bare(text).find("<think>") == std::string::npos && bare(text).find("</think>") == std::string::npos) {
    RC_ASSERT(bare(cut.thinking) + bare(cut.content) == bare(text));
  }
}

bool Matches(const constrain::Grammar& grammar, std::string_view text) {
  return constrain::Language(grammar).Takes(text);
}

constrain::Grammar YesOrNo() {
  return constrain::ParseGbnf("root ::= \"yes\" | \"no\"", "test");
}

TEST(AfterThinking, TheFormBeginsAfterThePart) {
  const auto may = AfterThinking(YesOrNo(), Thinking::kMayOpen), open = AfterThinking(YesOrNo(), Thinking::kOpen);
  EXPECT_TRUE(Matches(may, "yes"));
  EXPECT_TRUE(Matches(may, "<think>\na < b, </thin> ü\n</think>\n\nno"));
  EXPECT_TRUE(Matches(may, "<think></think>no"));
  EXPECT_FALSE(Matches(may, "<think>yes"));
  EXPECT_FALSE(Matches(may, "<think></think>maybe"));
  EXPECT_FALSE(Matches(may, "<think>a</think>yes</think>yes"));
  EXPECT_FALSE(Matches(may, "<think>a</think>\n\n\nyes"));
  EXPECT_TRUE(Matches(open, "a</think>yes"));
  EXPECT_TRUE(Matches(open, "<<</<</think>yes"));
  EXPECT_FALSE(Matches(open, "yes"));
  EXPECT_TRUE(Matches(AfterThinking(YesOrNo(), Thinking::kNone), "yes"));
}

RC_GTEST_PROP(AfterThinking, ThePartIsAnyTextUpToTheFirstTag, ()) {
  const std::string part = *Texts();
  const bool has_tag = part.find(kThinkClose) != std::string::npos;
  // With a tag inside, what follows would have to be the form.
  if (!has_tag) RC_ASSERT(Matches(AfterThinking(YesOrNo(), Thinking::kOpen), part + "</think>yes"));
  if (has_tag) RC_ASSERT(!Matches(AfterThinking(YesOrNo(), Thinking::kOpen), part + "x</think>yes"));
}

}  // namespace
}  // namespace edgellm
