// Looks functions up by name and binds arguments to parameters.
#include "text/jinja_registry.h"

#include <algorithm>
#include <initializer_list>
#include <unordered_map>

#include "base/error.h"

namespace edgellm::text::jinja {

namespace {

using Kind = Value::Kind;
using Table = std::unordered_map<std::string_view, const Builtin*>;

Table MakeTable(std::initializer_list<std::span<const Builtin>> parts) {
  Table table;
  for (const auto& part : parts) {
    for (const Builtin& builtin : part) table.emplace(builtin.name, &builtin);
  }
  return table;
}

const Builtin* FindIn(const Table& table, std::string_view name) {
  const auto found = table.find(name);
  return found == table.end() ? nullptr : found->second;
}

/// The next name in the list of parameters, without its mark; empty at the end.
std::string_view NextParameter(std::string_view& rest, bool& required) {
  const size_t space = std::min(rest.find(' '), rest.size());
  std::string_view name = rest.substr(0, space);
  rest.remove_prefix(std::min(space + 1, rest.size()));
  required = name.ends_with('!');
  if (required) name.remove_suffix(1);
  return name;
}

BoundArguments Bind(const Builtin& builtin, const Arguments& arguments) {
  BoundArguments bound;
  bound.all = &arguments;
  if (builtin.parameters == "*") return bound;
  std::string_view rest = builtin.parameters;
  size_t count = 0, keywords_used = 0;
  bool required = false;
  for (std::string_view name = NextParameter(rest, required); !name.empty(); name = NextParameter(rest, required)) {
    const Value*& slot = bound.values[count];
    if (count < arguments.positional.size()) slot = &arguments.positional[count];
    for (const auto& [keyword, value] : arguments.keyword) {
      if (keyword != name) continue;
      if (slot != nullptr) Fail(ErrorCode::kInvalidArgument, "{} got two values for '{}'", builtin.name, name);
      slot = &value;
      ++keywords_used;
    }
    if (required && slot == nullptr)
      Fail(ErrorCode::kInvalidArgument, "{} needs the argument '{}'", builtin.name, name);
    ++count;
  }
  if (arguments.positional.size() > count) {
    Fail(ErrorCode::kInvalidArgument, "{} takes not more than {} arguments", builtin.name, count);
  }
  if (keywords_used < arguments.keyword.size()) {
    Fail(ErrorCode::kInvalidArgument, "{} got an argument that it does not have", builtin.name);
  }
  return bound;
}

}  // namespace

const Builtin* FindFilter(std::string_view name) {
  static const Table table = MakeTable({TextFilters(), SequenceFilters(), SelectionFilters()});
  return FindIn(table, name);
}

const Builtin* FindTest(std::string_view name) {
  static const Table table = MakeTable({Tests()});
  return FindIn(table, name);
}

const Builtin* FindFunction(std::string_view name) {
  static const Table table = MakeTable({Functions()});
  return FindIn(table, name);
}

const Builtin* FindMethod(const Value& receiver, std::string_view name) {
  static const Table text = MakeTable({TextMethods()}), sequence = MakeTable({SequenceMethods()}),
                     dict = MakeTable({DictMethods()});
  switch (receiver.kind()) {
    case Kind::kString:
      return FindIn(text, name);
    case Kind::kSequence: {
      const Builtin* found = FindIn(sequence, name);
      const Sequence& items = receiver.sequence();
      if (found != nullptr && found->name == "copy" && items.kind != Sequence::Kind::kList) return nullptr;
      return items.HasIndex() ? found : nullptr;
    }
    case Kind::kDict:
      return FindIn(dict, name);
    default:
      return nullptr;
  }
}

bool IsForbiddenMethod(const Value& receiver, std::string_view name) {
  static constexpr std::array<std::string_view, 9> kOfList = {"append", "clear",   "extend", "insert",  "pop",
                                                              "remove", "reverse", "sort",   "__iadd__"};
  static constexpr std::array<std::string_view, 5> kOfDict = {"clear", "pop", "popitem", "setdefault", "update"};
  if (receiver.IsDict()) return std::find(kOfDict.begin(), kOfDict.end(), name) != kOfDict.end();
  const bool is_list = receiver.IsSequence() && receiver.sequence().kind == Sequence::Kind::kList;
  return is_list && std::find(kOfList.begin(), kOfList.end(), name) != kOfList.end();
}

Value CallBuiltin(Runtime& runtime, const Builtin& builtin, const Value& self, const Arguments& arguments) {
  runtime.Charge(1);
  return builtin.run(runtime, self, Bind(builtin, arguments));
}

}  // namespace edgellm::text::jinja
