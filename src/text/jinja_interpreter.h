// Walks the syntax tree of a template over one context. An interpreter serves one rendering.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "text/jinja_ast.h"
#include "text/jinja_runtime.h"

namespace edgellm::text::jinja {

/// Variables of one block. Those of the blocks around it are reached through `parent`.
struct Scope {
  explicit Scope(Scope* parent_scope) : parent(parent_scope) {}
  Scope* parent;
  std::unordered_map<Symbol, Value> variables;
  bool captured = false;  // a macro looks into it and may outlive the block
};

class Interpreter {
 public:
  Interpreter(const Template& parsed, Runtime& runtime) : template_(parsed), runtime_(runtime) {}

  std::string Render(const nlohmann::ordered_json& context);
  /// Where the interpreter stands: for the text of an error that comes out of Render.
  uint32_t offset() const { return offset_; }

  /// Runs a macro in the scope it was defined in.
  Value CallMacro(const MacroDefinition& macro, Scope* scope, const Arguments& arguments);

 private:
  enum class Flow { kOn, kBreak, kContinue };
  class Nesting;
  class Capture;
  class Block;

  // Statements.
  Flow Run(const Body& body);
  Flow Run(const Statement& statement);
  Flow RunNode(const Text& node);
  Flow RunNode(const Output& node);
  Flow RunNode(const If& node);
  Flow RunNode(const For& node);
  Flow RunNode(const Set& node);
  Flow RunNode(const SetBlock& node);
  Flow RunNode(const std::shared_ptr<const MacroDefinition>& node);
  Flow RunNode(const CallBlock& node);
  Flow RunNode(const FilterBlock& node);
  Flow RunNode(const With& node);
  Flow RunNode(const LoopControl& node);
  std::vector<Value> LoopItems(const For& node);
  void Assign(const Target& target, const Value& value);
  Value ApplyFilters(const std::vector<ExpressionPointer>& filters, Value value);
  Value MakeMacro(const MacroDefinition& macro);
  void BindParameters(const MacroDefinition& macro, const Arguments& arguments);
  void Emit(std::string_view text);
  /// A variable, from the innermost scope outwards; null where there is none.
  const Value* Find(Symbol symbol) const;

  // Expressions.
  Value Evaluate(const Expression& expression);
  Value EvaluateNode(const Literal& node) { return node.value; }
  Value EvaluateNode(const Name& node);
  Value EvaluateNode(const SequenceLiteral& node);
  Value EvaluateNode(const DictLiteral& node);
  Value EvaluateNode(const Unary& node);
  Value EvaluateNode(const Binary& node);
  Value EvaluateNode(const Logic& node);
  Value EvaluateNode(const Compare& node);
  Value EvaluateNode(const Concatenation& node);
  Value EvaluateNode(const Conditional& node);
  Value EvaluateNode(const Attribute& node);
  Value EvaluateNode(const Subscript& node);
  Value EvaluateNode(const Slice& node);
  Value EvaluateNode(const Call& node);
  Value EvaluateNode(const FilterCall& node);
  Value EvaluateNode(const TestCall& node);
  Value EvaluateOr(const ExpressionPointer& expression, Value otherwise) {
    return expression ? Evaluate(*expression) : otherwise;
  }
  Arguments EvaluateArguments(const CallArguments& arguments);
  Value ApplyFilter(const FilterCall& node, const Value& input);
  Value CallValue(const Value& callee, const Arguments& arguments);

  const Template& template_;
  Runtime& runtime_;
  Scope* scope_ = nullptr;
  std::vector<std::unique_ptr<Scope>> captured_scopes_;
  std::string* out_ = nullptr;
  uint32_t offset_ = 0;
  int nesting_ = 0;
};

}  // namespace edgellm::text::jinja
