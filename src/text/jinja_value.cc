// Values: types, identity, and the sorted index of dictionaries.
#include "text/jinja_value.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace edgellm::text::jinja {

namespace {

const char* SequenceTypeName(Sequence::Kind kind) {
  switch (kind) {
    case Sequence::Kind::kList:
      return "list";
    case Sequence::Kind::kTuple:
      return "tuple";
    case Sequence::Kind::kRange:
      return "range";
    case Sequence::Kind::kItems:
      return "dict_items";
    case Sequence::Kind::kKeys:
      return "dict_keys";
    case Sequence::Kind::kValues:
      return "dict_values";
    case Sequence::Kind::kGenerator:
      return "generator";
  }
  return "sequence";
}

/// A total order of keys: none, then numbers by value (so that 1, 1.0 and true are one key), then strings.
int CompareKeys(const Value& a, const Value& b) {
  const auto rank = [](const Value& value) { return value.IsNone() ? 0 : value.IsNumber() ? 1 : 2; };
  if (rank(a) != rank(b)) return rank(a) - rank(b);
  if (rank(a) == 0) return 0;
  if (rank(a) == 2) return a.string().compare(b.string());
  if (a.IsIntegral() && b.IsIntegral()) return a.integer() < b.integer() ? -1 : a.integer() > b.integer();
  return a.number() < b.number() ? -1 : a.number() > b.number();
}

}  // namespace

int Value::depth() const {
  switch (kind()) {
    case Kind::kSequence:
      return sequence().depth;
    case Kind::kDict:
      return dict().depth();
    case Kind::kObject:
      return object().depth();
    default:
      return 0;
  }
}

const char* Value::TypeName() const {
  switch (kind()) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInteger:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return "str";
    case Kind::kSequence:
      return SequenceTypeName(sequence().kind);
    case Kind::kDict:
      return "dict";
    case Kind::kObject:
      return object().TypeName();
  }
  return "object";
}

std::string WithArticle(std::string_view type_name) {
  const bool vowel = !type_name.empty() && std::string_view("aeiou").find(type_name[0]) != std::string_view::npos;
  return (vowel ? "an " : "a ") + std::string(type_name);
}

std::string Value::TypeWithArticle() const {
  return WithArticle(TypeName());
}

bool Value::SameAs(const Value& other) const {
  if (kind() != other.kind()) return false;
  switch (kind()) {
    case Kind::kUndefined:
      return false;
    case Kind::kNone:
      return true;
    case Kind::kBool:
    case Kind::kInteger:
      return integer() == other.integer();
    case Kind::kFloat:
      return floating() == other.floating();
    case Kind::kString:
      return &string() == &other.string() || string() == other.string();  // Python interns literals
    case Kind::kSequence:
      return &sequence() == &other.sequence();
    case Kind::kDict:
      return &dict() == &other.dict();
    case Kind::kObject:
      return &object() == &other.object();
  }
  return false;
}

bool Dict::IsKey(const Value& value) {
  return value.IsString() || value.IsNone() || value.IsIntegral() ||
         (value.Is(Value::Kind::kFloat) && !std::isnan(value.floating()));
}

Dict::Dict(std::vector<Entry> entries) {
  for (const Entry& entry : entries) {
    if (!IsKey(entry.first)) {
      Fail(ErrorCode::kInvalidArgument, "{} cannot be the key of a dict", entry.first.TypeWithArticle());
    }
  }
  std::vector<uint32_t> sorted(entries.size());
  std::iota(sorted.begin(), sorted.end(), 0u);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [&](uint32_t a, uint32_t b) { return CompareKeys(entries[a].first, entries[b].first) < 0; });
  std::vector<bool> replaced(entries.size(), false);
  for (size_t begin = 0; begin < sorted.size();) {
    size_t end = begin + 1;
    while (end < sorted.size() && CompareKeys(entries[sorted[begin]].first, entries[sorted[end]].first) == 0) ++end;
    if (end - begin > 1) entries[sorted[begin]].second = std::move(entries[sorted[end - 1]].second);
    for (size_t i = begin + 1; i < end; ++i) replaced[sorted[i]] = true;
    begin = end;
  }
  std::vector<uint32_t> place(entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    if (replaced[i]) continue;
    place[i] = static_cast<uint32_t>(entries_.size());
    depth_ = std::max(depth_, 1 + entries[i].second.depth());
    entries_.push_back(std::move(entries[i]));
  }
  for (const uint32_t i : sorted) {
    if (!replaced[i]) order_.push_back(place[i]);
  }
}

const Value* Dict::Find(const Value& key) const {
  if (!IsKey(key)) return nullptr;
  const auto found = std::lower_bound(order_.begin(), order_.end(), key, [&](uint32_t i, const Value& asked) {
    return CompareKeys(entries_[i].first, asked) < 0;
  });
  if (found == order_.end() || CompareKeys(entries_[*found].first, key) != 0) return nullptr;
  return &entries_[*found].second;
}

const Value* Dict::Find(std::string_view key) const {
  const auto found = std::lower_bound(order_.begin(), order_.end(), key, [&](uint32_t i, std::string_view asked) {
    const Value& present = entries_[i].first;
    return !present.IsString() || present.string() < asked;  // strings come last in the order
  });
  if (found == order_.end() || entries_[*found].first.string() != key) return nullptr;
  return &entries_[*found].second;
}

std::optional<Value> Object::Attribute(Runtime&, std::string_view) {
  return std::nullopt;
}

bool Object::SetAttribute(const std::string&, Value) {
  return false;
}

Value Object::Call(Runtime&, const Arguments&) {
  Fail(ErrorCode::kInvalidArgument, "{} cannot be called", WithArticle(TypeName()));
}

}  // namespace edgellm::text::jinja
