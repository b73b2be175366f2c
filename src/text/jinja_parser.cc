// The statement grammar, and the handling of tokens.
#include "text/jinja_parser.h"

#include <algorithm>
#include <array>

#include "text/jinja_parser_state.h"

namespace edgellm::text::jinja {

namespace {

using Kind = Token::Kind;

std::string Describe(const Token& token) {
  switch (token.kind) {
    case Kind::kData:
      return "text";
    case Kind::kBlockEnd:
      return "the end of the tag";
    case Kind::kOutputEnd:
      return "the end of the tag";
    case Kind::kEnd:
      return "the end of the template";
    case Kind::kString:
      return "a string";
    default:
      return fmt::format("'{}'", token.text);
  }
}

class StatementParser {
 public:
  explicit StatementParser(ParserState& state) : state_(state), expressions_(state) {}

  /// Up to a tag whose name is one of `ends` (which is left standing), or to the end of the template where there are
  /// none.
  Body Statements(std::initializer_list<std::string_view> ends);

 private:
  Statement BlockTag(uint32_t offset);
  Statement IfAt(uint32_t offset);
  Statement ForAt(uint32_t offset);
  Statement SetAt(uint32_t offset);
  Statement MacroAt(uint32_t offset);
  Statement CallBlockAt(uint32_t offset);
  Statement FilterBlockAt(uint32_t offset);
  Statement WithAt(uint32_t offset);
  Statement GenerationAt(uint32_t offset);
  Statement LoopControlAt(uint32_t offset);
  std::vector<Parameter> Parameters();
  /// The body of a macro: break and continue in it do not reach the loops around it.
  void SeparateBody(std::string_view end, MacroDefinition& macro);
  Body BodyUpTo(std::string_view end);
  void EndTag() { state_.Expect(Kind::kBlockEnd, "the end of the tag"); }

  ParserState& state_;
  ExpressionParser expressions_;
  int loops_ = 0;
};

Body StatementParser::Statements(std::initializer_list<std::string_view> ends) {
  const ParserState::Nesting nesting(state_);
  Body body;
  for (;;) {
    const uint32_t offset = state_.current().offset;
    switch (state_.current().kind) {
      case Kind::kData:
        body.push_back({offset, Text{state_.Take().text}});
        break;
      case Kind::kOutputBegin: {
        state_.Take();
        body.push_back({offset, Output{expressions_.TupleOrExpression()}});
        state_.Expect(Kind::kOutputEnd, "the end of the tag");
        break;
      }
      case Kind::kBlockBegin: {
        const Token& name = state_.next();
        if (name.kind == Kind::kName && std::find(ends.begin(), ends.end(), name.text) != ends.end()) {
          state_.Take();
          return body;
        }
        state_.Take();
        body.push_back(BlockTag(offset));
        break;
      }
      default:
        if (ends.size() == 0) return body;
        state_.FailUnexpected(fmt::format("a tag '{}'", *(ends.end() - 1)));
    }
  }
}

Body StatementParser::BodyUpTo(std::string_view end) {
  Body body = Statements({end});
  state_.Take();
  EndTag();
  return body;
}

void StatementParser::SeparateBody(std::string_view end, MacroDefinition& macro) {
  const int varargs_before = state_.mentions(ParserState::kVarargs);
  const int kwargs_before = state_.mentions(ParserState::kKwargs);
  const int loops_around = std::exchange(loops_, 0);
  macro.body = BodyUpTo(end);
  loops_ = loops_around;
  macro.mentions_varargs = state_.mentions(ParserState::kVarargs) > varargs_before;
  macro.mentions_kwargs = state_.mentions(ParserState::kKwargs) > kwargs_before;
}

Statement StatementParser::BlockTag(uint32_t offset) {
  struct Row {
    std::string_view name;
    Statement (StatementParser::*parse)(uint32_t);
  };
  static constexpr std::array<Row, 10> kTags = {{{"if", &StatementParser::IfAt},
                                                 {"for", &StatementParser::ForAt},
                                                 {"set", &StatementParser::SetAt},
                                                 {"macro", &StatementParser::MacroAt},
                                                 {"call", &StatementParser::CallBlockAt},
                                                 {"filter", &StatementParser::FilterBlockAt},
                                                 {"with", &StatementParser::WithAt},
                                                 {"generation", &StatementParser::GenerationAt},
                                                 {"break", &StatementParser::LoopControlAt},
                                                 {"continue", &StatementParser::LoopControlAt}}};
  static constexpr std::array<std::string_view, 8> kUnsupported = {"block", "extends", "include", "import",
                                                                   "from",  "do",      "trans",   "autoescape"};
  const Token& token = state_.current();
  if (token.kind != Kind::kName) state_.FailUnexpected("the name of a tag");
  for (const Row& row : kTags) {
    if (token.text == row.name) return (this->*row.parse)(offset);
  }
  if (std::find(kUnsupported.begin(), kUnsupported.end(), token.text) != kUnsupported.end()) {
    state_.FailAt(token.offset, ErrorCode::kUnsupported, fmt::format("the tag '{}' is not supported", token.text));
  }
  state_.FailAt(token.offset, ErrorCode::kCorrupt, fmt::format("the tag '{}' is unknown or out of place", token.text));
}

Statement StatementParser::IfAt(uint32_t offset) {
  If node;
  for (;;) {
    state_.Take();  // if, elif
    ExpressionPointer condition = expressions_.TupleOrExpression(false);
    EndTag();
    Body body = Statements({"elif", "else", "endif"});
    node.branches.emplace_back(std::move(condition), std::move(body));
    if (!state_.AtName("elif")) break;
  }
  if (state_.TakeName("else")) {
    EndTag();
    node.otherwise = BodyUpTo("endif");
  } else {
    state_.Take();
    EndTag();
  }
  return {offset, std::move(node)};
}

Statement StatementParser::ForAt(uint32_t offset) {
  state_.Take();
  For node;
  node.target = expressions_.AssignmentTarget(false);
  if (!state_.TakeName("in")) state_.FailUnexpected("'in'");
  node.items = expressions_.TupleOrExpression(false);
  if (state_.TakeName("if")) node.condition = expressions_.Expression();
  if (state_.AtName("recursive")) {
    state_.FailAt(state_.current().offset, ErrorCode::kUnsupported, "recursive loops are not supported");
  }
  EndTag();
  ++loops_;
  node.body = Statements({"else", "endfor"});
  --loops_;
  const bool has_else = state_.Take().text == "else";
  EndTag();
  if (has_else) node.otherwise = BodyUpTo("endfor");
  return {offset, std::move(node)};
}

Statement StatementParser::SetAt(uint32_t offset) {
  state_.Take();
  Target target = expressions_.AssignmentTarget(true);
  if (state_.TakeOperator("=")) {
    ExpressionPointer value = expressions_.TupleOrExpression();
    EndTag();
    return {offset, Set{std::move(target), std::move(value)}};
  }
  std::vector<ExpressionPointer> filters = expressions_.Filters(false);
  EndTag();
  Body body = BodyUpTo("endset");
  return {offset, SetBlock{std::move(target), std::move(filters), std::move(body)}};
}

std::vector<Parameter> StatementParser::Parameters() {
  std::vector<Parameter> parameters;
  state_.ExpectOperator("(");
  while (!state_.AtOperator(")")) {
    std::string name = state_.ExpectName();
    const Symbol symbol = state_.SymbolOf(name);
    for (const Parameter& other : parameters) {
      if (other.symbol == symbol) state_.FailHere(fmt::format("two parameters are named '{}'", name));
    }
    ExpressionPointer default_value;
    if (state_.TakeOperator("=")) {
      default_value = expressions_.Expression();
    } else if (!parameters.empty() && parameters.back().default_value != nullptr) {
      state_.FailHere("a parameter without a default follows one with a default");
    }
    parameters.push_back({symbol, std::move(name), std::move(default_value)});
    if (!state_.TakeOperator(",")) break;
  }
  state_.ExpectOperator(")");
  return parameters;
}

Statement StatementParser::MacroAt(uint32_t offset) {
  state_.Take();
  auto macro = std::make_shared<MacroDefinition>();
  macro->name = state_.ExpectName();
  macro->symbol = state_.SymbolOf(macro->name);
  macro->parameters = Parameters();
  EndTag();
  SeparateBody("endmacro", *macro);
  return {offset, std::shared_ptr<const MacroDefinition>(std::move(macro))};
}

Statement StatementParser::CallBlockAt(uint32_t offset) {
  state_.Take();
  auto caller = std::make_shared<MacroDefinition>();
  caller->name = "caller";
  caller->symbol = ParserState::kCaller;
  if (state_.AtOperator("(")) caller->parameters = Parameters();
  const uint32_t call_offset = state_.current().offset;
  ExpressionPointer call = expressions_.Expression();
  if (!std::holds_alternative<Call>(call->node))
    state_.FailAt(call_offset, ErrorCode::kCorrupt, "a call is expected here");
  EndTag();
  SeparateBody("endcall", *caller);
  return {offset, CallBlock{std::move(caller), std::move(call)}};
}

Statement StatementParser::FilterBlockAt(uint32_t offset) {
  state_.Take();
  FilterBlock node;
  node.filters = expressions_.Filters(true);
  EndTag();
  node.body = BodyUpTo("endfilter");
  return {offset, std::move(node)};
}

Statement StatementParser::WithAt(uint32_t offset) {
  state_.Take();
  With node;
  while (state_.current().kind != Kind::kBlockEnd) {
    if (!node.variables.empty()) state_.ExpectOperator(",");
    Target target;
    target.symbol = state_.SymbolOf(state_.ExpectName());
    state_.ExpectOperator("=");
    node.variables.emplace_back(std::move(target), expressions_.Expression());
  }
  EndTag();
  node.body = BodyUpTo("endwith");
  return {offset, std::move(node)};
}

Statement StatementParser::GenerationAt(uint32_t offset) {
  state_.Take();
  EndTag();
  With node;  // Hugging Face makes it a call block, so it is a scope of its own
  const int loops_around = std::exchange(loops_, 0);
  node.body = BodyUpTo("endgeneration");
  loops_ = loops_around;
  return {offset, std::move(node)};
}

Statement StatementParser::LoopControlAt(uint32_t offset) {
  const Token& token = state_.Take();
  if (loops_ == 0) state_.FailAt(token.offset, ErrorCode::kCorrupt, fmt::format("'{}' outside of a loop", token.text));
  EndTag();
  return {offset, LoopControl{token.text == "break"}};
}

}  // namespace

const Token& ParserState::Take() {
  const Token& token = current();
  if (position_ + 1 < tokens_.size()) ++position_;
  return token;
}

bool ParserState::TakeName(std::string_view name) {
  if (!AtName(name)) return false;
  ++position_;
  return true;
}

bool ParserState::TakeOperator(std::string_view spelling) {
  if (!AtOperator(spelling)) return false;
  ++position_;
  return true;
}

void ParserState::Expect(Token::Kind kind, std::string_view description) {
  if (current().kind != kind) FailUnexpected(description);
  Take();
}

void ParserState::ExpectOperator(std::string_view spelling) {
  if (!TakeOperator(spelling)) FailUnexpected(fmt::format("'{}'", spelling));
}

std::string ParserState::ExpectName() {
  if (current().kind != Kind::kName) FailUnexpected("a name");
  return Take().text;
}

Symbol ParserState::SymbolOf(const std::string& name) {
  const auto [found, is_fresh] = symbol_by_name_.try_emplace(name, static_cast<Symbol>(symbols_.size()));
  if (is_fresh) {
    symbols_.push_back(name);
    mentions_.push_back(0);
  }
  ++mentions_[static_cast<size_t>(found->second)];
  return found->second;
}

void ParserState::FailUnexpected(std::string_view expected) const {
  FailHere(fmt::format("unexpected {}, expected {}", Describe(current()), expected));
}

void ParserState::CheckDepth(int depth, uint32_t offset) const {
  if (depth > most_depth_) FailAt(offset, ErrorCode::kLimit, fmt::format("nested deeper than {}", most_depth_));
}

Template Parse(const Source& source, int most_depth) {
  ParserState state(source, most_depth);
  Template parsed;
  parsed.loop = ParserState::kLoop;
  parsed.caller = ParserState::kCaller;
  parsed.varargs = ParserState::kVarargs;
  parsed.kwargs = ParserState::kKwargs;
  parsed.body = StatementParser(state).Statements({});
  parsed.symbols = std::move(state.symbols());
  return parsed;
}

}  // namespace edgellm::text::jinja
