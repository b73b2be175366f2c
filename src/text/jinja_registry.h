// Functions written in C++ that a template can name: filters, tests, methods and globals, and how arguments reach them.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "text/jinja_runtime.h"
#include "text/jinja_value.h"

namespace edgellm::text::jinja {

/// Arguments by the position of their parameter; null where the call gives none.
struct BoundArguments {
  static constexpr size_t kMost = 6;
  std::array<const Value*, kMost> values{};
  const Arguments* all = nullptr;

  const Value* operator[](size_t parameter) const { return values[parameter]; }
};

struct Builtin {
  std::string_view name;
  /// `self` is a filter's input, a test's subject or a method's receiver.
  Value (*run)(Runtime& runtime, const Value& self, const BoundArguments& arguments);
  /// Names of the parameters, separated by spaces; "name!" must be given; "*" alone: the function reads `all` itself.
  std::string_view parameters = "";
};

// The tables, by the file that holds them.
std::span<const Builtin> TextFilters();
std::span<const Builtin> SequenceFilters();
std::span<const Builtin> SelectionFilters();
std::span<const Builtin> Tests();
std::span<const Builtin> Functions();
std::span<const Builtin> TextMethods();
std::span<const Builtin> SequenceMethods();
std::span<const Builtin> DictMethods();

/// Null where there is none of that name.
const Builtin* FindFilter(std::string_view name);
const Builtin* FindTest(std::string_view name);
const Builtin* FindFunction(std::string_view name);
/// A method of the value's type.
const Builtin* FindMethod(const Value& receiver, std::string_view name);
/// A method of the type that would change its object: never callable, and it hides keys of dictionaries.
bool IsForbiddenMethod(const Value& receiver, std::string_view name);

/// Binds the arguments and calls. Throws Error(kInvalidArgument) on arguments that do not fit.
Value CallBuiltin(Runtime& runtime, const Builtin& builtin, const Value& self, const Arguments& arguments);

}  // namespace edgellm::text::jinja
