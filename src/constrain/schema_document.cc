// See schema_document.h.
#include "constrain/schema_document.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace edgellm::constrain {
namespace {

constexpr int kMaxDepth = 100;
constexpr size_t kMaxValues = 100'000;  // JSON values in a schema
constexpr int kMaxMergeDepth = 40;

void CheckSize(const Json& value, int depth, size_t* count) {
  if (depth > kMaxDepth) Fail(ErrorCode::kLimit, "the schema nests deeper than {}", kMaxDepth);
  if (++*count > kMaxValues) Fail(ErrorCode::kLimit, "the schema has more than {} values", kMaxValues);
  for (const auto& member : value) {
    if (value.is_structured()) CheckSize(member, depth + 1, count);
  }
}

/// Equal as JSON has it: the order of members does not count, and 1 equals 1.0.
bool SameValue(const Json& a, const Json& b) {
  return nlohmann::json(a) == nlohmann::json(b);
}

bool Contains(const Json& list, const Json& value) {
  return std::any_of(list.begin(), list.end(), [&](const Json& member) { return SameValue(member, value); });
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

std::string PercentDecode(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && HexDigit(text[i + 1]) >= 0 && HexDigit(text[i + 2]) >= 0) {
      result.push_back(static_cast<char>(HexDigit(text[i + 1]) * 16 + HexDigit(text[i + 2])));
      i += 2;
    } else {
      result.push_back(text[i]);
    }
  }
  return result;
}

/// The member or element that a pointer's next part names; null where there is none.
const Json* Child(const Json& value, std::string part) {
  for (size_t at = 0; (at = part.find('~', at)) != std::string::npos; ++at) {
    if (part.compare(at, 2, "~1") == 0) {
      part.replace(at, 2, "/");
    } else if (part.compare(at, 2, "~0") == 0) {
      part.replace(at, 2, "~");
    }
  }
  if (value.is_object()) {
    const auto found = value.find(part);
    return found == value.end() ? nullptr : &*found;
  }
  const bool number = !part.empty() && part.size() < 7 &&
                      std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!value.is_array() || !number) return nullptr;
  const size_t index = std::stoul(part);
  return index < value.size() ? &value[index] : nullptr;
}

/// Follows the parts of a pointer ("" or "/a/b"); null where it leads nowhere.
const Json* Follow(const Json& root, const std::string& target) {
  const Json* at = &root;
  for (size_t begin = 0; at != nullptr && begin < target.size();) {
    const size_t end = std::min(target.find('/', begin + 1), target.size());
    at = Child(*at, target.substr(begin + 1, end - begin - 1));
    begin = end;
  }
  return at;
}

bool Closed(const Json& schema) {
  const auto found = schema.find("additionalProperties");
  return found != schema.end() && found->is_boolean() && !found->get<bool>();
}

const Json* Property(const Json& schema, const std::string& name) {
  const auto properties = schema.find("properties");
  if (properties == schema.end() || !properties->is_object()) return nullptr;
  const auto found = properties->find(name);
  return found == properties->end() ? nullptr : &*found;
}

std::vector<std::string> Required(const Json& schema) {
  std::vector<std::string> names;
  const auto required = schema.find("required");
  if (required == schema.end() || !required->is_array()) return names;
  for (const Json& name : *required) {
    if (name.is_string()) names.push_back(name.get<std::string>());
  }
  return names;
}

}  // namespace

unsigned TypeNamed(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, unsigned>, 7> kNames = {{{"null", kNull},
                                                                                   {"boolean", kBoolean},
                                                                                   {"integer", kInteger},
                                                                                   {"number", kInteger | kFraction},
                                                                                   {"string", kString},
                                                                                   {"array", kArray},
                                                                                   {"object", kObject}}};
  for (const auto& [known, type] : kNames) {
    if (name == known) return type;
  }
  return 0;
}

unsigned TypeOf(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return kNull;
    case Json::value_t::boolean:
      return kBoolean;
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return kInteger;
    case Json::value_t::number_float:
      return value.get<double>() == std::floor(value.get<double>()) ? kInteger : kFraction;
    case Json::value_t::string:
      return kString;
    case Json::value_t::array:
      return kArray;
    default:
      return kObject;
  }
}

bool IsAnnotation(std::string_view keyword) {
  static constexpr std::array<std::string_view, 16> kAnnotations = {
      "title",           "description",   "default",  "examples",   "$schema",    "$id",
      "$comment",        "$defs",         "readOnly", "writeOnly",  "deprecated", "contentMediaType",
      "contentEncoding", "contentSchema", "$anchor",  "definitions"};
  return std::find(kAnnotations.begin(), kAnnotations.end(), keyword) != kAnnotations.end();
}

SchemaDocument::SchemaDocument(const Json& root, std::string name) : root_(root), name_(std::move(name)) {
  size_t count = 0;
  CheckSize(root, 0, &count);
}

void SchemaDocument::Invalid(const std::string& path, const std::string& cause) const {
  Fail(ErrorCode::kInvalidArgument, "{}: at '{}': {}", name_, path, cause);
}

void SchemaDocument::Unsupported(const std::string& path, const std::string& cause) const {
  Fail(ErrorCode::kUnsupported, "{}: at '{}': {}", name_, path, cause);
}

std::string SchemaDocument::TargetOf(const Json& reference, const std::string& path) const {
  if (!reference.is_string()) Invalid(path, "$ref must be a string");
  const auto text = reference.get<std::string>();
  if (text != "#" && !text.starts_with("#/")) {
    Unsupported(path, "$ref to '" + text + "': only places in this schema can be referred to, as in #/$defs/name");
  }
  std::string target = PercentDecode(std::string_view(text).substr(1));
  if (Follow(root_, target) == nullptr) Invalid(path, "$ref: there is no '" + text + "'");
  return target;
}

const Json& SchemaDocument::At(const std::string& target) const {
  return *Follow(root_, target);
}

const Json& SchemaDocument::Resolved(const Json& schema) const {
  constexpr int kMaxHops = 20;
  const Json* at = &schema;
  for (int hop = 0; hop < kMaxHops && at->is_object() && at->contains("$ref"); ++hop) {
    at = &At(TargetOf(at->at("$ref"), ""));
  }
  return *at;
}

Json SchemaDocument::Merge(const Json& a, const Json& b, const std::string& path, int depth) const {
  if (depth > kMaxMergeDepth) Unsupported(path, "allOf or $ref beside other keywords goes round in circles");
  if (a.is_boolean()) return a.get<bool>() ? b : a;
  if (b.is_boolean()) return b.get<bool>() ? a : b;
  if (!a.is_object() || !b.is_object()) Invalid(path, "a schema must be an object, true or false");
  for (const auto& [with, other] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    if (!with->contains("$ref")) continue;
    Json rest = *with;
    rest.erase("$ref");
    const Json& target = At(TargetOf(with->at("$ref"), path));
    return Merge(Merge(target, rest, path, depth + 1), *other, path, depth + 1);
  }
  // A closed object knows no others' members: the open one's are not its own.
  const auto has_members = [](const Json& schema) {
    return schema.contains("properties") || schema.contains("required");
  };
  const bool restricts_a = a.contains("additionalProperties"), restricts_b = b.contains("additionalProperties");
  if ((restricts_a && has_members(b)) || (restricts_b && has_members(a))) {
    Unsupported(path, "additionalProperties in one of two schemas that both must hold, and members in the other");
  }
  // "items" speaks of the elements that "prefixItems" beside it leaves.
  if ((a.contains("prefixItems") && b.contains("items")) || (b.contains("prefixItems") && a.contains("items"))) {
    Unsupported(path, "prefixItems in one of two schemas that both must hold, and items in the other");
  }
  Json merged = a;
  for (const auto& [keyword, value] : b.items()) {
    if (IsAnnotation(keyword)) continue;
    const auto found = merged.find(keyword);
    if (found == merged.end()) {
      merged[keyword] = value;
    } else {
      *found = MergeValue(keyword, *found, value, path, depth);
    }
  }
  return merged;
}

Json SchemaDocument::MergeValue(const std::string& keyword, const Json& a, const Json& b, const std::string& path,
                                int depth) const {
  if (SameValue(a, b) && keyword != "not") return a;
  const bool numbers = a.is_number() && b.is_number();
  if (numbers &&
      (keyword == "minimum" || keyword == "exclusiveMinimum" || keyword == "minLength" || keyword == "minItems")) {
    return a < b ? b : a;
  }
  if (numbers &&
      (keyword == "maximum" || keyword == "exclusiveMaximum" || keyword == "maxLength" || keyword == "maxItems")) {
    return a < b ? a : b;
  }
  if (keyword == "properties" && a.is_object() && b.is_object()) {
    Json merged = a;
    for (const auto& [name, schema] : b.items()) {
      const auto found = merged.find(name);
      if (found == merged.end()) {
        merged[name] = schema;
      } else {
        *found = Merge(*found, schema, path + "/properties/" + name, depth + 1);
      }
    }
    return merged;
  }
  if (keyword == "required" && a.is_array() && b.is_array()) {
    Json merged = a;
    for (const Json& name : b) {
      if (!Contains(merged, name)) merged.push_back(name);
    }
    return merged;
  }
  if (keyword == "allOf" && a.is_array() && b.is_array()) {
    Json merged = a;
    merged.insert(merged.end(), b.begin(), b.end());
    return merged;
  }
  if (keyword == "items") return Merge(a, b, path + "/items", depth + 1);
  if (keyword == "enum" && a.is_array() && b.is_array()) {
    Json merged = Json::array();
    for (const Json& value : a) {
      if (Contains(b, value)) merged.push_back(value);
    }
    return merged;
  }
  if (keyword == "type") {
    const auto types = [&](const Json& value) { return Types(Json{{"type", value}}); };
    const unsigned both = types(a) & types(b);
    Json merged = Json::array();
    for (const char* name : {"null", "boolean", "number", "string", "array", "object"}) {
      if ((TypeNamed(name) & ~both) == 0) merged.push_back(name);
    }
    if ((both & kInteger) != 0 && (both & kFraction) == 0) merged.push_back("integer");
    if (merged.empty()) Invalid(path, "nothing has both of the types that must hold");
    return merged;
  }
  Unsupported(path, "'" + keyword + "' twice, in schemas that both must hold");
}

unsigned SchemaDocument::Types(const Json& given, int depth) const {
  const Json& schema = Resolved(given);
  if (!schema.is_object() || depth > kMaxMergeDepth) return kAllTypes;
  unsigned types = kAllTypes;
  if (const auto type = schema.find("type"); type != schema.end()) {
    types = 0;
    if (type->is_string()) types = TypeNamed(type->get<std::string>());
    if (type->is_array()) {
      for (const Json& name : *type) types |= name.is_string() ? TypeNamed(name.get<std::string>()) : 0;
    }
  }
  if (const auto values = Values(schema)) {
    unsigned of_values = 0;
    for (const Json& value : *values) of_values |= TypeOf(value);
    types &= of_values;
  }
  for (const char* keyword : {"anyOf", "oneOf"}) {
    const auto branches = schema.find(keyword);
    if (branches == schema.end() || !branches->is_array()) continue;
    unsigned of_branches = 0;
    for (const Json& branch : *branches) of_branches |= Types(branch, depth + 10);
    types &= of_branches;
  }
  return types;
}

std::optional<std::vector<Json>> SchemaDocument::Values(const Json& schema) const {
  if (const auto value = schema.find("const"); value != schema.end()) return std::vector<Json>{*value};
  const auto values = schema.find("enum");
  if (values == schema.end() || !values->is_array()) return std::nullopt;
  return std::vector<Json>(values->begin(), values->end());
}

bool SchemaDocument::Disjoint(const Json& given_a, const Json& given_b, int depth) const {
  constexpr int kMaxCompared = 6;
  if (depth > kMaxCompared) return false;
  const Json &a = Resolved(given_a), &b = Resolved(given_b);
  const unsigned both = Types(a) & Types(b);
  if (both == 0) return true;
  if (!a.is_object() || !b.is_object()) return false;
  const auto values_a = Values(a), values_b = Values(b);
  if (values_a && values_b) {
    return std::none_of(values_a->begin(), values_a->end(), [&](const Json& value) {
      return std::any_of(values_b->begin(), values_b->end(),
                         [&](const Json& other) { return SameValue(value, other); });
    });
  }
  return both == kObject && DisjointObjects(a, b, depth);
}

bool SchemaDocument::DisjointObjects(const Json& a, const Json& b, int depth) const {
  for (const auto& [one, other] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    const std::vector<std::string> also = Required(*other);
    for (const std::string& name : Required(*one)) {
      const Json *mine = Property(*one, name), *its = Property(*other, name);
      if (its == nullptr && Closed(*other)) return true;
      const bool required_by_both = std::find(also.begin(), also.end(), name) != also.end();
      if (mine != nullptr && its != nullptr && required_by_both && Disjoint(*mine, *its, depth + 1)) return true;
    }
  }
  return false;
}

}  // namespace edgellm::constrain
