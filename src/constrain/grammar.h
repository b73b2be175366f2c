// A context-free grammar over bytes: rules whose bodies are expressions of texts, classes of code points, sequences,
// choices, repetitions and references. Pure data that parsers (gbnf.h, json_schema.h) build and automaton.h compiles;
// it recognises nothing itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace edgellm::constrain {

using ExpressionId = int32_t;
using RuleId = int32_t;

/// Inclusive at both ends.
struct CodePointRange {
  char32_t low, high;
  bool operator==(const CodePointRange&) const = default;
};

/// One place of a Join: `expression`, which may be left out, or come again and again.
struct JoinItem {
  ExpressionId expression;
  bool optional = false;
  bool repeated = false;
};

struct Expression {
  enum class Kind : uint8_t { kText, kClass, kSequence, kChoice, kRepeat, kRule, kJoin };
  Kind kind = Kind::kText;
  std::string text;                    // kText: bytes, also none
  std::vector<CodePointRange> ranges;  // kClass: sorted, disjoint, scalar values only, not empty
  std::vector<ExpressionId> children;  // kSequence, kChoice: in order; kRepeat: one; kJoin: separator, before, after
  std::vector<JoinItem> items;         // kJoin
  int minimum = 0;                     // kRepeat
  int maximum = 0;                     // kRepeat; kUnlimited: no limit
  RuleId rule = -1;                    // kRule
};

/// Expressions are nodes of one arena, referred to by index; they may be shared.
class Grammar {
 public:
  static constexpr int kUnlimited = -1;
  static constexpr size_t kMaxExpressions = 500'000;

  /// Each adds an expression. Throws Error(kLimit) past kMaxExpressions.
  ExpressionId Text(std::string_view bytes);
  /// The code points of `ranges`, or all others; surrogates belong to neither. An empty class is allowed: it matches
  /// nothing, and so does what needs it.
  ExpressionId Class(std::vector<CodePointRange> ranges, bool negated = false);
  ExpressionId Sequence(std::vector<ExpressionId> children);
  ExpressionId Choice(std::vector<ExpressionId> children);
  ExpressionId Repeat(ExpressionId child, int minimum, int maximum);
  ExpressionId Optional(ExpressionId child) { return Repeat(child, 0, 1); }
  ExpressionId Reference(RuleId rule);
  /// The items in order with `separator` between those that are there: members of an object, for one. If there are any,
  /// `before` and `after` stand around them. Takes one copy of each item, where sequences of optional parts would take
  /// many.
  ExpressionId Join(std::vector<JoinItem> items, ExpressionId separator, ExpressionId before, ExpressionId after);

  /// A rule without a body; `name` is for error texts.
  RuleId Declare(std::string name);
  void Define(RuleId rule, ExpressionId body);
  RuleId AddRule(std::string name, ExpressionId body);

  /// Copies all expressions and rules of another grammar. Returns what its root has become here.
  RuleId Import(const Grammar& other);

  const Expression& at(ExpressionId id) const { return expressions_[static_cast<size_t>(id)]; }
  int rule_count() const { return static_cast<int>(rules_.size()); }
  const std::string& name(RuleId rule) const { return rules_[static_cast<size_t>(rule)].name; }
  bool defined(RuleId rule) const { return rules_[static_cast<size_t>(rule)].body >= 0; }
  ExpressionId body(RuleId rule) const { return rules_[static_cast<size_t>(rule)].body; }

  RuleId root = -1;

 private:
  struct Rule {
    std::string name;
    ExpressionId body = -1;
  };

  ExpressionId Add(Expression expression);

  std::vector<Expression> expressions_;
  std::vector<Rule> rules_;
};

/// Sorted, merged, without surrogates and what lies past U+10FFFF; with `negated`, all the others.
std::vector<CodePointRange> NormalizeRanges(std::vector<CodePointRange> ranges, bool negated);

}  // namespace edgellm::constrain
