// + - * / // % ** and signs. Integers have 64 bits here: what does not fit is an error, not a wrong number.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "text/jinja_format.h"
#include "text/jinja_operators.h"

namespace edgellm::text::jinja {

namespace {

const char* Spelling(BinaryOperator operation) {
  switch (operation) {
    case BinaryOperator::kAdd:
      return "+";
    case BinaryOperator::kSubtract:
      return "-";
    case BinaryOperator::kMultiply:
      return "*";
    case BinaryOperator::kDivide:
      return "/";
    case BinaryOperator::kFloorDivide:
      return "//";
    case BinaryOperator::kModulo:
      return "%";
    case BinaryOperator::kPower:
      return "**";
  }
  return "?";
}

[[noreturn]] void FailOverflow() {
  Fail(ErrorCode::kInvalidArgument, "an integer does not fit in 64 bits");
}

[[noreturn]] void FailZero() {
  Fail(ErrorCode::kInvalidArgument, "division by zero");
}

double FloorModulo(double a, double b) {
  const double remainder = std::fmod(a, b);
  return remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder;
}

double FloorQuotient(double a, double b) {
  const double quotient = (a - FloorModulo(a, b)) / b;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double floor = std::floor(quotient);
  return quotient - floor > 0.5 ? floor + 1 : floor;  // the division may have rounded down past the whole number
}

int64_t IntegerPower(int64_t base, int64_t exponent) {
  int64_t result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) FailOverflow();
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) FailOverflow();
  }
  return result;
}

Value OnIntegers(BinaryOperator operation, int64_t a, int64_t b) {
  int64_t result = 0;
  const bool divides = operation == BinaryOperator::kFloorDivide || operation == BinaryOperator::kModulo;
  if (divides && b == 0) FailZero();
  switch (operation) {
    case BinaryOperator::kAdd:
      if (__builtin_add_overflow(a, b, &result)) FailOverflow();
      return Value(result);
    case BinaryOperator::kSubtract:
      if (__builtin_sub_overflow(a, b, &result)) FailOverflow();
      return Value(result);
    case BinaryOperator::kMultiply:
      if (__builtin_mul_overflow(a, b, &result)) FailOverflow();
      return Value(result);
    case BinaryOperator::kFloorDivide:
      if (b == -1) return OnIntegers(BinaryOperator::kSubtract, 0, a);
      return Value(a / b - ((a % b != 0) && ((a % b < 0) != (b < 0)) ? 1 : 0));
    case BinaryOperator::kModulo:
      if (b == -1) return Value(int64_t{0});
      return Value((a % b != 0) && ((a % b < 0) != (b < 0)) ? a % b + b : a % b);
    case BinaryOperator::kDivide:
      if (b == 0) FailZero();
      return Value(static_cast<double>(a) / static_cast<double>(b));
    case BinaryOperator::kPower:
      if (b >= 0) return Value(IntegerPower(a, b));
      if (a == 0) FailZero();
      return Value(std::pow(static_cast<double>(a), static_cast<double>(b)));
  }
  return Value(result);
}

Value OnFloats(BinaryOperator operation, double a, double b) {
  const bool divides = operation == BinaryOperator::kDivide || operation == BinaryOperator::kFloorDivide ||
                       operation == BinaryOperator::kModulo;
  if (divides && b == 0) FailZero();
  switch (operation) {
    case BinaryOperator::kAdd:
      return Value(a + b);
    case BinaryOperator::kSubtract:
      return Value(a - b);
    case BinaryOperator::kMultiply:
      return Value(a * b);
    case BinaryOperator::kDivide:
      return Value(a / b);
    case BinaryOperator::kFloorDivide:
      return Value(FloorQuotient(a, b));
    case BinaryOperator::kModulo:
      return Value(FloorModulo(a, b));
    case BinaryOperator::kPower: {
      if (a == 0 && b < 0) FailZero();
      const double result = std::pow(a, b);
      if (std::isnan(result) && !std::isnan(a) && !std::isnan(b)) {
        Fail(ErrorCode::kUnsupported, "this power is a complex number");
      }
      if (std::isinf(result) && std::isfinite(a) && std::isfinite(b)) {
        Fail(ErrorCode::kInvalidArgument, "this power is too large for a float");
      }
      return Value(result);
    }
  }
  return Value(0.0);
}

bool IsListOrTuple(const Value& value) {
  return value.IsSequence() &&
         (value.sequence().kind == Sequence::Kind::kList || value.sequence().kind == Sequence::Kind::kTuple);
}

Value Repeated(Runtime& runtime, const Value& value, int64_t count) {
  const auto times = static_cast<uint64_t>(std::max<int64_t>(count, 0));
  const size_t size = value.IsString() ? value.string().size() : value.sequence().items.size();
  uint64_t total = 0;
  if (__builtin_mul_overflow(times, uint64_t{size}, &total)) Fail(ErrorCode::kLimit, "a repetition is too long");
  if (value.IsString()) {
    runtime.CheckLength(total);
    std::string text;
    text.reserve(total);
    for (uint64_t i = 0; size > 0 && i < times; ++i) text += value.string();
    return runtime.Text(std::move(text));
  }
  runtime.Charge(total);
  std::vector<Value> items;
  items.reserve(total);
  const auto& once = value.sequence().items;
  for (uint64_t i = 0; size > 0 && i < times; ++i) items.insert(items.end(), once.begin(), once.end());
  return runtime.MakeSequence(value.sequence().kind, std::move(items));
}

Value Joined(Runtime& runtime, const Value& a, const Value& b) {
  if (a.IsString()) {
    runtime.CheckLength(a.string().size() + b.string().size());
    return runtime.Text(a.string() + b.string());
  }
  runtime.Charge(a.sequence().items.size() + b.sequence().items.size());
  std::vector<Value> items = a.sequence().items;
  items.insert(items.end(), b.sequence().items.begin(), b.sequence().items.end());
  return runtime.MakeSequence(a.sequence().kind, std::move(items));
}

}  // namespace

Value Arithmetic(Runtime& runtime, BinaryOperator operation, const Value& a, const Value& b) {
  if (a.IsUndefined()) FailUndefined(a.undefined());
  if (b.IsUndefined()) FailUndefined(b.undefined());
  if (a.IsIntegral() && b.IsIntegral()) return OnIntegers(operation, a.integer(), b.integer());
  if (a.IsNumber() && b.IsNumber()) return OnFloats(operation, a.number(), b.number());
  if (operation == BinaryOperator::kAdd) {
    const bool lists = IsListOrTuple(a) && IsListOrTuple(b) && a.sequence().kind == b.sequence().kind;
    if (lists || (a.IsString() && b.IsString())) return Joined(runtime, a, b);
  }
  if (operation == BinaryOperator::kMultiply) {
    if ((a.IsString() || IsListOrTuple(a)) && b.IsIntegral()) return Repeated(runtime, a, b.integer());
    if ((b.IsString() || IsListOrTuple(b)) && a.IsIntegral()) return Repeated(runtime, b, a.integer());
  }
  if (operation == BinaryOperator::kModulo && a.IsString()) return FormatPercent(runtime, a.string(), b);
  Fail(ErrorCode::kInvalidArgument, "unsupported operand types for {}: '{}' and '{}'", Spelling(operation),
       a.TypeName(), b.TypeName());
}

Value Negative(const Value& value) {
  if (value.IsUndefined()) FailUndefined(value.undefined());
  if (value.IsIntegral()) return OnIntegers(BinaryOperator::kSubtract, 0, value.integer());
  if (value.IsNumber()) return Value(-value.floating());
  Fail(ErrorCode::kInvalidArgument, "{} has no negative", value.TypeWithArticle());
}

Value Positive(const Value& value) {
  if (value.IsUndefined()) FailUndefined(value.undefined());
  if (value.IsIntegral()) return Value(value.integer());
  if (value.IsNumber()) return value;
  Fail(ErrorCode::kInvalidArgument, "{} takes no sign", value.TypeWithArticle());
}

}  // namespace edgellm::text::jinja
