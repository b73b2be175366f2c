// Truth, comparison, membership, and access to parts. Arithmetic stands in jinja_arithmetic.cc, printing in
// jinja_print.cc.
#include "text/jinja_operators.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "text/jinja_registry.h"
#include "text/jinja_text.h"

namespace edgellm::text::jinja {

namespace {

using Kind = Value::Kind;

/// A method taken from its object without being called.
class BoundMethod : public Object {
 public:
  BoundMethod(Value receiver, const Builtin* method) : receiver_(std::move(receiver)), method_(method) {}
  const char* TypeName() const override { return "builtin_function_or_method"; }
  bool callable() const override { return true; }
  Value Call(Runtime& runtime, const Arguments& arguments) override {
    return CallBuiltin(runtime, *method_, receiver_, arguments);
  }
  int depth() const override { return 1 + receiver_.depth(); }

 private:
  Value receiver_;
  const Builtin* method_;
};

int CompareNumbers(const Value& a, const Value& b) {
  if (a.IsIntegral() && b.IsIntegral()) return a.integer() < b.integer() ? -1 : a.integer() > b.integer();
  // long double holds every 64-bit integer on the machines that matter; elsewhere the last digits may be lost.
  const auto wide = [](const Value& v) {
    return v.IsIntegral() ? static_cast<long double>(v.integer()) : static_cast<long double>(v.floating());
  };
  return wide(a) < wide(b) ? -1 : wide(a) > wide(b);
}

bool IsNan(const Value& value) {
  return value.Is(Kind::kFloat) && value.floating() != value.floating();
}

bool EqualSequences(Runtime& runtime, const Sequence& a, const Sequence& b) {
  if (&a == &b) return true;
  const bool comparable = a.kind == b.kind && a.kind != Sequence::Kind::kGenerator && a.kind != Sequence::Kind::kValues;
  if (!comparable || a.items.size() != b.items.size()) return false;
  return std::equal(a.items.begin(), a.items.end(), b.items.begin(),
                    [&](const Value& x, const Value& y) { return Equal(runtime, x, y); });
}

bool EqualDicts(Runtime& runtime, const Dict& a, const Dict& b) {
  if (&a == &b) return true;
  if (a.entries().size() != b.entries().size()) return false;
  return std::all_of(a.entries().begin(), a.entries().end(), [&](const Dict::Entry& entry) {
    const Value* other = b.Find(entry.first);
    return other != nullptr && Equal(runtime, entry.second, *other);
  });
}

[[noreturn]] void FailUnordered(const Value& a, const Value& b) {
  Fail(ErrorCode::kInvalidArgument, "'<' not supported between '{}' and '{}'", a.TypeName(), b.TypeName());
}

/// What a[i] is for a position that may be negative; past the ends: nullopt.
std::optional<size_t> Position(int64_t index, size_t size) {
  const auto length = static_cast<int64_t>(size);
  if (index < 0) index += length;
  if (index < 0 || index >= length) return std::nullopt;
  return static_cast<size_t>(index);
}

Value Missing(const Value& object, const std::string* name) {
  return Value(Undefined{name, object.TypeName()});
}

/// A method of the object as a value, where it has one of that name.
std::optional<Value> MethodOf(Runtime& runtime, const Value& object, const std::string& name) {
  if (IsForbiddenMethod(object, name)) return Value(Undefined{&name, object.TypeName(), true});
  const Builtin* method = FindMethod(object, name);
  if (method == nullptr) return std::nullopt;
  runtime.CheckDepth(1 + object.depth());
  return Value(std::shared_ptr<Object>(std::make_shared<BoundMethod>(object, method)));
}

}  // namespace

void FailUndefined(const Undefined& undefined) {
  if (undefined.forbidden) {
    Fail(ErrorCode::kInvalidArgument, "the method '{}' of {} is not allowed: it changes its object", *undefined.name,
         WithArticle(undefined.owner));
  }
  if (undefined.name == nullptr && undefined.owner != nullptr) {
    Fail(ErrorCode::kInvalidArgument, "{} has no such item", WithArticle(undefined.owner));
  }
  if (undefined.name == nullptr) Fail(ErrorCode::kInvalidArgument, "an undefined value is used");
  if (undefined.owner == nullptr) Fail(ErrorCode::kInvalidArgument, "'{}' is undefined", *undefined.name);
  Fail(ErrorCode::kInvalidArgument, "{} has no attribute '{}'", WithArticle(undefined.owner), *undefined.name);
}

const std::string& NeedText(const Value& value, std::string_view what) {
  if (value.IsUndefined()) FailUndefined(value.undefined());
  if (!value.IsString()) Fail(ErrorCode::kInvalidArgument, "{} must be a str, not {}", what, value.TypeWithArticle());
  return value.string();
}

int64_t NeedInteger(const Value& value, std::string_view what) {
  if (value.IsUndefined()) FailUndefined(value.undefined());
  if (!value.IsIntegral())
    Fail(ErrorCode::kInvalidArgument, "{} must be an int, not {}", what, value.TypeWithArticle());
  return value.integer();
}

bool Truth(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInteger:
      return value.integer() != 0;
    case Kind::kFloat:
      return value.floating() != 0;
    case Kind::kString:
      return !value.string().empty();
    case Kind::kSequence:
      return !value.sequence().HasLength() || !value.sequence().items.empty();
    case Kind::kDict:
      return !value.dict().entries().empty();
    case Kind::kObject:
      return true;
  }
  return false;
}

bool Equal(Runtime& runtime, const Value& a, const Value& b) {
  runtime.Charge(1);
  if (a.IsNumber() && b.IsNumber()) return !IsNan(a) && !IsNan(b) && CompareNumbers(a, b) == 0;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      if (a.string().size() != b.string().size()) return false;
      runtime.ChargeText(a.string().size());
      return a.string() == b.string();
    case Kind::kSequence:
      return EqualSequences(runtime, a.sequence(), b.sequence());
    case Kind::kDict:
      return EqualDicts(runtime, a.dict(), b.dict());
    default:
      return a.SameAs(b);
  }
}

bool LessThan(Runtime& runtime, const Value& a, const Value& b) {
  runtime.Charge(1);
  if (a.IsUndefined()) FailUndefined(a.undefined());
  if (b.IsUndefined()) FailUndefined(b.undefined());
  if (a.IsNumber() && b.IsNumber()) return !IsNan(a) && !IsNan(b) && CompareNumbers(a, b) < 0;
  if (a.IsString() && b.IsString()) {
    runtime.ChargeText(std::min(a.string().size(), b.string().size()));
    return a.string() < b.string();  // the order of UTF-8 is that of code points
  }
  if (!a.IsSequence() || !b.IsSequence() || a.sequence().kind != b.sequence().kind) FailUnordered(a, b);
  const Sequence &left = a.sequence(), &right = b.sequence();
  if (left.kind != Sequence::Kind::kList && left.kind != Sequence::Kind::kTuple) FailUnordered(a, b);
  for (size_t i = 0; i < left.items.size() && i < right.items.size(); ++i) {
    if (!Equal(runtime, left.items[i], right.items[i])) return LessThan(runtime, left.items[i], right.items[i]);
  }
  return left.items.size() < right.items.size();
}

bool Holds(Runtime& runtime, Comparison comparison, const Value& a, const Value& b) {
  // With NaN, "not less" is not "greater or equal"; nothing is.
  const bool unordered = IsNan(a) || IsNan(b);
  switch (comparison) {
    case Comparison::kEqual:
      return Equal(runtime, a, b);
    case Comparison::kNotEqual:
      return !Equal(runtime, a, b);
    case Comparison::kLess:
      return LessThan(runtime, a, b);
    case Comparison::kLessEqual:
      return !LessThan(runtime, b, a) && !unordered;
    case Comparison::kGreater:
      return LessThan(runtime, b, a);
    case Comparison::kGreaterEqual:
      return !LessThan(runtime, a, b) && !unordered;
    case Comparison::kIn:
      return Contains(runtime, b, a);
    case Comparison::kNotIn:
      return !Contains(runtime, b, a);
  }
  return false;
}

bool Contains(Runtime& runtime, const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::kUndefined:
      return container.undefined().forbidden ? (FailUndefined(container.undefined()), false) : false;
    case Kind::kString:
      runtime.ChargeText(container.string().size());
      return Find(container.string(), NeedText(item, "what is looked for in a str")) != std::string::npos;
    case Kind::kSequence: {
      const auto& items = container.sequence().items;
      return std::any_of(items.begin(), items.end(), [&](const Value& other) { return Equal(runtime, item, other); });
    }
    case Kind::kDict:
      if (item.IsSequence() || item.IsDict())
        Fail(ErrorCode::kInvalidArgument, "{} cannot be a key", item.TypeWithArticle());
      if (item.IsString()) runtime.ChargeText(item.string().size());
      return container.dict().Find(item) != nullptr;
    default:
      Fail(ErrorCode::kInvalidArgument, "{} contains nothing to look in", container.TypeWithArticle());
  }
}

Value GetAttribute(Runtime& runtime, const Value& object, const std::string& name) {
  runtime.Charge(1);
  if (object.IsUndefined()) FailUndefined(object.undefined());
  if (object.IsObject()) {
    auto attribute = object.object().Attribute(runtime, name);
    return attribute ? std::move(*attribute) : Missing(object, &name);
  }
  if (auto method = MethodOf(runtime, object, name)) return std::move(*method);
  if (object.IsDict()) {
    if (const Value* found = object.dict().Find(name)) return *found;
  }
  return Missing(object, &name);
}

Value GetItem(Runtime& runtime, const Value& object, const Value& key) {
  runtime.Charge(1);
  if (object.IsUndefined()) FailUndefined(object.undefined());
  if (key.IsString()) runtime.ChargeText(key.string().size());
  if (object.IsDict()) {
    if (const Value* found = object.dict().Find(key)) return *found;
  } else if (key.IsIntegral() && object.IsSequence() && object.sequence().HasIndex()) {
    const auto& items = object.sequence().items;
    const auto position = Position(key.integer(), items.size());
    return position ? items[*position] : Missing(object, nullptr);
  } else if (key.IsIntegral() && object.IsString()) {
    const std::string& text = object.string();
    runtime.ChargeText(text.size());
    const auto position = Position(key.integer(), CodePointCount(text));
    if (!position) return Missing(object, nullptr);
    const size_t begin = ByteOffset(text, *position);
    return runtime.Text(text.substr(begin, ByteOffset(std::string_view(text).substr(begin), 1)));
  }
  if (!key.IsString()) return Missing(object, nullptr);
  // The key may not live as long as the value made here, so hints keep no pointer to it.
  const std::string& name = key.string();
  if (object.IsObject()) {
    auto attribute = object.object().Attribute(runtime, name);
    return attribute ? std::move(*attribute) : Missing(object, nullptr);
  }
  if (IsForbiddenMethod(object, name)) return Missing(object, nullptr);
  auto method = MethodOf(runtime, object, name);
  return method ? std::move(*method) : Missing(object, nullptr);
}

Value GetSlice(Runtime& runtime, const Value& object, const Value& start, const Value& stop, const Value& step) {
  runtime.Charge(1);
  if (object.IsUndefined()) FailUndefined(object.undefined());
  const bool is_text = object.IsString();
  if (!is_text && !(object.IsSequence() && object.sequence().HasIndex())) {
    Fail(ErrorCode::kInvalidArgument, "{} cannot be sliced", object.TypeWithArticle());
  }
  const auto given = [](const Value& bound) { return !bound.IsNone(); };
  const int64_t by = given(step) ? NeedInteger(step, "the step of a slice") : 1;
  if (by == 0) Fail(ErrorCode::kInvalidArgument, "the step of a slice cannot be zero");
  std::vector<std::string_view> characters;
  if (is_text) {
    runtime.Charge(object.string().size() / 8);  // the cut-up text takes more room than the text
    characters = CodePoints(object.string());
  }
  const auto size = static_cast<int64_t>(is_text ? characters.size() : object.sequence().items.size());
  const int64_t lowest = by > 0 ? 0 : -1, highest = by > 0 ? size : size - 1;
  const auto bound = [&](const Value& value, int64_t otherwise) {
    if (!given(value)) return otherwise;
    const int64_t index = NeedInteger(value, "the bound of a slice");
    return std::clamp(index < 0 ? index + size : index, lowest, highest);
  };
  const int64_t first = bound(start, by > 0 ? 0 : size - 1);
  const int64_t past = bound(stop, by > 0 ? size : -1);
  const int64_t stride = std::clamp(by, -size - 1, size + 1);  // so that adding it cannot overflow
  std::string text;
  std::vector<Value> items;
  for (int64_t i = first; by > 0 ? i < past : i > past; i += stride) {
    if (is_text) {
      text += characters[static_cast<size_t>(i)];
    } else {
      items.push_back(object.sequence().items[static_cast<size_t>(i)]);
    }
  }
  return is_text ? runtime.Text(std::move(text)) : runtime.MakeSequence(object.sequence().kind, std::move(items));
}

Value GetPath(Runtime& runtime, const Value& object, const Value& path) {
  if (!path.IsString()) return GetItem(runtime, object, path);
  Value value = object;
  for (const std::string_view part : SplitAt(path.string(), ".", -1, false)) {
    const bool is_number =
        !part.empty() && part.size() < 10 && AllOf(part, Class::kDigit) && part[0] >= '0' && part[0] <= '9';
    value = GetItem(runtime, value,
                    is_number ? Value(int64_t{std::stoi(std::string(part))}) : runtime.Text(std::string(part)));
  }
  return value;
}

std::shared_ptr<const Sequence> ItemsOf(Runtime& runtime, const Value& value) {
  if (value.IsSequence()) return value.shared_sequence();
  std::vector<Value> items;
  if (value.IsString()) {
    runtime.Charge(value.string().size());
    for (const std::string_view c : CodePoints(value.string())) items.push_back(runtime.Text(std::string(c)));
  } else if (value.IsDict()) {
    runtime.Charge(value.dict().entries().size());
    for (const Dict::Entry& entry : value.dict().entries()) items.push_back(entry.first);
  } else if (!value.IsUndefined()) {
    Fail(ErrorCode::kInvalidArgument, "{} cannot be iterated", value.TypeWithArticle());
  } else if (value.undefined().forbidden) {
    FailUndefined(value.undefined());
  }
  return runtime.List(std::move(items)).shared_sequence();
}

int64_t LengthOf(Runtime& runtime, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      runtime.ChargeText(value.string().size());
      return static_cast<int64_t>(CodePointCount(value.string()));
    case Kind::kDict:
      return static_cast<int64_t>(value.dict().entries().size());
    case Kind::kSequence:
      if (value.sequence().HasLength()) return static_cast<int64_t>(value.sequence().items.size());
      [[fallthrough]];
    default:
      Fail(ErrorCode::kInvalidArgument, "{} has no length", value.TypeWithArticle());
  }
}

}  // namespace edgellm::text::jinja
