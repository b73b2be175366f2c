// What stands after "is": tests of types, values and relations. (Not unit tests: those are under tests/.)
#include <array>

#include "base/error.h"
#include "text/jinja_arguments.h"
#include "text/jinja_text.h"

namespace edgellm::text::jinja {

namespace {

using Kind = Value::Kind;

Value Defined(Runtime&, const Value& self, const BoundArguments&) {
  return Value(!self.IsUndefined());
}
Value IsUndefinedTest(Runtime&, const Value& self, const BoundArguments&) {
  return Value(self.IsUndefined());
}
Value IsNoneTest(Runtime&, const Value& self, const BoundArguments&) {
  return Value(self.IsNone());
}
Value IsText(Runtime&, const Value& self, const BoundArguments&) {
  return Value(self.IsString());
}
Value IsNumberTest(Runtime&, const Value& self, const BoundArguments&) {
  return Value(self.IsNumber());
}
Value IsMapping(Runtime&, const Value& self, const BoundArguments&) {
  return Value(self.IsDict());
}

template <Kind kWanted>
Value HasKind(Runtime&, const Value& self, const BoundArguments&) {
  return Value(self.Is(kWanted));
}

template <bool kWanted>
Value IsBoolean(Runtime&, const Value& self, const BoundArguments&) {
  return Value(self.Is(Kind::kBool) && self.boolean() == kWanted);
}

Value IsIterable(Runtime&, const Value& self, const BoundArguments&) {
  return Value(self.IsUndefined() || self.IsString() || self.IsSequence() || self.IsDict());
}

Value IsSequenceTest(Runtime&, const Value& self, const BoundArguments&) {
  // Python asks for a length and for subscripts, which dicts have too.
  const bool is_list = self.IsSequence() && self.sequence().HasIndex();
  return Value(self.IsUndefined() || self.IsString() || self.IsDict() || is_list);
}

Value IsCallable(Runtime&, const Value& self, const BoundArguments&) {
  // An Undefined has the method that calls it, so jinja2 says yes.
  return Value(self.IsUndefined() || (self.IsObject() && self.object().callable()));
}

Value SameAsTest(Runtime&, const Value& self, const BoundArguments& arguments) {
  return Value(self.SameAs(*arguments[0]));
}

template <Comparison kComparison>
Value Compared(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  return Value(Holds(runtime, kComparison, self, *arguments[0]));
}

Value Remainder(Runtime& runtime, const Value& self, int64_t divisor) {
  return Arithmetic(runtime, BinaryOperator::kModulo, self, Value(divisor));
}

Value IsOdd(Runtime& runtime, const Value& self, const BoundArguments&) {
  if (self.IsString()) Fail(ErrorCode::kInvalidArgument, "a str is neither odd nor even");
  return Value(Equal(runtime, Remainder(runtime, self, 2), Value(int64_t{1})));
}

Value IsEven(Runtime& runtime, const Value& self, const BoundArguments&) {
  if (self.IsString()) Fail(ErrorCode::kInvalidArgument, "a str is neither odd nor even");
  return Value(Equal(runtime, Remainder(runtime, self, 2), Value(int64_t{0})));
}

Value IsDivisibleBy(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  if (self.IsString()) Fail(ErrorCode::kInvalidArgument, "a str is not divisible");
  const Value remainder = Arithmetic(runtime, BinaryOperator::kModulo, self, *arguments[0]);
  return Value(Equal(runtime, remainder, Value(int64_t{0})));
}

template <Class kClass>
Value HasCase(Runtime& runtime, const Value& self, const BoundArguments&) {
  const std::string text = ToText(runtime, self);
  runtime.ChargeCharacters(text.size());
  return Value(AllOf(text, kClass));
}

Value IsFilter(Runtime&, const Value& self, const BoundArguments&) {
  return Value(self.IsString() && FindFilter(self.string()) != nullptr);
}

Value IsTest(Runtime&, const Value& self, const BoundArguments&) {
  return Value(self.IsString() && FindTest(self.string()) != nullptr);
}

constexpr std::array<Builtin, 38> kTests = {{
    {"defined", Defined},
    {"undefined", IsUndefinedTest},
    {"none", IsNoneTest},
    {"string", IsText},
    {"number", IsNumberTest},
    {"integer", HasKind<Kind::kInteger>},
    {"float", HasKind<Kind::kFloat>},
    {"boolean", HasKind<Kind::kBool>},
    {"true", IsBoolean<true>},
    {"false", IsBoolean<false>},
    {"mapping", IsMapping},
    {"iterable", IsIterable},
    {"sequence", IsSequenceTest},
    {"callable", IsCallable},
    {"sameas", SameAsTest, "other!"},
    {"odd", IsOdd},
    {"even", IsEven},
    {"divisibleby", IsDivisibleBy, "num!"},
    {"lower", HasCase<Class::kLower>},
    {"upper", HasCase<Class::kUpper>},
    {"filter", IsFilter},
    {"test", IsTest},
    {"in", Compared<Comparison::kIn>, "seq!"},
    {"==", Compared<Comparison::kEqual>, "other!"},
    {"eq", Compared<Comparison::kEqual>, "other!"},
    {"equalto", Compared<Comparison::kEqual>, "other!"},
    {"!=", Compared<Comparison::kNotEqual>, "other!"},
    {"ne", Compared<Comparison::kNotEqual>, "other!"},
    {"<", Compared<Comparison::kLess>, "other!"},
    {"lt", Compared<Comparison::kLess>, "other!"},
    {"lessthan", Compared<Comparison::kLess>, "other!"},
    {"<=", Compared<Comparison::kLessEqual>, "other!"},
    {"le", Compared<Comparison::kLessEqual>, "other!"},
    {">", Compared<Comparison::kGreater>, "other!"},
    {"gt", Compared<Comparison::kGreater>, "other!"},
    {"greaterthan", Compared<Comparison::kGreater>, "other!"},
    {">=", Compared<Comparison::kGreaterEqual>, "other!"},
    {"ge", Compared<Comparison::kGreaterEqual>, "other!"},
}};

}  // namespace

std::span<const Builtin> Tests() {
  return kTests;
}

}  // namespace edgellm::text::jinja
