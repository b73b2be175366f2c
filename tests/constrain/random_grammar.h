// Random small grammars over the letters a, b and é, and a recogniser that knows nothing of automata: it follows
// the expressions themselves.
#pragma once

#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "constrain/grammar.h"

namespace edgellm::constrain {

/// No rule calls itself before its first byte: rule r calls only rules above r unless a text stands before the call.
inline Grammar RandomGrammar(std::mt19937& random) {
  Grammar g;
  const int rules = 1 + static_cast<int>(random() % 4);
  for (int r = 0; r < rules; ++r) g.Declare("rule" + std::to_string(r));
  const auto letter = [&] { return g.Text(std::vector<const char*>{"a", "b", "\u00e9", "ab"}[random() % 4]); };
  const auto make = [&](const auto& self, int rule, int depth) -> ExpressionId {
    const unsigned kind = depth == 0 ? random() % 3 : random() % 9;
    switch (kind) {
      case 0:
        return letter();
      case 1:
        return g.Class({{'a', 'b'}}, random() % 3 == 0);
      case 2: {
        if (rule + 1 < rules && random() % 2 == 0) {
          return g.Reference(rule + 1 + static_cast<int>(random() % static_cast<unsigned>(rules - rule - 1)));
        }
        return letter();
      }
      case 3:
        return g.Sequence({self(self, rule, depth - 1), self(self, rule, depth - 1)});
      case 4:
        return g.Choice({self(self, rule, depth - 1), self(self, rule, depth - 1)});
      case 5: {
        const int minimum = static_cast<int>(random() % 3);
        const int maximum = random() % 2 == 0 ? Grammar::kUnlimited : minimum + static_cast<int>(random() % 3);
        return g.Repeat(self(self, rule, depth - 1), minimum, maximum);
      }
      case 6: {
        std::vector<JoinItem> items;
        for (unsigned i = 0; i < 1 + random() % 3; ++i) {
          items.push_back({self(self, rule, depth - 1), random() % 2 == 0, random() % 4 == 0});
        }
        return g.Join(std::move(items), g.Text("b"), g.Text(random() % 2 == 0 ? "" : "a"), g.Text(""));
      }
      case 7:  // a recursive call, after a byte; there is a way around it
        return g.Choice(
            {letter(), g.Sequence({letter(), g.Reference(static_cast<int>(random() % static_cast<unsigned>(rules))),
                                   self(self, rule, depth - 1)})});
      default:
        return g.Sequence({});
    }
  };
  for (int r = 0; r < rules; ++r) g.Define(r, make(make, r, 3));
  g.root = 0;
  return g;
}

/// Where a match of an expression that begins at a place can end, by following the grammar's text itself.
class Oracle {
 public:
  Oracle(const Grammar& grammar, std::string text) : grammar_(grammar), text_(std::move(text)) {}

  bool Takes() { return Rule(grammar_.root, 0).contains(text_.size()); }

 private:
  using Ends = std::set<size_t>;

  Ends Rule(RuleId rule, size_t at) {
    const auto key = std::pair(rule, at);
    if (const auto found = known_.find(key); found != known_.end()) return found->second;
    const Ends ends = Match(grammar_.body(rule), at);
    known_[key] = ends;
    return ends;
  }

  Ends MatchAll(ExpressionId id, const Ends& from) {
    Ends ends;
    for (size_t at : from) {
      const Ends more = Match(id, at);
      ends.insert(more.begin(), more.end());
    }
    return ends;
  }

  Ends Match(ExpressionId id, size_t at) {
    const Expression& e = grammar_.at(id);
    switch (e.kind) {
      case Expression::Kind::kText:
        return text_.compare(at, e.text.size(), e.text) == 0 ? Ends{at + e.text.size()} : Ends{};
      case Expression::Kind::kClass: {
        const utf8::Decoded decoded = utf8::Decode(std::string_view(text_).substr(at));
        if (decoded.length == 0 || decoded.state != utf8::Decoded::kWhole) return {};
        for (const auto& range : e.ranges) {
          if (range.low <= decoded.code_point && decoded.code_point <= range.high) {
            return {at + static_cast<size_t>(decoded.length)};
          }
        }
        return {};
      }
      case Expression::Kind::kSequence: {
        Ends ends = {at};
        for (ExpressionId child : e.children) ends = MatchAll(child, ends);
        return ends;
      }
      case Expression::Kind::kChoice: {
        Ends ends;
        for (ExpressionId child : e.children) ends.merge(Match(child, at));
        return ends;
      }
      case Expression::Kind::kRepeat: {
        Ends now = {at}, ends;
        for (int i = 0; i < e.minimum; ++i) now = MatchAll(e.children[0], now);
        ends = now;
        for (int i = e.minimum; e.maximum == Grammar::kUnlimited || i < e.maximum; ++i) {
          const size_t before = ends.size();
          now = MatchAll(e.children[0], now);
          ends.insert(now.begin(), now.end());
          if (e.maximum == Grammar::kUnlimited && ends.size() == before) break;
        }
        return ends;
      }
      case Expression::Kind::kRule:
        return Rule(e.rule, at);
      case Expression::Kind::kJoin:
        break;
    }
    Ends none = {at}, some;
    for (const JoinItem& item : e.items) {
      Ends begins = MatchAll(e.children[1], none);
      begins.merge(MatchAll(e.children[0], some));
      Ends ends = MatchAll(item.expression, begins);
      while (item.repeated) {
        const size_t before = ends.size();
        ends.merge(MatchAll(item.expression, MatchAll(e.children[0], ends)));
        if (ends.size() == before) break;
      }
      if (item.optional) {
        ends.insert(some.begin(), some.end());
      } else {
        none.clear();
      }
      some = ends;
    }
    Ends ends = MatchAll(e.children[2], some);
    ends.merge(none);
    return ends;
  }

  const Grammar& grammar_;
  std::string text_;
  std::map<std::pair<RuleId, size_t>, Ends> known_;
};

}  // namespace edgellm::constrain
