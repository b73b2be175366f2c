// What the two halves of the parser (expressions, statements) share: the tokens, the symbols, the depth.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/jinja_ast.h"
#include "text/jinja_lexer.h"

namespace edgellm::text::jinja {

class ParserState {
 public:
  /// Symbols that the interpreter itself assigns; every template has them.
  static constexpr Symbol kLoop = 0, kCaller = 1, kVarargs = 2, kKwargs = 3;

  ParserState(const Source& source, int most_depth)
      : source_(source), tokens_(Tokenize(source)), most_depth_(most_depth) {
    for (const char* name : {"loop", "caller", "varargs", "kwargs"}) SymbolOf(name);
  }

  const Token& current() const { return tokens_[position_]; }
  const Token& next() const { return tokens_[std::min(position_ + 1, tokens_.size() - 1)]; }
  const Token& Take();
  bool AtName(std::string_view name) const { return current().kind == Token::Kind::kName && current().text == name; }
  bool AtOperator(std::string_view spelling) const {
    return current().kind == Token::Kind::kOperator && current().text == spelling;
  }
  bool TakeName(std::string_view name);
  bool TakeOperator(std::string_view spelling);
  void Expect(Token::Kind kind, std::string_view description);
  void ExpectOperator(std::string_view spelling);
  std::string ExpectName();

  Symbol SymbolOf(const std::string& name);
  std::vector<std::string>& symbols() { return symbols_; }
  /// How often the symbol has been seen so far.
  int mentions(Symbol symbol) const { return mentions_[static_cast<size_t>(symbol)]; }

  [[noreturn]] void FailAt(uint32_t offset, ErrorCode code, std::string_view cause) const {
    throw source_.ErrorAt(code, offset, cause);
  }
  [[noreturn]] void FailHere(std::string_view cause) const { FailAt(current().offset, ErrorCode::kCorrupt, cause); }
  /// "unexpected …, expected …" at the current token.
  [[noreturn]] void FailUnexpected(std::string_view expected) const;
  void CheckDepth(int depth, uint32_t offset) const;

  /// Counts how deep the parser's functions are in one another.
  class Nesting {
   public:
    explicit Nesting(ParserState& state) : state_(state) {
      ++state_.depth_;
      state_.CheckDepth(state_.depth_, state_.current().offset);
    }
    ~Nesting() { --state_.depth_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    ParserState& state_;
  };

 private:
  const Source& source_;
  std::vector<Token> tokens_;
  size_t position_ = 0;
  int most_depth_;
  int depth_ = 0;
  std::vector<std::string> symbols_;
  std::vector<int> mentions_;
  std::unordered_map<std::string, Symbol> symbol_by_name_;
};

/// The expression grammar.
class ExpressionParser {
 public:
  explicit ExpressionParser(ParserState& state) : state_(state) {}

  ExpressionPointer Expression(bool with_conditional = true);
  /// Expressions separated by commas are a tuple; one alone is itself.
  ExpressionPointer TupleOrExpression(bool with_conditional = true, bool in_parentheses = false);
  /// Filters after "|", each with a null input; with `first`, a filter's name stands here without "|".
  std::vector<ExpressionPointer> Filters(bool first);
  Target AssignmentTarget(bool namespace_allowed);

 private:
  ExpressionPointer Conditional();
  ExpressionPointer LogicalOr();
  ExpressionPointer LogicalAnd();
  ExpressionPointer LogicalNot();
  ExpressionPointer Comparisons();
  ExpressionPointer Sum();
  ExpressionPointer Concatenations();
  ExpressionPointer Product();
  ExpressionPointer Power();
  ExpressionPointer Signed(bool with_filters);
  ExpressionPointer Primary();
  ExpressionPointer Postfix(ExpressionPointer object);
  ExpressionPointer FiltersAndTests(ExpressionPointer input);
  ExpressionPointer FilterAt(ExpressionPointer input);
  ExpressionPointer TestAt(ExpressionPointer input);
  ExpressionPointer SubscriptAt(ExpressionPointer object);
  ExpressionPointer CallAt(ExpressionPointer callee);
  ExpressionPointer ListLiteralAt();
  ExpressionPointer DictLiteralAt();
  ExpressionPointer NameOrConstant();
  ExpressionPointer NumberLiteral();
  CallArguments ArgumentsAt();
  Target SingleTarget(bool namespace_allowed);
  bool AtTupleEnd() const;

  ParserState& state_;
};

}  // namespace edgellm::text::jinja
