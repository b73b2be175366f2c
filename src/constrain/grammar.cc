// See grammar.h.
#include "constrain/grammar.h"

#include <algorithm>

#include "base/error.h"

namespace edgellm::constrain {

namespace {

constexpr char32_t kLastCodePoint = 0x10FFFF;

/// Adds what of [low, high] is a scalar value.
void AddScalars(std::vector<CodePointRange>* ranges, char32_t low, char32_t high) {
  constexpr CodePointRange kSurrogates = {0xD800, 0xDFFF};
  high = std::min(high, kLastCodePoint);
  if (low > high) return;
  if (high < kSurrogates.low || low > kSurrogates.high) {
    ranges->push_back({low, high});
    return;
  }
  if (low < kSurrogates.low) ranges->push_back({low, kSurrogates.low - 1});
  if (high > kSurrogates.high) ranges->push_back({kSurrogates.high + 1, high});
}

}  // namespace

std::vector<CodePointRange> NormalizeRanges(std::vector<CodePointRange> ranges, bool negated) {
  std::sort(ranges.begin(), ranges.end(), [](const auto& a, const auto& b) { return a.low < b.low; });
  std::vector<CodePointRange> merged;
  for (const CodePointRange& range : ranges) {
    if (range.low > range.high) continue;
    if (!merged.empty() && range.low <= merged.back().high + 1) {
      merged.back().high = std::max(merged.back().high, range.high);
    } else {
      merged.push_back(range);
    }
  }
  std::vector<CodePointRange> result;
  if (!negated) {
    for (const auto& range : merged) AddScalars(&result, range.low, range.high);
    return result;
  }
  char32_t next = 0;
  for (const auto& range : merged) {
    if (range.low > next) AddScalars(&result, next, range.low - 1);
    next = range.high + 1;
  }
  AddScalars(&result, next, kLastCodePoint);
  return result;
}

ExpressionId Grammar::Add(Expression expression) {
  if (expressions_.size() >= kMaxExpressions) {
    Fail(ErrorCode::kLimit, "the grammar has more than {} expressions", kMaxExpressions);
  }
  expressions_.push_back(std::move(expression));
  return static_cast<ExpressionId>(expressions_.size() - 1);
}

ExpressionId Grammar::Text(std::string_view bytes) {
  Expression expression;
  expression.kind = Expression::Kind::kText;
  expression.text = bytes;
  return Add(std::move(expression));
}

ExpressionId Grammar::Class(std::vector<CodePointRange> ranges, bool negated) {
  Expression expression;
  expression.kind = Expression::Kind::kClass;
  expression.ranges = NormalizeRanges(std::move(ranges), negated);
  return Add(std::move(expression));
}

ExpressionId Grammar::Sequence(std::vector<ExpressionId> children) {
  if (children.size() == 1) return children[0];
  Expression expression;
  expression.kind = Expression::Kind::kSequence;
  expression.children = std::move(children);
  return Add(std::move(expression));
}

ExpressionId Grammar::Choice(std::vector<ExpressionId> children) {
  if (children.size() == 1) return children[0];
  Expression expression;
  expression.kind = Expression::Kind::kChoice;
  expression.children = std::move(children);
  return Add(std::move(expression));
}

ExpressionId Grammar::Repeat(ExpressionId child, int minimum, int maximum) {
  EDGELLM_CHECK(minimum >= 0 && (maximum == kUnlimited || maximum >= minimum), "a repetition needs a sensible range");
  Expression expression;
  expression.kind = Expression::Kind::kRepeat;
  expression.children = {child};
  expression.minimum = minimum;
  expression.maximum = maximum;
  return Add(std::move(expression));
}

ExpressionId Grammar::Reference(RuleId rule) {
  Expression expression;
  expression.kind = Expression::Kind::kRule;
  expression.rule = rule;
  return Add(std::move(expression));
}

ExpressionId Grammar::Join(std::vector<JoinItem> items, ExpressionId separator, ExpressionId before,
                           ExpressionId after) {
  Expression expression;
  expression.kind = Expression::Kind::kJoin;
  expression.items = std::move(items);
  expression.children = {separator, before, after};
  return Add(std::move(expression));
}

RuleId Grammar::Declare(std::string name) {
  rules_.push_back({std::move(name), -1});
  return static_cast<RuleId>(rules_.size() - 1);
}

void Grammar::Define(RuleId rule, ExpressionId body) {
  rules_[static_cast<size_t>(rule)].body = body;
}

RuleId Grammar::AddRule(std::string name, ExpressionId body) {
  const RuleId rule = Declare(std::move(name));
  Define(rule, body);
  return rule;
}

RuleId Grammar::Import(const Grammar& other) {
  const auto first_expression = static_cast<ExpressionId>(expressions_.size());
  const auto first_rule = static_cast<RuleId>(rules_.size());
  for (Expression expression : other.expressions_) {
    for (ExpressionId& child : expression.children) child += first_expression;
    for (JoinItem& item : expression.items) item.expression += first_expression;
    if (expression.rule >= 0) expression.rule += first_rule;
    Add(std::move(expression));
  }
  for (const Rule& rule : other.rules_) {
    rules_.push_back({rule.name, rule.body < 0 ? -1 : rule.body + first_expression});
  }
  return other.root < 0 ? -1 : other.root + first_rule;
}

}  // namespace edgellm::constrain
