// The compiled grammar and its recognizer against a plain walk over the expressions, on random grammars and texts.
#include "constrain/recognizer.h"

#include <random>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.h"
#include "constrain/gbnf.h"
#include "tests/constrain/matching.h"
#include "tests/constrain/random_grammar.h"

namespace edgellm::constrain {
namespace {

std::string RandomText(std::mt19937& random) {
  std::string text;
  for (unsigned i = random() % 8; i > 0; --i) text += std::vector<const char*>{"a", "b", "\u00e9", "c"}[random() % 4];
  return text;
}

RC_GTEST_PROP(Recognizer, AgreesWithThePlainWalk, ()) {
  std::mt19937 random(*rc::gen::arbitrary<unsigned>());
  const Grammar grammar = RandomGrammar(random);
  Language language(grammar);
  for (int i = 0; i < 20; ++i) {
    const std::string text = i % 2 == 0 ? RandomText(random) : language.Random(random, 12);
    RC_ASSERT(language.Takes(text) == Oracle(grammar, text).Takes());
  }
}

RC_GTEST_PROP(Recognizer, WhateverBeginsCanBeCompleted, ()) {
  std::mt19937 random(*rc::gen::arbitrary<unsigned>());
  Language language(RandomGrammar(random));
  // Breadth first from a random place: an end must come.
  Recognizer& recognizer = language.recognizer();
  PositionId position = recognizer.Start();
  for (unsigned steps = random() % 10; steps > 0; --steps) {
    std::vector<PositionId> next;
    for (int byte = 0; byte < 256; ++byte) {
      const PositionId step = recognizer.Step(position, static_cast<uint8_t>(byte));
      if (step != Recognizer::kDead) next.push_back(step);
    }
    if (next.empty()) break;
    position = next[random() % next.size()];
  }
  std::vector<PositionId> frontier = {position};
  std::set<PositionId> seen = {position};
  bool ends = false;
  for (size_t i = 0; i < frontier.size() && !ends && frontier.size() < 3000; ++i) {
    ends = recognizer.MayEnd(frontier[i]);
    for (int byte = 0; byte < 256; ++byte) {
      const PositionId step = recognizer.Step(frontier[i], static_cast<uint8_t>(byte));
      if (step != Recognizer::kDead && seen.insert(step).second) frontier.push_back(step);
    }
  }
  RC_ASSERT(ends || frontier.size() >= 3000);
}

TEST(Recognizer, RecursionAtTheEndTakesNoMemory) {
  Language language(ParseGbnf("root ::= [a-z] root | \".\"", "g"));
  PositionId position = language.recognizer().Start();
  for (int i = 0; i < 1000; ++i) position = language.recognizer().Step(position, 'x');
  const size_t bytes = language.recognizer().bytes();
  for (int i = 0; i < 100'000; ++i) position = language.recognizer().Step(position, 'x');
  EXPECT_EQ(language.recognizer().bytes(), bytes);
  EXPECT_TRUE(language.Takes("abc."));
}

TEST(Recognizer, AmbiguityCostsPlacesNotHistories) {
  // 2^n ways to have read n letters, but few different stacks.
  Language language(ParseGbnf("root ::= \"a\" | \"a\" root \"b\" | \"a\" root \"c\"", "g"));
  EXPECT_TRUE(language.Takes(std::string(40, 'a') + std::string(20, 'b') + std::string(19, 'c')));
  EXPECT_FALSE(language.Takes(std::string(40, 'a') + std::string(20, 'b') + std::string(20, 'c')));
}

TEST(Recognizer, ImportedPositionsGoOnAlike) {
  const Grammar grammar = ParseGbnf("root ::= \"(\" root* \")\" | [a-z]", "g");
  Language language(grammar);
  PositionId position = language.recognizer().Start();
  for (char byte : std::string("((((a(b)(("))
    position = language.recognizer().Step(position, static_cast<uint8_t>(byte));
  Recognizer fresh(language.automaton());
  const std::vector<PositionId> twice = {position, position};
  const auto imported = fresh.Import(language.recognizer(), twice);
  PositionId other = imported[0];
  EXPECT_EQ(imported[1], other);
  for (char byte : std::string("))a))))")) {
    position = language.recognizer().Step(position, static_cast<uint8_t>(byte));
    other = fresh.Step(other, static_cast<uint8_t>(byte));
    EXPECT_EQ(position == Recognizer::kDead, other == Recognizer::kDead);
    if (position == Recognizer::kDead || other == Recognizer::kDead) return;
    EXPECT_EQ(language.recognizer().MayEnd(position), fresh.MayEnd(other));
  }
  EXPECT_TRUE(fresh.MayEnd(other));
}

TEST(Recognizer, TooMuchAmbiguityIsAnError) {
  // 3,000 rules that begin alike.
  Grammar g;
  std::vector<ExpressionId> alternatives;
  const RuleId root = g.Declare("root");
  for (int i = 0; i < 3000; ++i) {
    const RuleId rule = g.Declare("r" + std::to_string(i));
    g.Define(rule, g.Sequence({g.Text("a"), g.Text(std::to_string(i))}));
    alternatives.push_back(g.Reference(rule));
    alternatives.push_back(g.Sequence({g.Reference(rule), g.Text("b")}));
  }
  g.Define(root, g.Choice(alternatives));
  g.root = root;
  Language language(g);
  EXPECT_THROW(language.Begins("a"), Error);
  EXPECT_THROW(language.Begins("a"), Error);  // and it stays usable
}

}  // namespace
}  // namespace edgellm::constrain
