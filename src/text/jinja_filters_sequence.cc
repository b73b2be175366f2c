// Filters over sequences that look at items as they are: length, order, joining, grouping. Those that choose items by a
// test or an attribute stand in jinja_filters_selection.cc.
#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "text/jinja_arguments.h"
#include "text/jinja_text.h"

namespace edgellm::text::jinja {

namespace {

Value Length(Runtime& runtime, const Value& self, const BoundArguments&) {
  return Value(LengthOf(runtime, self));
}

Value First(Runtime& runtime, const Value& self, const BoundArguments&) {
  const auto items = ItemsOf(runtime, self);
  return items->items.empty() ? Value() : items->items.front();
}

Value Last(Runtime& runtime, const Value& self, const BoundArguments&) {
  if (self.IsSequence() && !self.sequence().HasLength())
    Fail(ErrorCode::kInvalidArgument, "a generator has no last item");
  const auto items = ItemsOf(runtime, self);
  return items->items.empty() ? Value() : items->items.back();
}

Value ListFilter(Runtime& runtime, const Value& self, const BoundArguments&) {
  return runtime.List(ItemsOf(runtime, self)->items);
}

Value Join(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const std::string separator = TextOr(runtime, arguments[0], "");
  const auto items = ItemsOf(runtime, self);
  std::string out;
  bool is_first = true;
  for (const Value& item : items->items) {
    if (!is_first) out += separator;
    is_first = false;
    runtime.ChargeText(separator.size());
    AppendText(runtime, out, Given(arguments[1]) ? GetPath(runtime, item, *arguments[1]) : item);
    runtime.CheckLength(out.size());
  }
  return runtime.Text(std::move(out));
}

Value Reverse(Runtime& runtime, const Value& self, const BoundArguments&) {
  const auto source = ItemsOf(runtime, self);
  if (self.IsString()) {
    std::string out;
    for (auto item = source->items.rbegin(); item != source->items.rend(); ++item) out += item->string();
    return runtime.Text(std::move(out));
  }
  return runtime.Generator({source->items.rbegin(), source->items.rend()});
}

/// What an item is compared by: an attribute of it where one is named; strings in lower case unless case counts.
Value SortKey(Runtime& runtime, const Value& item, const Value* attribute, bool case_sensitive) {
  Value key = Given(attribute) ? GetPath(runtime, item, *attribute) : item;
  if (case_sensitive || !key.IsString()) return key;
  runtime.ChargeCharacters(key.string().size());
  return runtime.Text(Lower(key.string()));
}

struct Keyed {
  std::vector<Value> keys;
  Value item;
};

std::vector<Keyed> KeyedItems(Runtime& runtime, const Sequence& source, const Value* attributes, bool case_sensitive) {
  std::vector<Value> paths;
  if (Given(attributes) && attributes->IsString()) {
    for (const std::string_view path : SplitAt(attributes->string(), ",", -1, false)) {
      paths.push_back(runtime.Text(std::string(path)));
    }
  } else {
    paths.push_back(Given(attributes) ? *attributes : Value(None{}));
  }
  std::vector<Keyed> keyed;
  for (const Value& item : source.items) {
    Keyed entry{{}, item};
    for (const Value& path : paths) entry.keys.push_back(SortKey(runtime, item, &path, case_sensitive));
    keyed.push_back(std::move(entry));
  }
  return keyed;
}

void SortKeyed(Runtime& runtime, std::vector<Keyed>& keyed, bool reverse) {
  const auto before = [&](const Keyed& a, const Keyed& b) {
    for (size_t i = 0; i < a.keys.size(); ++i) {
      // Equal keys need no order: jinja2 compares lists of keys, and Python's lists look for the first difference.
      if (!Equal(runtime, a.keys[i], b.keys[i])) return LessThan(runtime, a.keys[i], b.keys[i]);
    }
    return false;
  };
  std::stable_sort(keyed.begin(), keyed.end(), [&](const Keyed& a, const Keyed& b) {
    return reverse ? before(b, a) : before(a, b);  // as in Python, equal items keep their order either way
  });
}

Value Sort(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  auto keyed = KeyedItems(runtime, *ItemsOf(runtime, self), arguments[2], TruthOr(arguments[1], false));
  SortKeyed(runtime, keyed, TruthOr(arguments[0], false));
  std::vector<Value> items;
  for (Keyed& entry : keyed) items.push_back(std::move(entry.item));
  return runtime.List(std::move(items));
}

Value Unique(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const bool case_sensitive = TruthOr(arguments[0], false);
  std::vector<Value> kept, keys;
  const auto source = ItemsOf(runtime, self);
  std::vector<Dict::Entry> entries;
  for (const Value& item : source->items) {
    Value key = SortKey(runtime, item, arguments[1], case_sensitive);
    if (Dict::IsKey(key)) {
      entries.emplace_back(std::move(key), item);
      continue;
    }
    const auto same = [&](const Value& seen) { return Equal(runtime, seen, key); };
    if (!key.IsSequence() || key.sequence().kind != Sequence::Kind::kTuple) {
      Fail(ErrorCode::kInvalidArgument, "unique cannot compare {}", key.TypeWithArticle());
    }
    if (std::any_of(keys.begin(), keys.end(), same)) continue;
    keys.push_back(std::move(key));
    kept.push_back(item);
  }
  if (!kept.empty() && !entries.empty()) Fail(ErrorCode::kUnsupported, "unique over tuples and other values at once");
  if (!kept.empty()) return runtime.Generator(std::move(kept));
  // Of equal keys a dict keeps the last value. Given the places in reverse, that is the first place.
  std::vector<Dict::Entry> places;
  for (size_t i = entries.size(); i-- > 0;) places.emplace_back(entries[i].first, Value(static_cast<int64_t>(i)));
  const Value first_places = runtime.MakeDict(std::move(places));
  std::vector<Value> items;
  for (size_t i = 0; i < entries.size(); ++i) {
    runtime.Charge(1);
    if (first_places.dict().Find(entries[i].first)->integer() == static_cast<int64_t>(i))
      items.push_back(entries[i].second);
  }
  return runtime.Generator(std::move(items));
}

template <bool kMax>
Value Extreme(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const auto source = ItemsOf(runtime, self);
  if (source->items.empty()) return Value();
  const bool case_sensitive = TruthOr(arguments[0], false);
  size_t best = 0;
  Value best_key = SortKey(runtime, source->items[0], arguments[1], case_sensitive);
  for (size_t i = 1; i < source->items.size(); ++i) {
    Value key = SortKey(runtime, source->items[i], arguments[1], case_sensitive);
    if (!(kMax ? LessThan(runtime, best_key, key) : LessThan(runtime, key, best_key))) continue;
    best = i;
    best_key = std::move(key);
  }
  return source->items[best];
}

Value Sum(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  Value total = arguments[1] != nullptr ? *arguments[1] : Value(int64_t{0});
  if (total.IsString()) Fail(ErrorCode::kInvalidArgument, "sum does not add strings");
  const auto given = ItemsOf(runtime, self);
  for (const Value& item : given->items) {
    const Value part = Given(arguments[0]) ? GetPath(runtime, item, *arguments[0]) : item;
    total = Arithmetic(runtime, BinaryOperator::kAdd, total, part);
  }
  return total;
}

Value Items(Runtime& runtime, const Value& self, const BoundArguments&) {
  if (self.IsUndefined()) return runtime.Generator({});
  if (!self.IsDict()) Fail(ErrorCode::kInvalidArgument, "items needs a mapping, not {}", self.TypeWithArticle());
  std::vector<Value> pairs;
  for (const auto& [key, value] : self.dict().entries()) {
    pairs.push_back(runtime.MakeSequence(Sequence::Kind::kTuple, {key, value}));
  }
  return runtime.Generator(std::move(pairs));
}

Value DictSort(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  if (!self.IsDict()) Fail(ErrorCode::kInvalidArgument, "dictsort needs a mapping, not {}", self.TypeWithArticle());
  const std::string by = arguments[1] == nullptr ? "key" : NeedText(*arguments[1], "what to sort by");
  if (by != "key" && by != "value") Fail(ErrorCode::kInvalidArgument, "dictsort sorts by key or by value");
  std::vector<Keyed> keyed;
  for (const auto& [key, value] : self.dict().entries()) {
    Value pair = runtime.MakeSequence(Sequence::Kind::kTuple, {key, value});
    keyed.push_back({{SortKey(runtime, by == "key" ? key : value, nullptr, TruthOr(arguments[0], false))}, pair});
  }
  SortKeyed(runtime, keyed, TruthOr(arguments[2], false));
  std::vector<Value> pairs;
  for (Keyed& entry : keyed) pairs.push_back(std::move(entry.item));
  return runtime.List(std::move(pairs));
}

Value Batch(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const int64_t size = NeedInteger(*arguments[0], "the size of a batch");
  if (size < 1 || size > INT32_MAX) Fail(ErrorCode::kInvalidArgument, "the size of a batch cannot be {}", size);
  std::vector<Value> batches, batch;
  const auto finish = [&] { batches.push_back(runtime.List(std::exchange(batch, {}))); };
  const auto given = ItemsOf(runtime, self);
  for (const Value& item : given->items) {
    if (static_cast<int64_t>(batch.size()) == size) finish();
    batch.push_back(item);
  }
  if (!batch.empty()) {
    if (Given(arguments[1])) {
      runtime.Charge(static_cast<uint64_t>(size));
      batch.resize(static_cast<size_t>(size), *arguments[1]);
    }
    finish();
  }
  return runtime.Generator(std::move(batches));
}

Value SliceFilter(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const int64_t count = NeedInteger(*arguments[0], "the number of slices");
  if (count < 1 || count > INT32_MAX) Fail(ErrorCode::kInvalidArgument, "the number of slices cannot be {}", count);
  const auto source = ItemsOf(runtime, self);
  const auto& items = source->items;
  const size_t slices = static_cast<size_t>(count), shortest = items.size() / slices, longer = items.size() % slices;
  std::vector<Value> columns;
  for (size_t i = 0, begin = 0; i < slices; ++i) {
    const size_t length = shortest + (i < longer ? 1 : 0);
    const auto from = items.begin() + static_cast<ptrdiff_t>(begin);
    std::vector<Value> column(from, from + static_cast<ptrdiff_t>(length));
    begin += length;
    if (Given(arguments[1]) && i >= longer) column.push_back(*arguments[1]);
    runtime.Charge(1);
    columns.push_back(runtime.List(std::move(column)));
  }
  return runtime.Generator(std::move(columns));
}

/// Pairs of a value and the items that have it, sorted by the value. Python's pairs also have names: grouper and list.
Value GroupBy(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  std::vector<Keyed> sorted;  // each with the pair of the key as it was and the item
  const auto given = ItemsOf(runtime, self);
  for (const Value& item : given->items) {
    Value key = GetPath(runtime, item, *arguments[0]);
    if (key.IsUndefined() && arguments[1] == nullptr) FailUndefined(key.undefined());
    if (key.IsUndefined()) key = *arguments[1];
    Value order = SortKey(runtime, key, nullptr, TruthOr(arguments[2], false));
    sorted.push_back({{std::move(order)}, runtime.MakeSequence(Sequence::Kind::kTuple, {std::move(key), item})});
  }
  SortKeyed(runtime, sorted, false);
  std::vector<Value> groups, members;
  for (size_t i = 0; i < sorted.size(); ++i) {
    members.push_back(sorted[i].item.sequence().items[1]);
    if (i + 1 < sorted.size() && Equal(runtime, sorted[i].keys[0], sorted[i + 1].keys[0])) continue;
    const Value& first = sorted[i + 1 - members.size()].item.sequence().items[0];
    const Value list = runtime.List(std::exchange(members, {}));
    groups.push_back(runtime.MakeSequence(Sequence::Kind::kTuple, {first, list}));
  }
  return runtime.List(std::move(groups));
}

constexpr std::array<Builtin, 17> kFilters = {{
    {"length", Length},
    {"count", Length},
    {"first", First},
    {"last", Last},
    {"list", ListFilter},
    {"join", Join, "d attribute"},
    {"reverse", Reverse},
    {"sort", Sort, "reverse case_sensitive attribute"},
    {"unique", Unique, "case_sensitive attribute"},
    {"min", Extreme<false>, "case_sensitive attribute"},
    {"max", Extreme<true>, "case_sensitive attribute"},
    {"sum", Sum, "attribute start"},
    {"items", Items},
    {"dictsort", DictSort, "case_sensitive by reverse"},
    {"batch", Batch, "linecount! fill_with"},
    {"slice", SliceFilter, "slices! fill_with"},
    {"groupby", GroupBy, "attribute! default case_sensitive"},
}};

}  // namespace

std::span<const Builtin> SequenceFilters() {
  return kFilters;
}

}  // namespace edgellm::text::jinja
