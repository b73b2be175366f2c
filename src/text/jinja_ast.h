// The syntax tree. Names of variables are numbers (symbols), so that scopes compare no strings. Nodes carry the offset
// of the token that error texts point at.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja_registry.h"
#include "text/jinja_value.h"

namespace edgellm::text::jinja {

struct Expression;
struct Statement;
using ExpressionPointer = std::unique_ptr<const Expression>;
using Body = std::vector<Statement>;
using Symbol = int;

enum class UnaryOperator { kNot, kNegative, kPositive };
enum class BinaryOperator { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo, kPower };
enum class Comparison { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kNotIn };

struct CallArguments {
  std::vector<ExpressionPointer> positional;
  std::vector<std::pair<std::string, ExpressionPointer>> keyword;
};

struct Literal {
  Value value;
};
struct Name {
  Symbol symbol;
  std::string spelling;
};
struct SequenceLiteral {
  Sequence::Kind kind;
  std::vector<ExpressionPointer> items;
};
struct DictLiteral {
  std::vector<std::pair<ExpressionPointer, ExpressionPointer>> entries;
};
struct Unary {
  UnaryOperator operation;
  ExpressionPointer operand;
};
struct Binary {
  BinaryOperator operation;
  ExpressionPointer left, right;
};
struct Logic {
  bool is_and;
  ExpressionPointer left, right;
};
struct Compare {
  ExpressionPointer first;
  std::vector<std::pair<Comparison, ExpressionPointer>> rest;
};  // may be chained
struct Concatenation {
  std::vector<ExpressionPointer> parts;
};  // a ~ b ~ c
struct Conditional {
  ExpressionPointer condition, then, otherwise;
};  // otherwise may be null
struct Attribute {
  ExpressionPointer object;
  std::string name;
};
struct Subscript {
  ExpressionPointer object, key;
};
struct Slice {
  ExpressionPointer object, start, stop, step;
};  // start, stop, step may be null
struct Call {
  ExpressionPointer callee;
  CallArguments arguments;
};
struct FilterCall {
  const Builtin* filter;
  ExpressionPointer input;
  CallArguments arguments;
};  // input: null in a block
struct TestCall {
  const Builtin* test;
  ExpressionPointer input;
  CallArguments arguments;
  bool negated;
};

struct Expression {
  uint32_t offset = 0;
  int height = 1;  // of the tree from here: what evaluating and destroying it costs of the stack
  std::variant<Literal, Name, SequenceLiteral, DictLiteral, Unary, Binary, Logic, Compare, Concatenation, Conditional,
               Attribute, Subscript, Slice, Call, FilterCall, TestCall>
      node;
};

/// What a value is assigned to: a name; an attribute of a namespace (attribute not empty); or several targets.
struct Target {
  Symbol symbol = -1;
  std::string attribute;
  std::vector<Target> elements;
};

struct Parameter {
  Symbol symbol;
  std::string name;
  ExpressionPointer default_value;
};

struct Output {
  ExpressionPointer value;
};
struct Text {
  std::string text;
};
struct If {
  std::vector<std::pair<ExpressionPointer, Body>> branches;
  Body otherwise;
};
struct For {
  Target target;
  ExpressionPointer items, condition;
  Body body, otherwise;
};
struct Set {
  Target target;
  ExpressionPointer value;
};
struct SetBlock {
  Target target;
  std::vector<ExpressionPointer> filters;
  Body body;
};
struct MacroDefinition {
  std::string name;
  Symbol symbol;
  std::vector<Parameter> parameters;
  Body body;
  bool mentions_varargs = false, mentions_kwargs = false;  // otherwise a call with more arguments is an error
};
struct CallBlock {
  std::shared_ptr<const MacroDefinition> caller;
  ExpressionPointer call;
};
struct FilterBlock {
  std::vector<ExpressionPointer> filters;
  Body body;
};
struct With {
  std::vector<std::pair<Target, ExpressionPointer>> variables;
  Body body;
};  // also generation blocks
struct LoopControl {
  bool is_break;
};

struct Statement {
  uint32_t offset = 0;
  std::variant<Text, Output, If, For, Set, SetBlock, std::shared_ptr<const MacroDefinition>, CallBlock, FilterBlock,
               With, LoopControl>
      node;
};

/// A parsed template.
struct Template {
  Body body;
  std::vector<std::string> symbols;  // the spelling of each symbol
  // Symbols the interpreter itself assigns.
  Symbol loop = -1, caller = -1, varargs = -1, kwargs = -1;
};

}  // namespace edgellm::text::jinja
