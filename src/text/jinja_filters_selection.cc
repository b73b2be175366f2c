// Filters that apply a filter, a test or an attribute to each item: map, select, reject, selectattr, rejectattr.
#include <array>

#include "base/error.h"
#include "text/jinja_arguments.h"

namespace edgellm::text::jinja {

namespace {

const Builtin& Named(const Builtin* found, const char* what, const Value& name) {
  if (found == nullptr)
    Fail(ErrorCode::kUnsupported, "there is no {} '{}'", what, name.IsString() ? name.string() : "?");
  return *found;
}

/// The arguments after the first `count`, for the filter or test that those name.
Arguments Rest(const Arguments& arguments, size_t count) {
  Arguments rest;
  rest.positional.assign(arguments.positional.begin() + static_cast<ptrdiff_t>(count), arguments.positional.end());
  rest.keyword = arguments.keyword;
  return rest;
}

Value MapAttribute(Runtime& runtime, const Sequence& source, const Arguments& arguments) {
  const Value *attribute = nullptr, *otherwise = nullptr;
  for (const auto& [name, value] : arguments.keyword) {
    if (name == "attribute") {
      attribute = &value;
    } else if (name == "default") {
      otherwise = &value;
    } else {
      Fail(ErrorCode::kInvalidArgument, "map has no argument '{}'", name);
    }
  }
  if (attribute == nullptr) Fail(ErrorCode::kInvalidArgument, "map needs a filter or an attribute");
  std::vector<Value> items;
  for (const Value& item : source.items) {
    Value value = GetPath(runtime, item, *attribute);
    items.push_back(value.IsUndefined() && otherwise != nullptr ? *otherwise : std::move(value));
  }
  return runtime.Generator(std::move(items));
}

Value Map(Runtime& runtime, const Value& self, const BoundArguments& bound) {
  const Arguments& arguments = *bound.all;
  if (!Truth(self)) return runtime.Generator({});  // none and 0 too: jinja2 does not ask further
  const auto source = ItemsOf(runtime, self);
  if (arguments.positional.empty()) return MapAttribute(runtime, *source, arguments);
  const Value& name = arguments.positional[0];
  const Builtin& filter = Named(FindFilter(NeedText(name, "the name of a filter")), "filter", name);
  const Arguments rest = Rest(arguments, 1);
  std::vector<Value> items;
  for (const Value& item : source->items) items.push_back(CallBuiltin(runtime, filter, item, rest));
  return runtime.Generator(std::move(items));
}

/// With kByAttribute the first argument is a path; the test follows. Without a test, truth decides.
template <bool kByAttribute, bool kWanted>
Value Select(Runtime& runtime, const Value& self, const BoundArguments& bound) {
  const Arguments& arguments = *bound.all;
  const size_t test_at = kByAttribute ? 1 : 0;
  if (arguments.positional.size() < test_at) Fail(ErrorCode::kInvalidArgument, "the name of an attribute is needed");
  const Builtin* test = nullptr;
  Arguments rest;
  if (arguments.positional.size() > test_at) {
    const Value& name = arguments.positional[test_at];
    test = &Named(FindTest(NeedText(name, "the name of a test")), "test", name);
    rest = Rest(arguments, test_at + 1);
  }
  if (!Truth(self)) return runtime.Generator({});
  std::vector<Value> items;
  const auto given = ItemsOf(runtime, self);
  for (const Value& item : given->items) {
    const Value subject = kByAttribute ? GetPath(runtime, item, arguments.positional[0]) : item;
    const Value result = test == nullptr ? subject : CallBuiltin(runtime, *test, subject, rest);
    if (Truth(result) == kWanted) items.push_back(item);
  }
  return runtime.Generator(std::move(items));
}

constexpr std::array<Builtin, 5> kFilters = {{
    {"map", Map, "*"},
    {"select", Select<false, true>, "*"},
    {"reject", Select<false, false>, "*"},
    {"selectattr", Select<true, true>, "*"},
    {"rejectattr", Select<true, false>, "*"},
}};

}  // namespace

std::span<const Builtin> SelectionFilters() {
  return kFilters;
}

}  // namespace edgellm::text::jinja
