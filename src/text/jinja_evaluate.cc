// Expressions.
#include "base/error.h"
#include "text/jinja_interpreter_state.h"
#include "text/jinja_operators.h"

namespace edgellm::text::jinja {

Value Interpreter::Evaluate(const Expression& expression) {
  const Nesting nesting(*this);
  runtime_.Charge(1);
  const uint32_t offset_around = offset_;
  offset_ = expression.offset;
  Value value = std::visit([this](const auto& node) { return EvaluateNode(node); }, expression.node);
  offset_ = offset_around;  // not when an error passes through: then it stays where the error arose
  return value;
}

const Value* Interpreter::Find(Symbol symbol) const {
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    const auto found = scope->variables.find(symbol);
    if (found != scope->variables.end()) return &found->second;
  }
  return nullptr;
}

Value Interpreter::EvaluateNode(const Name& node) {
  const Value* found = Find(node.symbol);
  return found != nullptr ? *found : Value(Undefined{&node.spelling});
}

Value Interpreter::EvaluateNode(const SequenceLiteral& node) {
  std::vector<Value> items;
  items.reserve(node.items.size());
  for (const ExpressionPointer& item : node.items) items.push_back(Evaluate(*item));
  return runtime_.MakeSequence(node.kind, std::move(items));
}

Value Interpreter::EvaluateNode(const DictLiteral& node) {
  std::vector<Dict::Entry> entries;
  entries.reserve(node.entries.size());
  for (const auto& [key, value] : node.entries) {
    Value key_value = Evaluate(*key);
    entries.emplace_back(std::move(key_value), Evaluate(*value));
  }
  return runtime_.MakeDict(std::move(entries));
}

Value Interpreter::EvaluateNode(const Unary& node) {
  const Value operand = Evaluate(*node.operand);
  switch (node.operation) {
    case UnaryOperator::kNot:
      return Value(!Truth(operand));
    case UnaryOperator::kNegative:
      return Negative(operand);
    case UnaryOperator::kPositive:
      return Positive(operand);
  }
  return Value();
}

Value Interpreter::EvaluateNode(const Binary& node) {
  const Value left = Evaluate(*node.left);
  const Value right = Evaluate(*node.right);
  return Arithmetic(runtime_, node.operation, left, right);
}

Value Interpreter::EvaluateNode(const Logic& node) {
  Value left = Evaluate(*node.left);
  return Truth(left) == node.is_and ? Evaluate(*node.right) : left;
}

Value Interpreter::EvaluateNode(const Compare& node) {
  Value left = Evaluate(*node.first);
  for (const auto& [comparison, right_node] : node.rest) {
    Value right = Evaluate(*right_node);
    if (!Holds(runtime_, comparison, left, right)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Interpreter::EvaluateNode(const Concatenation& node) {
  std::string text;
  for (const ExpressionPointer& part : node.parts) AppendText(runtime_, text, Evaluate(*part));
  return runtime_.Text(std::move(text));
}

Value Interpreter::EvaluateNode(const Conditional& node) {
  if (Truth(Evaluate(*node.condition))) return Evaluate(*node.then);
  return EvaluateOr(node.otherwise, Value());
}

Value Interpreter::EvaluateNode(const Attribute& node) {
  const Value object = Evaluate(*node.object);
  return GetAttribute(runtime_, object, node.name);
}

Value Interpreter::EvaluateNode(const Subscript& node) {
  const Value object = Evaluate(*node.object);
  const Value key = Evaluate(*node.key);
  return GetItem(runtime_, object, key);
}

Value Interpreter::EvaluateNode(const Slice& node) {
  const Value object = Evaluate(*node.object);
  const Value start = EvaluateOr(node.start, Value(None{}));
  const Value stop = EvaluateOr(node.stop, Value(None{}));
  const Value step = EvaluateOr(node.step, Value(None{}));
  return GetSlice(runtime_, object, start, stop, step);
}

Arguments Interpreter::EvaluateArguments(const CallArguments& arguments) {
  Arguments values;
  for (const ExpressionPointer& argument : arguments.positional) values.positional.push_back(Evaluate(*argument));
  for (const auto& [name, argument] : arguments.keyword) values.keyword.emplace_back(name, Evaluate(*argument));
  return values;
}

Value Interpreter::EvaluateNode(const Call& node) {
  // A method is called without first becoming a value of its own.
  if (const auto* attribute = std::get_if<Attribute>(&node.callee->node)) {
    const Value receiver = Evaluate(*attribute->object);
    if (const Builtin* method = FindMethod(receiver, attribute->name)) {
      const Arguments arguments = EvaluateArguments(node.arguments);
      return CallBuiltin(runtime_, *method, receiver, arguments);
    }
    const Value callee = GetAttribute(runtime_, receiver, attribute->name);
    return CallValue(callee, EvaluateArguments(node.arguments));
  }
  const Value callee = Evaluate(*node.callee);
  return CallValue(callee, EvaluateArguments(node.arguments));
}

Value Interpreter::CallValue(const Value& callee, const Arguments& arguments) {
  if (callee.IsUndefined()) FailUndefined(callee.undefined());
  if (!callee.IsObject() || !callee.object().callable()) {
    Fail(ErrorCode::kInvalidArgument, "{} cannot be called", callee.TypeWithArticle());
  }
  return callee.object().Call(runtime_, arguments);
}

Value Interpreter::ApplyFilter(const FilterCall& node, const Value& input) {
  return CallBuiltin(runtime_, *node.filter, input, EvaluateArguments(node.arguments));
}

Value Interpreter::EvaluateNode(const FilterCall& node) {
  const Value input = Evaluate(*node.input);
  return ApplyFilter(node, input);
}

Value Interpreter::EvaluateNode(const TestCall& node) {
  const Value input = Evaluate(*node.input);
  const bool holds = Truth(CallBuiltin(runtime_, *node.test, input, EvaluateArguments(node.arguments)));
  return Value(holds != node.negated);
}

}  // namespace edgellm::text::jinja
