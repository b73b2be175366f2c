// See json_schema.h.
#include "constrain/json_schema.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "constrain/schema_document.h"
#include "constrain/schema_keywords.h"
#include "constrain/string_format.h"
#include "constrain/string_pattern.h"

namespace edgellm::constrain {
namespace {

constexpr int kMaxDepth = 120;       // of schemas in schemas, merged ones included
constexpr int kMaxSchemas = 20'000;  // compiled
constexpr int kMaxRepetitions = 20'000;

class SchemaCompiler {
 public:
  SchemaCompiler(const Json& root, const std::string& name, JsonParts* parts)
      : document_(root, name), name_(name), parts_(*parts), grammar_(parts->grammar()) {}

  ExpressionId Compile() {
    const ExpressionId root = RuleFor("");
    for (size_t next = 0; next < waiting_.size(); ++next) {
      const auto [target, rule] = waiting_[next];
      grammar_.Define(rule, Schema(document_.At(target), target, 0));
    }
    return root;
  }

 private:
  ExpressionId RuleFor(const std::string& target) {
    const auto [found, added] = rules_.try_emplace(target, -1);
    if (added) {
      found->second = grammar_.Declare(name_ + "#" + target);
      waiting_.push_back({target, found->second});
    }
    return grammar_.Reference(found->second);
  }

  /// True when `schema` restricts anything but by the keywords that were taken out of it.
  static bool Restricts(const Json& schema) {
    return std::any_of(schema.items().begin(), schema.items().end(),
                       [](const auto& member) { return !IsAnnotation(member.key()); });
  }

  ExpressionId Schema(const Json& schema, const std::string& path, int depth) {
    if (++schemas_ > kMaxSchemas) Fail(ErrorCode::kLimit, "{}: more than {} schemas", name_, kMaxSchemas);
    if (depth > kMaxDepth) Fail(ErrorCode::kLimit, "{}: at '{}': schemas nest too deep", name_, path);
    if (schema.is_boolean()) {
      if (!schema.get<bool>()) document_.Invalid(path, "nothing satisfies the schema false");
      return parts_.Value();
    }
    if (!schema.is_object()) document_.Invalid(path, "a schema must be an object, true or false");
    for (const auto& member : schema.items()) {
      if (!IsKeyword(member.key()) && !IsAnnotation(member.key())) {
        document_.Unsupported(Pointer(path, member.key()), "the keyword '" + member.key() + "' is not supported");
      }
    }
    if (schema.contains("$ref")) return Referring(schema, path, depth);
    if (schema.contains("allOf")) return AllOf(schema, path, depth);
    for (const char* keyword : {"anyOf", "oneOf"}) {
      if (schema.contains(keyword)) return Branches(schema, keyword, path, depth);
    }
    if (schema.contains("const") || schema.contains("enum")) return Values(schema, path);
    return Typed(schema, path, depth);
  }

  ExpressionId Referring(const Json& schema, const std::string& path, int depth) {
    Json rest = schema;
    rest.erase("$ref");
    const std::string target = document_.TargetOf(schema.at("$ref"), Pointer(path, "$ref"));
    if (!Restricts(rest)) return RuleFor(target);
    return Schema(document_.Merge(document_.At(target), rest, path), path, depth + 1);
  }

  ExpressionId AllOf(const Json& schema, const std::string& path, int depth) {
    const Json parts = schema.at("allOf");
    if (!parts.is_array() || parts.empty()) document_.Invalid(Pointer(path, "allOf"), "must be a list of schemas");
    Json merged = schema;
    merged.erase("allOf");
    if (parts.size() == 1 && !Restricts(merged)) return Schema(parts[0], Pointer(path, "allOf/0"), depth + 1);
    for (const Json& part : parts) merged = document_.Merge(merged, part, path);
    return Schema(merged, path, depth + 1);
  }

  ExpressionId Branches(const Json& schema, const std::string& keyword, const std::string& path, int depth) {
    const std::string place = Pointer(path, keyword);
    const Json branches = schema.at(keyword);
    if (!branches.is_array() || branches.empty()) document_.Invalid(place, "must be a list of schemas");
    Json rest = schema;
    rest.erase(keyword);
    const bool restricts = Restricts(rest);
    std::vector<Json> merged;
    for (const Json& branch : branches) {
      merged.push_back(restricts ? document_.Merge(rest, branch, place) : branch);
    }
    if (keyword == "oneOf") {
      for (size_t i = 0; i < merged.size(); ++i) {
        for (size_t j = 0; j < i; ++j) {
          if (++compared_ > kMaxSchemas) Fail(ErrorCode::kLimit, "{}: at '{}': too many branches", name_, place);
          if (document_.Disjoint(merged[i], merged[j])) continue;
          document_.Unsupported(place,
                                fmt::format("branches {} and {} of oneOf may both hold: give them different types, a "
                                            "property with different constants, or write anyOf",
                                            j, i));
        }
      }
    }
    std::vector<ExpressionId> choices;
    for (size_t i = 0; i < merged.size(); ++i) {
      choices.push_back(Schema(merged[i], Pointer(place, std::to_string(i)), depth + 1));
    }
    return grammar_.Choice(std::move(choices));
  }

  unsigned DeclaredTypes(const Json& schema, const std::string& path) {
    const auto type = schema.find("type");
    if (type == schema.end()) return kAllTypes;
    unsigned types = 0;
    const auto add = [&](const Json& name) {
      const unsigned bits = name.is_string() ? TypeNamed(name.get<std::string>()) : 0;
      if (bits == 0) document_.Invalid(Pointer(path, "type"), "there is no type " + name.dump());
      types |= bits;
    };
    if (type->is_array()) {
      for (const Json& name : *type) add(name);
      if (type->empty()) document_.Invalid(Pointer(path, "type"), "an empty list of types");
    } else {
      add(*type);
    }
    return types;
  }

  ExpressionId Values(const Json& schema, const std::string& path) {
    const unsigned types = DeclaredTypes(schema, path);
    for (const auto& member : schema.items()) {
      if (TypeOfKeyword(member.key()) != 0 && (TypeOfKeyword(member.key()) & types) != 0) {
        document_.Unsupported(Pointer(path, member.key()),
                              "'" + member.key() + "' beside enum or const is not supported");
      }
    }
    Json values = Json::array();
    if (const auto list = schema.find("enum"); list != schema.end()) {
      if (!list->is_array()) document_.Invalid(Pointer(path, "enum"), "must be a list of values");
      values = *list;
    } else {
      values.push_back(schema.at("const"));
    }
    std::vector<ExpressionId> choices;
    for (const Json& value : values) {
      const auto constant = schema.find("const");
      if (constant != schema.end() && nlohmann::json(*constant) != nlohmann::json(value)) continue;
      if ((TypeOf(value) & types) != 0) choices.push_back(parts_.Constant(value));
    }
    if (choices.empty()) document_.Invalid(path, "no value of enum or const is allowed");
    return grammar_.Choice(std::move(choices));
  }

  ExpressionId Typed(const Json& schema, const std::string& path, int depth) {
    unsigned types = DeclaredTypes(schema, path);
    if (types == kAllTypes && !schema.contains("type")) {
      unsigned spoken = 0;
      for (const auto& member : schema.items()) spoken |= TypeOfKeyword(member.key());
      if (spoken == 0) return parts_.Value();
      if ((spoken & (spoken - 1)) != 0) {
        document_.Unsupported(path, "keywords for several types without 'type'");
      }
      types = spoken == kInteger ? kInteger | kFraction : spoken;
    }
    std::vector<ExpressionId> choices;
    if ((types & kObject) != 0) choices.push_back(Object(schema, path, depth));
    if ((types & kArray) != 0) choices.push_back(Array(schema, path, depth));
    if ((types & kString) != 0) choices.push_back(String(schema, path));
    if ((types & kInteger) != 0) choices.push_back(Number(schema, path, (types & kFraction) != 0));
    if ((types & kBoolean) != 0) choices.push_back(parts_.Boolean());
    if ((types & kNull) != 0) choices.push_back(parts_.Null());
    return grammar_.Choice(std::move(choices));
  }

  // Objects.

  /// How additional members look; null where there are none.
  const Json* Additional(const Json& schema) {
    static const Json kAny = true;
    const auto additional = schema.find("additionalProperties");
    if (additional != schema.end()) {
      return additional->is_boolean() && !additional->get<bool>() ? nullptr : &*additional;
    }
    // Without a word on it, JSON Schema allows any; models are asked for the members that were named.
    return schema.contains("properties") ? nullptr : &kAny;
  }

  std::vector<std::string> RequiredNames(const Json& schema, const std::string& path) {
    std::vector<std::string> names;
    const auto required = schema.find("required");
    if (required == schema.end()) return names;
    if (!required->is_array()) document_.Invalid(Pointer(path, "required"), "must be a list of names");
    for (const Json& name : *required) {
      if (!name.is_string()) document_.Invalid(Pointer(path, "required"), "must be a list of names");
      names.push_back(name.get<std::string>());
    }
    return names;
  }

  ExpressionId Key(const std::string& name) { return grammar_.Text(Json(name).dump()); }

  ExpressionId Object(const Json& schema, const std::string& path, int depth) {
    const Json* additional = Additional(schema);
    std::vector<std::string> required = RequiredNames(schema, path);
    std::vector<JoinItem> members;
    std::vector<std::string> names;
    int certain = 0;
    if (const auto properties = schema.find("properties"); properties != schema.end()) {
      if (!properties->is_object()) document_.Invalid(Pointer(path, "properties"), "must be an object");
      for (const auto& [name, value] : properties->items()) {
        const auto found = std::find(required.begin(), required.end(), name);
        const bool optional = found == required.end();
        std::erase(required, name);
        names.push_back(name);
        if (optional && value.is_boolean() && !value.get<bool>()) continue;  // may not be there, need not be
        certain += optional ? 0 : 1;
        const std::string place = Pointer(path + "/properties", name);
        members.push_back({parts_.Member(Key(name), Schema(value, place, depth + 1)), optional, false});
      }
    }
    for (const std::string& name : required) {
      if (std::find(names.begin(), names.end(), name) != names.end()) continue;  // named twice
      if (additional == nullptr) {
        document_.Invalid(Pointer(path, "required"), "'" + name + "' is required, but there is no such property");
      }
      names.push_back(name);
      ++certain;
      const ExpressionId value = Schema(*additional, Pointer(path, "additionalProperties"), depth + 1);
      members.push_back({parts_.Member(Key(name), value), false, false});
    }
    const bool open = additional != nullptr;
    if (open) {
      const ExpressionId value = Schema(*additional, Pointer(path, "additionalProperties"), depth + 1);
      members.push_back({parts_.Member(AdditionalKey(schema, names, path, depth), value), true, true});
    } else if (schema.contains("propertyNames")) {
      document_.Unsupported(Pointer(path, "propertyNames"), "propertyNames beside properties is not supported");
    }
    CheckCounts(schema, path, certain, open ? Grammar::kUnlimited : static_cast<int>(members.size()));
    return parts_.ObjectOf(std::move(members));
  }

  ExpressionId AdditionalKey(const Json& schema, const std::vector<std::string>& names, const std::string& path,
                             int depth) {
    const auto restricted = schema.find("propertyNames");
    if (restricted == schema.end()) return names.empty() ? parts_.String() : parts_.StringExcept(names);
    const std::string place = Pointer(path, "propertyNames");
    if (!names.empty()) document_.Unsupported(place, "propertyNames beside named properties is not supported");
    if (restricted->is_boolean()) return Schema(*restricted, place, depth + 1), parts_.String();
    Json strings = *restricted;
    if (strings.is_object() && !strings.contains("type") && !strings.contains("$ref")) strings["type"] = "string";
    if (document_.Types(strings) != kString) document_.Unsupported(place, "must be a schema of strings");
    return Schema(strings, place, depth + 1);
  }

  /// minProperties and maxProperties where they follow from the rest.
  void CheckCounts(const Json& schema, const std::string& path, int least, int most) {
    if (const auto minimum = Count(schema, "minProperties", path); minimum && *minimum > least) {
      document_.Unsupported(Pointer(path, "minProperties"), "minProperties above the number of required properties");
    }
    const auto maximum = Count(schema, "maxProperties", path);
    if (maximum && (most == Grammar::kUnlimited || *maximum < most)) {
      document_.Unsupported(Pointer(path, "maxProperties"), "maxProperties below the number of properties");
    }
  }

  // Arrays.

  ExpressionId Array(const Json& schema, const std::string& path, int depth) {
    if (const auto unique = schema.find("uniqueItems"); unique != schema.end() && *unique != false) {
      document_.Unsupported(Pointer(path, "uniqueItems"), "uniqueItems is not supported");
    }
    const int minimum = Count(schema, "minItems", path).value_or(0);
    const int maximum = Count(schema, "maxItems", path).value_or(Grammar::kUnlimited);
    // Draft 7 has a list in "items", and "additionalItems" for what follows it.
    const bool old_list = schema.contains("items") && schema.at("items").is_array();
    const char *prefix_keyword = old_list ? "items" : "prefixItems",
               *rest_keyword = old_list ? "additionalItems" : "items";
    if (old_list && schema.contains("prefixItems")) document_.Invalid(path, "prefixItems beside a list in items");
    if (!old_list && schema.contains("additionalItems")) {
      document_.Unsupported(Pointer(path, "additionalItems"), "additionalItems without a list in items");
    }
    static const Json kAny = true;
    const Json* rest = schema.contains(rest_keyword) ? &schema.at(rest_keyword) : &kAny;
    std::vector<ExpressionId> prefix;
    if (const auto list = schema.find(prefix_keyword); list != schema.end()) {
      if (!list->is_array()) document_.Invalid(Pointer(path, prefix_keyword), "must be a list of schemas");
      for (size_t i = 0; i < list->size(); ++i) {
        if (maximum != Grammar::kUnlimited && static_cast<int>(i) >= maximum) break;
        prefix.push_back(Schema((*list)[i], path + "/" + prefix_keyword + "/" + std::to_string(i), depth + 1));
      }
    }
    const auto fixed = static_cast<int>(prefix.size());
    int least_rest = std::max(0, minimum - fixed);
    int most_rest = maximum == Grammar::kUnlimited ? Grammar::kUnlimited : maximum - fixed;
    if (rest->is_boolean() && !rest->get<bool>()) most_rest = 0;
    if (most_rest != Grammar::kUnlimited && least_rest > most_rest) {
      document_.Invalid(path, "no array has as many elements as minItems wants");
    }
    ExpressionId element = -1;
    if (most_rest != 0) element = Schema(*rest, Pointer(path, rest_keyword), depth + 1);
    if (fixed == 0 && most_rest == Grammar::kUnlimited && least_rest <= 1) {
      return parts_.ArrayOf({{element, least_rest == 0, true}});
    }
    return Elements(prefix, element, least_rest, most_rest, minimum, path);
  }

  /// Prefix and rest, of which the first `minimum` must be there; every copy of the rest's schema is a call.
  ExpressionId Elements(const std::vector<ExpressionId>& prefix, ExpressionId element, int least, int most, int minimum,
                        const std::string& path) {
    const auto fixed = static_cast<int>(prefix.size());
    if (fixed == 0 && most == 0) return parts_.ArrayOf({});
    ExpressionId tail = -1;  // with the comma before it
    if (most != 0) {
      const ExpressionId call = grammar_.Reference(grammar_.AddRule(name_ + "#" + path + "/items", element));
      if (fixed == 0) {
        const int more = most == Grammar::kUnlimited ? most : most - 1;
        const ExpressionId others = grammar_.Sequence({parts_.Comma(), call});
        return parts_.ArrayAround(grammar_.Sequence({call, grammar_.Repeat(others, std::max(0, least - 1), more)}),
                                  least == 0);
      }
      tail = grammar_.Repeat(grammar_.Sequence({parts_.Comma(), call}), least, most);
    }
    for (int i = fixed - 1; i >= 0; --i) {
      std::vector<ExpressionId> here;
      if (i > 0) here.push_back(parts_.Comma());
      here.push_back(prefix[static_cast<size_t>(i)]);
      if (tail >= 0) here.push_back(tail);
      tail = grammar_.Sequence(std::move(here));
      if (i > 0 && i >= minimum) tail = grammar_.Optional(tail);
    }
    return parts_.ArrayAround(tail, minimum == 0);
  }

  // Strings and numbers.

  std::optional<int> Count(const Json& schema, const char* keyword, const std::string& path) {
    const auto found = schema.find(keyword);
    if (found == schema.end()) return std::nullopt;
    const bool whole = found->is_number() && TypeOf(*found) == kInteger && found->get<double>() >= 0;
    if (!whole) document_.Invalid(Pointer(path, keyword), "must be a whole number, 0 or more");
    if (found->get<double>() > kMaxRepetitions) {
      Fail(ErrorCode::kLimit, "{}: at '{}': more than {}", name_, Pointer(path, keyword), kMaxRepetitions);
    }
    return found->get<int>();
  }

  ExpressionId String(const Json& schema, const std::string& path) {
    const auto minimum = Count(schema, "minLength", path), maximum = Count(schema, "maxLength", path);
    const auto pattern = schema.find("pattern"), format = schema.find("format");
    const int restrictions = (minimum || maximum ? 1 : 0) + (pattern != schema.end()) + (format != schema.end());
    if (restrictions > 1) {
      document_.Unsupported(path, "only one of pattern, format and minLength/maxLength is supported at a time");
    }
    if (pattern != schema.end()) {
      const std::string place = Pointer(path, "pattern");
      if (!pattern->is_string()) document_.Invalid(place, "must be a string");
      return Pattern(pattern->get<std::string>(), place);
    }
    if (format != schema.end()) {
      const std::string place = Pointer(path, "format");
      if (!format->is_string()) document_.Invalid(place, "must be a string");
      const auto name = format->get<std::string>();
      const std::string of_format = FormatPattern(name);
      if (of_format.empty()) document_.Unsupported(place, "the format '" + name + "' is not supported");
      return Pattern(of_format, place);
    }
    const int least = minimum.value_or(0), most = maximum.value_or(Grammar::kUnlimited);
    if (most != Grammar::kUnlimited && least > most) document_.Invalid(path, "minLength is above maxLength");
    return parts_.String(least, most);
  }

  /// One rule for each pattern, however often it is used.
  ExpressionId Pattern(const std::string& pattern, const std::string& place) {
    const auto [found, added] = patterns_.try_emplace(pattern, -1);
    if (added) {
      try {
        found->second = grammar_.AddRule("pattern " + pattern, CompilePattern(pattern, &parts_));
      } catch (const Error& error) {
        throw Error(error.code(), name_ + ": at '" + place + "': " + error.what());
      }
    }
    return grammar_.Reference(found->second);
  }

  /// The limit that a keyword sets to integers, moved inwards by one if `exclusive`.
  std::optional<int64_t> Bound(const Json& schema, const char* keyword, bool lower, bool exclusive,
                               const std::string& path) {
    const auto found = schema.find(keyword);
    if (found == schema.end()) return std::nullopt;
    if (!found->is_number()) document_.Invalid(Pointer(path, keyword), "must be a number");
    constexpr auto kBeyond = JsonParts::kLargestInteger + 1;
    const double value = found->get<double>();
    if (value <= static_cast<double>(-kBeyond)) return -kBeyond;
    if (value >= static_cast<double>(kBeyond)) return kBeyond;
    if (!found->is_number_float()) return found->get<int64_t>() + (exclusive ? (lower ? 1 : -1) : 0);
    const double inner = lower ? std::ceil(value) : std::floor(value);
    return static_cast<int64_t>(inner) + (exclusive && inner == value ? (lower ? 1 : -1) : 0);
  }

  ExpressionId Number(const Json& schema, const std::string& path, bool fractions) {
    for (const char* keyword : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}) {
      if (!schema.contains(keyword)) continue;
      if (fractions) {
        document_.Unsupported(Pointer(path, keyword),
                              std::string("'") + keyword + "' is supported for integers only, not for numbers");
      }
      if (std::string_view(keyword) == "multipleOf" && schema.at(keyword) != 1) {
        document_.Unsupported(Pointer(path, keyword), "multipleOf is not supported");
      }
    }
    if (fractions) return parts_.Number();
    int64_t low = -JsonParts::kLargestInteger, high = JsonParts::kLargestInteger;
    if (const auto bound = Bound(schema, "minimum", true, false, path)) low = std::max(low, *bound);
    if (const auto bound = Bound(schema, "exclusiveMinimum", true, true, path)) low = std::max(low, *bound);
    if (const auto bound = Bound(schema, "maximum", false, false, path)) high = std::min(high, *bound);
    if (const auto bound = Bound(schema, "exclusiveMaximum", false, true, path)) high = std::min(high, *bound);
    if (low > high) document_.Invalid(path, "no integer of up to 18 digits is between minimum and maximum");
    return parts_.Integer(low, high);
  }

  SchemaDocument document_;
  std::string name_;
  JsonParts& parts_;
  Grammar& grammar_;
  std::map<std::string, RuleId> rules_;  // by target
  std::vector<std::pair<std::string, RuleId>> waiting_;
  std::map<std::string, RuleId> patterns_;
  int schemas_ = 0;
  int compared_ = 0;
};

}  // namespace

ExpressionId AddJsonSchema(const Json& schema, const std::string& name, JsonParts* parts) {
  return SchemaCompiler(schema, name, parts).Compile();
}

Grammar CompileJsonSchema(const Json& schema, const JsonStyle& style) {
  Grammar grammar;
  JsonParts parts(&grammar, style);
  const ExpressionId body = AddJsonSchema(schema, "schema", &parts);
  grammar.root = grammar.AddRule("root", body);
  return grammar;
}

Json ParseSchemaText(std::string_view text, std::string_view name) {
  constexpr size_t kMaxBytes = size_t{1} << 20;
  if (text.size() > kMaxBytes) Fail(ErrorCode::kLimit, "{}: more than {} bytes", name, kMaxBytes);
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    Fail(ErrorCode::kInvalidArgument, "{}: {}", name, error.what());
  }
}

Grammar CompileJsonSchemaText(std::string_view schema, const JsonStyle& style) {
  return CompileJsonSchema(ParseSchemaText(schema, "schema"), style);
}

}  // namespace edgellm::constrain
