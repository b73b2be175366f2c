// What expressions do to values: truth, equality, order, arithmetic, membership, subscripts, attributes; with Python's
// rules and error texts. Everything that may take long charges the runtime.
#pragma once

#include <string>
#include <string_view>

#include "text/jinja_ast.h"
#include "text/jinja_runtime.h"
#include "text/jinja_value.h"

namespace edgellm::text::jinja {

bool Truth(const Value& value);
bool Equal(Runtime& runtime, const Value& a, const Value& b);
/// Throws Error(kInvalidArgument) where Python does not order the types.
bool LessThan(Runtime& runtime, const Value& a, const Value& b);
bool Holds(Runtime& runtime, Comparison comparison, const Value& a, const Value& b);
bool Contains(Runtime& runtime, const Value& container, const Value& item);

Value Arithmetic(Runtime& runtime, BinaryOperator operation, const Value& a, const Value& b);
Value Negative(const Value& value);
Value Positive(const Value& value);

/// object.name: methods come before the keys of a dictionary. `name` must outlive the result.
Value GetAttribute(Runtime& runtime, const Value& object, const std::string& name);
/// object[key]: keys of a dictionary come before methods.
Value GetItem(Runtime& runtime, const Value& object, const Value& key);
/// object[start:stop:step]; none where one is not given.
Value GetSlice(Runtime& runtime, const Value& object, const Value& start, const Value& stop, const Value& step);
/// The parts of "a.b.0" one after another, as filters like map(attribute=…) take them.
Value GetPath(Runtime& runtime, const Value& object, const Value& path);

/// What a loop or a filter goes through: the items of a list, the characters of a string, the keys of a dictionary.
/// Throws Error(kInvalidArgument) where the value cannot be iterated.
std::shared_ptr<const Sequence> ItemsOf(Runtime& runtime, const Value& value);
/// len(value). Throws likewise.
int64_t LengthOf(Runtime& runtime, const Value& value);

/// str(value): what {{ value }} prints.
std::string ToText(Runtime& runtime, const Value& value);
void AppendText(Runtime& runtime, std::string& out, const Value& value);
/// repr(value): as it prints inside a list.
void AppendRepr(Runtime& runtime, std::string& out, const Value& value);
/// repr of a float: the shortest digits that read back as the same number.
std::string FloatRepr(double value);

/// Throws Error(kInvalidArgument) that says what is undefined.
[[noreturn]] void FailUndefined(const Undefined& undefined);
/// The text of a string value. Throws Error(kInvalidArgument) on another type, naming `what`.
const std::string& NeedText(const Value& value, std::string_view what);
int64_t NeedInteger(const Value& value, std::string_view what);

}  // namespace edgellm::text::jinja
