// The expression grammar, one function a level of precedence, weakest first.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <optional>

#include "text/jinja_parser_state.h"

namespace edgellm::text::jinja {

namespace {

using Kind = Token::Kind;

int HeightOf(const ExpressionPointer& child) {
  return child ? child->height : 0;
}

int HeightOf(const CallArguments& arguments) {
  int height = 0;
  for (const auto& argument : arguments.positional) height = std::max(height, HeightOf(argument));
  for (const auto& [name, argument] : arguments.keyword) height = std::max(height, HeightOf(argument));
  return height;
}

/// Wraps a node whose highest child has `height_below`.
template <typename Node>
ExpressionPointer Make(const ParserState& state, uint32_t offset, int height_below, Node node) {
  state.CheckDepth(height_below + 1, offset);
  auto made = std::make_unique<Expression>();
  made->offset = offset;
  made->height = height_below + 1;
  made->node = std::move(node);
  return made;
}

ExpressionPointer MakeLiteral(const ParserState& state, uint32_t offset, Value value) {
  return Make(state, offset, 0, Literal{std::move(value)});
}

}  // namespace

ExpressionPointer ExpressionParser::Expression(bool with_conditional) {
  const ParserState::Nesting nesting(state_);
  return with_conditional ? Conditional() : LogicalOr();
}

ExpressionPointer ExpressionParser::Conditional() {
  ExpressionPointer value = LogicalOr();
  while (state_.AtName("if")) {
    const uint32_t offset = state_.Take().offset;
    ExpressionPointer condition = LogicalOr();
    ExpressionPointer otherwise;
    if (state_.TakeName("else")) otherwise = Expression();
    const int height = std::max({HeightOf(value), HeightOf(condition), HeightOf(otherwise)});
    value =
        Make(state_, offset, height, jinja::Conditional{std::move(condition), std::move(value), std::move(otherwise)});
  }
  return value;
}

ExpressionPointer ExpressionParser::LogicalOr() {
  ExpressionPointer left = LogicalAnd();
  while (state_.AtName("or")) {
    const uint32_t offset = state_.Take().offset;
    ExpressionPointer right = LogicalAnd();
    const int height = std::max(HeightOf(left), HeightOf(right));
    left = Make(state_, offset, height, Logic{false, std::move(left), std::move(right)});
  }
  return left;
}

ExpressionPointer ExpressionParser::LogicalAnd() {
  ExpressionPointer left = LogicalNot();
  while (state_.AtName("and")) {
    const uint32_t offset = state_.Take().offset;
    ExpressionPointer right = LogicalNot();
    const int height = std::max(HeightOf(left), HeightOf(right));
    left = Make(state_, offset, height, Logic{true, std::move(left), std::move(right)});
  }
  return left;
}

ExpressionPointer ExpressionParser::LogicalNot() {
  if (!state_.AtName("not")) return Comparisons();
  const ParserState::Nesting nesting(state_);
  const uint32_t offset = state_.Take().offset;
  ExpressionPointer operand = LogicalNot();
  const int height = HeightOf(operand);
  return Make(state_, offset, height, Unary{UnaryOperator::kNot, std::move(operand)});
}

ExpressionPointer ExpressionParser::Comparisons() {
  static constexpr std::array<std::pair<std::string_view, Comparison>, 6> kOperators = {
      {{"==", Comparison::kEqual},
       {"!=", Comparison::kNotEqual},
       {"<", Comparison::kLess},
       {"<=", Comparison::kLessEqual},
       {">", Comparison::kGreater},
       {">=", Comparison::kGreaterEqual}}};
  ExpressionPointer first = Sum();
  std::vector<std::pair<Comparison, ExpressionPointer>> rest;
  int height = HeightOf(first);
  uint32_t first_offset = 0;
  for (;;) {
    const Token& token = state_.current();
    const uint32_t offset = token.offset;
    std::optional<Comparison> operation;
    for (const auto& [spelling, meaning] : kOperators) {
      if (state_.AtOperator(spelling)) operation = meaning;
    }
    if (state_.AtName("in")) operation = Comparison::kIn;
    if (state_.AtName("not") && state_.next().kind == Kind::kName && state_.next().text == "in") {
      operation = Comparison::kNotIn;
      state_.Take();
    }
    if (!operation) break;
    state_.Take();
    if (rest.empty()) first_offset = offset;
    rest.emplace_back(*operation, Sum());
    height = std::max(height, HeightOf(rest.back().second));
  }
  if (rest.empty()) return first;
  return Make(state_, first_offset, height, Compare{std::move(first), std::move(rest)});
}

ExpressionPointer ExpressionParser::Sum() {
  ExpressionPointer left = Concatenations();
  while (state_.AtOperator("+") || state_.AtOperator("-")) {
    const Token& token = state_.Take();
    ExpressionPointer right = Concatenations();
    const int height = std::max(HeightOf(left), HeightOf(right));
    const auto operation = token.text == "+" ? BinaryOperator::kAdd : BinaryOperator::kSubtract;
    left = Make(state_, token.offset, height, Binary{operation, std::move(left), std::move(right)});
  }
  return left;
}

ExpressionPointer ExpressionParser::Concatenations() {
  ExpressionPointer first = Product();
  if (!state_.AtOperator("~")) return first;
  const uint32_t offset = state_.current().offset;
  int height = HeightOf(first);
  std::vector<ExpressionPointer> parts;
  parts.push_back(std::move(first));
  while (state_.TakeOperator("~")) {
    parts.push_back(Product());
    height = std::max(height, HeightOf(parts.back()));
  }
  return Make(state_, offset, height, Concatenation{std::move(parts)});
}

ExpressionPointer ExpressionParser::Product() {
  static constexpr std::array<std::pair<std::string_view, BinaryOperator>, 4> kOperators = {
      {{"*", BinaryOperator::kMultiply},
       {"/", BinaryOperator::kDivide},
       {"//", BinaryOperator::kFloorDivide},
       {"%", BinaryOperator::kModulo}}};
  ExpressionPointer left = Power();
  for (;;) {
    const auto found = std::find_if(kOperators.begin(), kOperators.end(),
                                    [&](const auto& row) { return state_.AtOperator(row.first); });
    if (found == kOperators.end()) return left;
    const uint32_t offset = state_.Take().offset;
    ExpressionPointer right = Power();
    const int height = std::max(HeightOf(left), HeightOf(right));
    left = Make(state_, offset, height, Binary{found->second, std::move(left), std::move(right)});
  }
}

ExpressionPointer ExpressionParser::Power() {
  // As jinja2 has it, powers associate to the left and a sign binds tighter: -2 ** 2 is 4.
  ExpressionPointer left = Signed(true);
  while (state_.AtOperator("**")) {
    const uint32_t offset = state_.Take().offset;
    ExpressionPointer right = Signed(true);
    const int height = std::max(HeightOf(left), HeightOf(right));
    left = Make(state_, offset, height, Binary{BinaryOperator::kPower, std::move(left), std::move(right)});
  }
  return left;
}

ExpressionPointer ExpressionParser::Signed(bool with_filters) {
  const ParserState::Nesting nesting(state_);
  ExpressionPointer value;
  if (state_.AtOperator("-") || state_.AtOperator("+")) {
    const Token& token = state_.Take();
    ExpressionPointer operand = Signed(false);
    const int height = HeightOf(operand);
    const auto operation = token.text == "-" ? UnaryOperator::kNegative : UnaryOperator::kPositive;
    value = Make(state_, token.offset, height, Unary{operation, std::move(operand)});
  } else {
    value = Primary();
  }
  value = Postfix(std::move(value));
  return with_filters ? FiltersAndTests(std::move(value)) : std::move(value);
}

ExpressionPointer ExpressionParser::Primary() {
  const uint32_t offset = state_.current().offset;
  switch (state_.current().kind) {
    case Kind::kName:
      return NameOrConstant();
    case Kind::kInteger:
    case Kind::kFloat:
      return NumberLiteral();
    case Kind::kString: {
      std::string text;
      while (state_.current().kind == Kind::kString) text += state_.Take().text;
      return MakeLiteral(state_, offset, Value(std::make_shared<const std::string>(std::move(text))));
    }
    default:
      break;
  }
  if (state_.AtOperator("[")) return ListLiteralAt();
  if (state_.AtOperator("{")) return DictLiteralAt();
  if (state_.TakeOperator("(")) {
    ExpressionPointer inner = TupleOrExpression(true, true);
    state_.ExpectOperator(")");
    return inner;
  }
  state_.FailUnexpected("an expression");
}

ExpressionPointer ExpressionParser::NameOrConstant() {
  const Token& token = state_.Take();
  const std::string& name = token.text;
  if (name == "true" || name == "True") return MakeLiteral(state_, token.offset, Value(true));
  if (name == "false" || name == "False") return MakeLiteral(state_, token.offset, Value(false));
  if (name == "none" || name == "None") return MakeLiteral(state_, token.offset, Value(None{}));
  const Symbol symbol = state_.SymbolOf(name);
  return Make(state_, token.offset, 0, Name{symbol, name});
}

ExpressionPointer ExpressionParser::NumberLiteral() {
  const Token& token = state_.Take();
  const std::string& spelling = token.text;
  if (token.kind == Kind::kFloat)
    return MakeLiteral(state_, token.offset, Value(std::strtod(spelling.c_str(), nullptr)));
  const bool prefixed = spelling.size() > 2 && spelling[0] == '0' && (spelling[1] & 0x40) != 0;
  const int base = !prefixed ? 10 : (spelling[1] | 0x20) == 'x' ? 16 : (spelling[1] | 0x20) == 'o' ? 8 : 2;
  int64_t value = 0;
  const char* end = spelling.data() + spelling.size();
  if (std::from_chars(spelling.data() + (prefixed ? 2 : 0), end, value, base).ec != std::errc()) {
    state_.FailAt(token.offset, ErrorCode::kUnsupported, "this number does not fit in 64 bits");
  }
  return MakeLiteral(state_, token.offset, Value(value));
}

bool ExpressionParser::AtTupleEnd() const {
  const Kind kind = state_.current().kind;
  return kind == Kind::kOutputEnd || kind == Kind::kBlockEnd || state_.AtOperator(")");
}

ExpressionPointer ExpressionParser::TupleOrExpression(bool with_conditional, bool in_parentheses) {
  const uint32_t offset = state_.current().offset;
  std::vector<ExpressionPointer> items;
  bool is_tuple = in_parentheses && AtTupleEnd();
  int height = 0;
  while (!AtTupleEnd()) {
    items.push_back(Expression(with_conditional));
    height = std::max(height, HeightOf(items.back()));
    if (!state_.TakeOperator(",")) break;
    is_tuple = true;
  }
  if (is_tuple) return Make(state_, offset, height, SequenceLiteral{Sequence::Kind::kTuple, std::move(items)});
  if (items.empty()) state_.FailUnexpected("an expression");
  return std::move(items.front());
}

ExpressionPointer ExpressionParser::ListLiteralAt() {
  const uint32_t offset = state_.Take().offset;
  std::vector<ExpressionPointer> items;
  int height = 0;
  while (!state_.AtOperator("]")) {
    items.push_back(Expression());
    height = std::max(height, HeightOf(items.back()));
    if (!state_.TakeOperator(",")) break;
  }
  state_.ExpectOperator("]");
  return Make(state_, offset, height, SequenceLiteral{Sequence::Kind::kList, std::move(items)});
}

ExpressionPointer ExpressionParser::DictLiteralAt() {
  const uint32_t offset = state_.Take().offset;
  DictLiteral dict;
  int height = 0;
  while (!state_.AtOperator("}")) {
    ExpressionPointer key = Expression();
    state_.ExpectOperator(":");
    ExpressionPointer value = Expression();
    height = std::max({height, HeightOf(key), HeightOf(value)});
    dict.entries.emplace_back(std::move(key), std::move(value));
    if (!state_.TakeOperator(",")) break;
  }
  state_.ExpectOperator("}");
  return Make(state_, offset, height, std::move(dict));
}

ExpressionPointer ExpressionParser::Postfix(ExpressionPointer object) {
  for (;;) {
    if (state_.AtOperator(".") || state_.AtOperator("[")) {
      object = SubscriptAt(std::move(object));
    } else if (state_.AtOperator("(")) {
      object = CallAt(std::move(object));
    } else {
      return object;
    }
  }
}

ExpressionPointer ExpressionParser::SubscriptAt(ExpressionPointer object) {
  const uint32_t offset = state_.current().offset;
  const int height = HeightOf(object);
  if (state_.TakeOperator(".")) {
    if (state_.current().kind == Kind::kInteger) {
      return Make(state_, offset, height, Subscript{std::move(object), NumberLiteral()});
    }
    return Make(state_, offset, height, Attribute{std::move(object), state_.ExpectName()});
  }
  state_.ExpectOperator("[");
  ExpressionPointer start, stop, step;
  if (!state_.AtOperator(":")) {
    start = Expression();
    if (state_.TakeOperator("]")) {
      const int highest = std::max(height, HeightOf(start));
      return Make(state_, offset, highest, Subscript{std::move(object), std::move(start)});
    }
  }
  state_.ExpectOperator(":");
  if (!state_.AtOperator(":") && !state_.AtOperator("]")) stop = Expression();
  if (state_.TakeOperator(":") && !state_.AtOperator("]")) step = Expression();
  state_.ExpectOperator("]");
  const int highest = std::max({height, HeightOf(start), HeightOf(stop), HeightOf(step)});
  return Make(state_, offset, highest, Slice{std::move(object), std::move(start), std::move(stop), std::move(step)});
}

CallArguments ExpressionParser::ArgumentsAt() {
  CallArguments arguments;
  state_.ExpectOperator("(");
  while (!state_.AtOperator(")")) {
    const Token& token = state_.current();
    if (state_.AtOperator("*") || state_.AtOperator("**")) {
      state_.FailAt(token.offset, ErrorCode::kUnsupported, "unpacking arguments with * is not supported");
    }
    const bool named = token.kind == Kind::kName && state_.next().kind == Kind::kOperator && state_.next().text == "=";
    if (named) {
      std::string name = state_.ExpectName();
      state_.ExpectOperator("=");
      arguments.keyword.emplace_back(std::move(name), Expression());
    } else {
      if (!arguments.keyword.empty()) state_.FailHere("an argument without a name follows one with a name");
      arguments.positional.push_back(Expression());
    }
    if (!state_.TakeOperator(",")) break;
  }
  state_.ExpectOperator(")");
  return arguments;
}

ExpressionPointer ExpressionParser::CallAt(ExpressionPointer callee) {
  const uint32_t offset = state_.current().offset;
  CallArguments arguments = ArgumentsAt();
  const int height = std::max(HeightOf(callee), HeightOf(arguments));
  return Make(state_, offset, height, Call{std::move(callee), std::move(arguments)});
}

ExpressionPointer ExpressionParser::FiltersAndTests(ExpressionPointer input) {
  for (;;) {
    if (state_.TakeOperator("|")) {
      input = FilterAt(std::move(input));
    } else if (state_.TakeName("is")) {
      input = TestAt(std::move(input));
    } else if (state_.AtOperator("(")) {
      input = CallAt(std::move(input));
    } else {
      return input;
    }
  }
}

ExpressionPointer ExpressionParser::FilterAt(ExpressionPointer input) {
  const uint32_t offset = state_.current().offset;
  const std::string name = state_.ExpectName();
  const Builtin* filter = FindFilter(name);
  if (filter == nullptr) state_.FailAt(offset, ErrorCode::kUnsupported, fmt::format("there is no filter '{}'", name));
  CallArguments arguments;
  if (state_.AtOperator("(")) arguments = ArgumentsAt();
  const int height = std::max(HeightOf(input), HeightOf(arguments));
  return Make(state_, offset, height, FilterCall{filter, std::move(input), std::move(arguments)});
}

std::vector<ExpressionPointer> ExpressionParser::Filters(bool first) {
  std::vector<ExpressionPointer> filters;
  if (first) filters.push_back(FilterAt(nullptr));
  while (state_.TakeOperator("|")) filters.push_back(FilterAt(nullptr));
  return filters;
}

ExpressionPointer ExpressionParser::TestAt(ExpressionPointer input) {
  const bool negated = state_.TakeName("not");
  const uint32_t offset = state_.current().offset;
  const std::string name = state_.ExpectName();
  const Builtin* test = FindTest(name);
  if (test == nullptr) state_.FailAt(offset, ErrorCode::kUnsupported, fmt::format("there is no test '{}'", name));
  CallArguments arguments;
  const Kind kind = state_.current().kind;
  if (state_.AtOperator("(")) {
    arguments = ArgumentsAt();
  } else if (state_.AtName("is")) {
    state_.FailHere("tests with 'is' cannot be chained");
  } else if ((kind == Kind::kName && !state_.AtName("else") && !state_.AtName("or") && !state_.AtName("and")) ||
             kind == Kind::kString || kind == Kind::kInteger || kind == Kind::kFloat || state_.AtOperator("[") ||
             state_.AtOperator("{")) {
    arguments.positional.push_back(Postfix(Primary()));
  }
  const int height = std::max(HeightOf(input), HeightOf(arguments));
  return Make(state_, offset, height, TestCall{test, std::move(input), std::move(arguments), negated});
}

Target ExpressionParser::SingleTarget(bool namespace_allowed) {
  const ParserState::Nesting nesting(state_);
  if (state_.TakeOperator("(")) {
    Target inner = AssignmentTarget(namespace_allowed);
    state_.ExpectOperator(")");
    return inner;
  }
  static constexpr std::array<std::string_view, 6> kConstants = {"true", "false", "none", "True", "False", "None"};
  const uint32_t offset = state_.current().offset;
  const std::string name = state_.ExpectName();
  if (std::find(kConstants.begin(), kConstants.end(), name) != kConstants.end()) {
    state_.FailAt(offset, ErrorCode::kCorrupt, fmt::format("cannot assign to {}", name));
  }
  Target target;
  target.symbol = state_.SymbolOf(name);
  if (namespace_allowed && state_.TakeOperator(".")) target.attribute = state_.ExpectName();
  return target;
}

Target ExpressionParser::AssignmentTarget(bool namespace_allowed) {
  Target first = SingleTarget(namespace_allowed);
  if (!state_.AtOperator(",")) return first;
  Target tuple;
  tuple.elements.push_back(std::move(first));
  while (state_.TakeOperator(",")) {
    if (state_.current().kind != Kind::kName && !state_.AtOperator("(")) break;
    if (state_.AtName("in")) break;
    tuple.elements.push_back(SingleTarget(namespace_allowed));
  }
  return tuple;
}

}  // namespace edgellm::text::jinja
