// Functions a template can call without importing anything: jinja2's globals and the two that Hugging Face adds.
#include <algorithm>
#include <array>
#include <ctime>
#include <map>

#include "base/error.h"
#include "text/jinja_arguments.h"

namespace edgellm::text::jinja {

namespace {

class NamespaceObject : public Object {
 public:
  const char* TypeName() const override { return "Namespace"; }
  std::optional<Value> Attribute(Runtime&, std::string_view name) override {
    const auto found = attributes_.find(name);
    return found == attributes_.end() ? std::nullopt : std::optional(found->second);
  }
  bool SetAttribute(const std::string& name, Value value) override {
    attributes_.insert_or_assign(name, std::move(value));
    return true;
  }

 private:
  std::map<std::string, Value, std::less<>> attributes_;
};

class JoinerObject : public Object {
 public:
  explicit JoinerObject(Value separator) : separator_(std::move(separator)) {}
  const char* TypeName() const override { return "Joiner"; }
  bool callable() const override { return true; }
  Value Call(Runtime& runtime, const Arguments&) override {
    if (std::exchange(used_, true)) return separator_;
    return runtime.Text("");
  }
  int depth() const override { return 1 + separator_.depth(); }

 private:
  Value separator_;
  bool used_ = false;
};

class CyclerObject : public Object, public std::enable_shared_from_this<CyclerObject> {
 public:
  explicit CyclerObject(std::shared_ptr<const Sequence> items) : items_(std::move(items)) {}
  const char* TypeName() const override { return "Cycler"; }
  int depth() const override { return 1 + items_->depth; }
  std::optional<Value> Attribute(Runtime&, std::string_view name) override;
  const Value& current() const { return items_->items[place_]; }
  void Next() { place_ = (place_ + 1) % items_->items.size(); }
  void Reset() { place_ = 0; }

 private:
  std::shared_ptr<const Sequence> items_;
  size_t place_ = 0;
};

/// cycler.next and cycler.reset.
class CyclerMethod : public Object {
 public:
  CyclerMethod(std::shared_ptr<CyclerObject> cycler, bool next) : cycler_(std::move(cycler)), next_(next) {}
  const char* TypeName() const override { return "method"; }
  bool callable() const override { return true; }
  int depth() const override { return 1 + cycler_->depth(); }
  Value Call(Runtime&, const Arguments&) override {
    Value value = cycler_->current();
    next_ ? cycler_->Next() : cycler_->Reset();
    return next_ ? value : Value(None{});
  }

 private:
  std::shared_ptr<CyclerObject> cycler_;
  bool next_;
};

std::optional<Value> CyclerObject::Attribute(Runtime& runtime, std::string_view name) {
  if (name == "current") return current();
  if (name != "next" && name != "reset") return std::nullopt;
  runtime.CheckDepth(1 + depth());
  return Value(std::shared_ptr<Object>(std::make_shared<CyclerMethod>(shared_from_this(), name == "next")));
}

/// The entries that dict(…) and namespace(…) are given: of a mapping, and by keyword.
std::vector<Dict::Entry> EntriesOf(Runtime& runtime, const Arguments& arguments) {
  std::vector<Dict::Entry> entries;
  if (arguments.positional.size() > 1) Fail(ErrorCode::kInvalidArgument, "one mapping is expected at most");
  for (const Value& source : arguments.positional) {
    if (source.IsUndefined()) FailUndefined(source.undefined());
    if (source.IsDict()) {
      runtime.Charge(source.dict().entries().size());
      entries = source.dict().entries();
      continue;
    }
    const auto pairs = ItemsOf(runtime, source);
    for (const Value& pair : pairs->items) {
      const auto parts = ItemsOf(runtime, pair);
      if (parts->items.size() != 2) Fail(ErrorCode::kInvalidArgument, "a mapping is made of pairs");
      entries.emplace_back(parts->items[0], parts->items[1]);
    }
  }
  for (const auto& [name, value] : arguments.keyword) entries.emplace_back(runtime.Text(std::string(name)), value);
  return entries;
}

Value Namespace(Runtime& runtime, const Value&, const BoundArguments& arguments) {
  auto made = std::make_unique<NamespaceObject>();
  for (auto& [name, value] : EntriesOf(runtime, *arguments.all)) {
    made->SetAttribute(NeedText(name, "the name of an attribute"), value);
  }
  return runtime.Keep(std::move(made));
}

Value DictFunction(Runtime& runtime, const Value&, const BoundArguments& arguments) {
  return runtime.MakeDict(EntriesOf(runtime, *arguments.all));
}

Value Range(Runtime& runtime, const Value&, const BoundArguments& arguments) {
  constexpr uint64_t kMost = 100'000;  // as jinja2's sandbox allows
  int64_t start = 0, stop = NeedInteger(*arguments[0], "range's bound"), step = 1;
  if (arguments[1] != nullptr) start = std::exchange(stop, NeedInteger(*arguments[1], "range's bound"));
  if (arguments[2] != nullptr) step = NeedInteger(*arguments[2], "range's step");
  if (step == 0) Fail(ErrorCode::kInvalidArgument, "range's step cannot be zero");
  uint64_t count = 0;
  if (step > 0 ? start < stop : start > stop) {
    // In unsigned arithmetic the distance of any two 64-bit integers is exact.
    const uint64_t distance = step > 0 ? static_cast<uint64_t>(stop) - static_cast<uint64_t>(start)
                                       : static_cast<uint64_t>(start) - static_cast<uint64_t>(stop);
    const uint64_t stride = step > 0 ? static_cast<uint64_t>(step) : uint64_t{0} - static_cast<uint64_t>(step);
    count = (distance - 1) / stride + 1;
  }
  if (count > kMost) Fail(ErrorCode::kLimit, "range has more than {} numbers", kMost);
  std::vector<Value> numbers;
  int64_t number = start;
  for (uint64_t i = 0; i < count; ++i) {
    numbers.push_back(Value(number));
    if (i + 1 < count) number += step;
  }
  return runtime.MakeSequence(Sequence::Kind::kRange, std::move(numbers));
}

Value RaiseException(Runtime& runtime, const Value&, const BoundArguments& arguments) {
  throw Error(ErrorCode::kInvalidArgument, ToText(runtime, *arguments[0]));
}

Value StrftimeNow(Runtime& runtime, const Value&, const BoundArguments& arguments) {
  const std::string& format = NeedText(*arguments[0], "the format of strftime_now");
  const std::time_t now = static_cast<std::time_t>(runtime.now_unix_seconds());
  std::tm parts{};
  if (gmtime_r(&now, &parts) == nullptr) Fail(ErrorCode::kInvalidArgument, "the time is out of range");
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    static constexpr std::string_view kPlain = "aAbBcdDeFgGhHIjmMnpRrStTuUVwWxXyYzZ%C";
    if (format[i] != '%' || i + 1 == format.size()) {
      out += format[i];
      continue;
    }
    char conversion[] = {'%', format[++i], '\0'};
    const bool without_zero = conversion[1] == '-' && i + 1 < format.size();  // %-d: glibc's, which templates use
    if (without_zero) conversion[1] = format[++i];
    if (conversion[1] == 'f') {
      out += "000000";
    } else if (kPlain.find(conversion[1]) == std::string_view::npos) {
      Fail(ErrorCode::kUnsupported, "strftime_now does not support %{}", conversion[1]);
    } else {
      char buffer[128];
      std::string_view text(buffer, std::strftime(buffer, sizeof buffer, conversion, &parts));
      while (without_zero && text.size() > 1 && text[0] == '0') text.remove_prefix(1);
      out += text;
    }
  }
  return runtime.Text(std::move(out));
}

Value Joiner(Runtime& runtime, const Value&, const BoundArguments& arguments) {
  Value separator = arguments[0] != nullptr ? *arguments[0] : runtime.Text(", ");
  runtime.CheckDepth(1 + separator.depth());
  return Value(std::shared_ptr<Object>(std::make_shared<JoinerObject>(std::move(separator))));
}

Value Cycler(Runtime& runtime, const Value&, const BoundArguments& arguments) {
  if (arguments.all->positional.empty()) Fail(ErrorCode::kInvalidArgument, "cycler needs something to cycle through");
  const auto items = runtime.List(arguments.all->positional).shared_sequence();
  runtime.CheckDepth(1 + items->depth);
  return Value(std::shared_ptr<Object>(std::make_shared<CyclerObject>(items)));
}

constexpr std::array<Builtin, 7> kFunctions = {{
    {"namespace", Namespace, "*"},
    {"dict", DictFunction, "*"},
    {"range", Range, "start! stop step"},
    {"raise_exception", RaiseException, "message!"},
    {"strftime_now", StrftimeNow, "format!"},
    {"joiner", Joiner, "sep"},
    {"cycler", Cycler, "*"},
}};

}  // namespace

std::span<const Builtin> Functions() {
  return kFunctions;
}

}  // namespace edgellm::text::jinja
