// Statements: output, branches, loops, assignments, macros.
#include "text/jinja_interpreter.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/jinja_interpreter_state.h"
#include "text/jinja_json.h"
#include "text/jinja_operators.h"

namespace edgellm::text::jinja {

namespace {

/// A function of ours that a template has by name.
class FunctionObject : public Object {
 public:
  explicit FunctionObject(const Builtin* function) : function_(function) {}
  const char* TypeName() const override { return "function"; }
  bool callable() const override { return true; }
  Value Call(Runtime& runtime, const Arguments& arguments) override {
    return CallBuiltin(runtime, *function_, Value(), arguments);
  }

 private:
  const Builtin* function_;
};

class MacroObject : public Object {
 public:
  MacroObject(Interpreter& interpreter, const MacroDefinition& macro, Scope* scope)
      : interpreter_(interpreter), macro_(macro), scope_(scope) {}
  const char* TypeName() const override { return "Macro"; }
  bool callable() const override { return true; }
  Value Call(Runtime&, const Arguments& arguments) override {
    return interpreter_.CallMacro(macro_, scope_, arguments);
  }
  std::optional<Value> Attribute(Runtime& runtime, std::string_view name) override {
    if (name == "name") return runtime.Text(macro_.name);
    return std::nullopt;
  }

 private:
  Interpreter& interpreter_;
  const MacroDefinition& macro_;
  Scope* scope_;
};

/// loop.cycle, taken at one place of a loop.
class CycleFunction : public Object {
 public:
  explicit CycleFunction(size_t index) : index_(index) {}
  const char* TypeName() const override { return "method"; }
  bool callable() const override { return true; }
  Value Call(Runtime&, const Arguments& arguments) override {
    if (arguments.positional.empty()) Fail(ErrorCode::kInvalidArgument, "nothing to cycle through");
    return arguments.positional[index_ % arguments.positional.size()];
  }

 private:
  size_t index_;
};

/// The variable `loop`.
class LoopObject : public Object {
 public:
  explicit LoopObject(std::shared_ptr<const Sequence> items) : items_(std::move(items)) {}
  void MoveTo(size_t index) { index_ = index; }
  const char* TypeName() const override { return "LoopContext"; }
  int depth() const override { return 1 + items_->depth; }
  std::optional<Value> Attribute(Runtime&, std::string_view name) override {
    const auto& items = items_->items;
    const auto index = static_cast<int64_t>(index_), length = static_cast<int64_t>(items.size());
    if (name == "index") return Value(index + 1);
    if (name == "index0") return Value(index);
    if (name == "first") return Value(index == 0);
    if (name == "last") return Value(index + 1 == length);
    if (name == "length") return Value(length);
    if (name == "revindex") return Value(length - index);
    if (name == "revindex0") return Value(length - index - 1);
    if (name == "depth") return Value(int64_t{1});
    if (name == "depth0") return Value(int64_t{0});
    if (name == "previtem") return index > 0 ? items[index_ - 1] : Value();
    if (name == "nextitem") return index + 1 < length ? items[index_ + 1] : Value();
    if (name == "cycle") return Value(std::shared_ptr<Object>(std::make_shared<CycleFunction>(index_)));
    return std::nullopt;
  }

 private:
  std::shared_ptr<const Sequence> items_;
  size_t index_ = 0;
};

}  // namespace

std::string Interpreter::Render(const nlohmann::ordered_json& context) {
  if (!context.is_object()) Fail(ErrorCode::kInvalidArgument, "the context of a template must be an object");
  const Block block(*this, nullptr);
  for (size_t i = 0; i < template_.symbols.size(); ++i) {
    const auto symbol = static_cast<Symbol>(i);
    const std::string& name = template_.symbols[i];
    runtime_.Charge(1);
    if (const auto found = context.find(name); found != context.end()) {
      scope_->variables[symbol] = FromJson(runtime_, *found);
    } else if (const Builtin* function = FindFunction(name)) {
      scope_->variables[symbol] = Value(std::shared_ptr<Object>(std::make_shared<FunctionObject>(function)));
    }
  }
  std::string output;
  const Capture capture(*this, output);
  Run(template_.body);
  return output;
}

void Interpreter::Emit(std::string_view text) {
  runtime_.ChargeText(text.size());
  runtime_.CheckLength(out_->size() + text.size());
  *out_ += text;
}

Interpreter::Flow Interpreter::Run(const Body& body) {
  for (const Statement& statement : body) {
    const Flow flow = Run(statement);
    if (flow != Flow::kOn) return flow;
  }
  return Flow::kOn;
}

Interpreter::Flow Interpreter::Run(const Statement& statement) {
  const Nesting nesting(*this);
  runtime_.Charge(1);
  const uint32_t offset_around = offset_;
  offset_ = statement.offset;
  const Flow flow = std::visit([this](const auto& node) { return RunNode(node); }, statement.node);
  offset_ = offset_around;  // not when an error passes through: then it stays where the error arose
  return flow;
}

Interpreter::Flow Interpreter::RunNode(const Text& node) {
  Emit(node.text);
  return Flow::kOn;
}

Interpreter::Flow Interpreter::RunNode(const Output& node) {
  AppendText(runtime_, *out_, Evaluate(*node.value));
  runtime_.CheckLength(out_->size());
  return Flow::kOn;
}

Interpreter::Flow Interpreter::RunNode(const If& node) {
  for (const auto& [condition, body] : node.branches) {
    if (Truth(Evaluate(*condition))) return Run(body);
  }
  return Run(node.otherwise);
}

std::vector<Value> Interpreter::LoopItems(const For& node) {
  const auto all = ItemsOf(runtime_, Evaluate(*node.items));
  runtime_.Charge(all->items.size());
  if (!node.condition) return all->items;
  std::vector<Value> chosen;
  for (const Value& item : all->items) {
    const Block block(*this, scope_);
    Assign(node.target, item);
    if (Truth(Evaluate(*node.condition))) chosen.push_back(item);
  }
  return chosen;
}

Interpreter::Flow Interpreter::RunNode(const For& node) {
  const auto items = runtime_.List(LoopItems(node)).shared_sequence();
  if (items->items.empty()) return Run(node.otherwise);
  runtime_.CheckDepth(1 + items->depth);
  const auto loop = std::make_shared<LoopObject>(items);
  for (size_t i = 0; i < items->items.size(); ++i) {
    runtime_.Charge(1);
    loop->MoveTo(i);
    const Block block(*this, scope_);
    scope_->variables[template_.loop] = Value(std::shared_ptr<Object>(loop));
    Assign(node.target, items->items[i]);
    if (Run(node.body) == Flow::kBreak) break;
  }
  return Flow::kOn;
}

void Interpreter::Assign(const Target& target, const Value& value) {
  runtime_.Charge(1);
  if (!target.elements.empty()) {
    const auto parts = ItemsOf(runtime_, value);
    if (parts->items.size() != target.elements.size()) {
      Fail(ErrorCode::kInvalidArgument, "{} values to unpack, {} expected", parts->items.size(),
           target.elements.size());
    }
    for (size_t i = 0; i < parts->items.size(); ++i) Assign(target.elements[i], parts->items[i]);
    return;
  }
  if (target.attribute.empty()) {
    scope_->variables[target.symbol] = value;
    return;
  }
  const Value* found = Find(target.symbol);
  if (found == nullptr || !found->IsObject() || !found->object().SetAttribute(target.attribute, value)) {
    Fail(ErrorCode::kInvalidArgument, "attributes can be set on a namespace only");
  }
}

Interpreter::Flow Interpreter::RunNode(const Set& node) {
  Assign(node.target, Evaluate(*node.value));
  return Flow::kOn;
}

Value Interpreter::ApplyFilters(const std::vector<ExpressionPointer>& filters, Value value) {
  for (const ExpressionPointer& filter : filters) {
    offset_ = filter->offset;
    value = ApplyFilter(std::get<FilterCall>(filter->node), value);
  }
  return value;
}

Interpreter::Flow Interpreter::RunNode(const SetBlock& node) {
  std::string text;
  Flow flow = Flow::kOn;
  {
    const Block block(*this, scope_);
    const Capture capture(*this, text);
    flow = Run(node.body);
  }
  if (flow == Flow::kOn) Assign(node.target, ApplyFilters(node.filters, runtime_.Text(std::move(text))));
  return flow;
}

Interpreter::Flow Interpreter::RunNode(const FilterBlock& node) {
  std::string text;
  const Block block(*this, scope_);
  Flow flow = Flow::kOn;
  {
    const Capture capture(*this, text);
    flow = Run(node.body);
  }
  if (flow == Flow::kOn) AppendText(runtime_, *out_, ApplyFilters(node.filters, runtime_.Text(std::move(text))));
  return flow;
}

Interpreter::Flow Interpreter::RunNode(const With& node) {
  // The values are those from before the block, whatever the names in it.
  std::vector<Value> values;
  for (const auto& [target, value] : node.variables) values.push_back(Evaluate(*value));
  const Block block(*this, scope_);
  for (size_t i = 0; i < values.size(); ++i) Assign(node.variables[i].first, values[i]);
  return Run(node.body);
}

Interpreter::Flow Interpreter::RunNode(const LoopControl& node) {
  return node.is_break ? Flow::kBreak : Flow::kContinue;
}

Value Interpreter::MakeMacro(const MacroDefinition& macro) {
  for (Scope* scope = scope_; scope != nullptr && !scope->captured; scope = scope->parent) scope->captured = true;
  return Value(std::shared_ptr<Object>(std::make_shared<MacroObject>(*this, macro, scope_)));
}

Interpreter::Flow Interpreter::RunNode(const std::shared_ptr<const MacroDefinition>& node) {
  scope_->variables[node->symbol] = MakeMacro(*node);
  return Flow::kOn;
}

Interpreter::Flow Interpreter::RunNode(const CallBlock& node) {
  const auto& call = std::get<Call>(node.call->node);
  const Value callee = Evaluate(*call.callee);
  Arguments arguments = EvaluateArguments(call.arguments);
  arguments.keyword.emplace_back("caller", MakeMacro(*node.caller));
  offset_ = node.call->offset;
  AppendText(runtime_, *out_, CallValue(callee, arguments));
  return Flow::kOn;
}

void Interpreter::BindParameters(const MacroDefinition& macro, const Arguments& arguments) {
  const size_t given = arguments.positional.size(), known = macro.parameters.size();
  if (given > known && !macro.mentions_varargs) {
    Fail(ErrorCode::kInvalidArgument, "macro '{}' takes not more than {} arguments", macro.name, known);
  }
  auto& variables = scope_->variables;
  for (size_t i = 0; i < std::min(given, known); ++i) variables[macro.parameters[i].symbol] = arguments.positional[i];
  std::vector<Dict::Entry> others;
  for (const auto& [name, value] : arguments.keyword) {
    const auto parameter = std::find_if(macro.parameters.begin(), macro.parameters.end(),
                                        [&, wanted = name](const Parameter& p) { return p.name == wanted; });
    runtime_.Charge(1 + known / 16);
    if (parameter != macro.parameters.end()) {
      if (!variables.try_emplace(parameter->symbol, value).second) {
        Fail(ErrorCode::kInvalidArgument, "macro '{}' got two values for '{}'", macro.name, name);
      }
    } else if (name == "caller") {
      variables[template_.caller] = value;
    } else if (macro.mentions_kwargs) {
      others.emplace_back(runtime_.Text(std::string(name)), value);
    } else {
      Fail(ErrorCode::kInvalidArgument, "macro '{}' takes no argument '{}'", macro.name, name);
    }
  }
  for (const Parameter& parameter : macro.parameters) {
    if (variables.count(parameter.symbol) != 0) continue;
    // Evaluated before the name is known, so that it cannot refer to itself but may refer to parameters before it.
    Value value = parameter.default_value ? Evaluate(*parameter.default_value) : Value(Undefined{&parameter.name});
    variables[parameter.symbol] = std::move(value);
  }
  if (macro.mentions_kwargs) variables[template_.kwargs] = runtime_.MakeDict(std::move(others));
  if (!macro.mentions_varargs) return;
  std::vector<Value> rest;
  if (given > known)
    rest.assign(arguments.positional.begin() + static_cast<ptrdiff_t>(known), arguments.positional.end());
  variables[template_.varargs] = runtime_.MakeSequence(Sequence::Kind::kTuple, std::move(rest));
}

Value Interpreter::CallMacro(const MacroDefinition& macro, Scope* scope, const Arguments& arguments) {
  const Nesting nesting(*this);
  runtime_.Charge(1);
  const uint32_t offset_around = offset_;
  std::string text;
  {
    const Block block(*this, scope);
    const Capture capture(*this, text);
    BindParameters(macro, arguments);
    Run(macro.body);
  }
  offset_ = offset_around;
  return runtime_.Text(std::move(text));
}

}  // namespace edgellm::text::jinja
