// A validator of JSON schemas for tests: plain recursion over the document, by the specification's words, and nothing
// in common with how schemas are compiled. Knows the keywords that random_schema.h makes.
#pragma once

#include <cmath>
#include <regex>
#include <string>

#include <nlohmann/json.hpp>

#include "base/utf8.h"

namespace edgellm::constrain {

inline size_t CountCodePoints(const std::string& text) {
  size_t count = 0;
  for (char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
  return count;
}

class JsonValidator {
 public:
  explicit JsonValidator(const nlohmann::json& root) : root_(root) {}

  bool Holds(const nlohmann::json& value) const { return Holds(root_, value); }

 private:
  using Json = nlohmann::json;

  static bool HasType(const std::string& type, const Json& value) {
    if (type == "null") return value.is_null();
    if (type == "boolean") return value.is_boolean();
    if (type == "string") return value.is_string();
    if (type == "array") return value.is_array();
    if (type == "object") return value.is_object();
    if (type == "number") return value.is_number();
    return value.is_number() && value.get<double>() == std::floor(value.get<double>());
  }

  bool Holds(const Json& schema, const Json& value) const {
    if (schema.is_boolean()) return schema.get<bool>();
    for (const auto& [keyword, argument] : schema.items()) {
      if (!KeywordHolds(schema, keyword, argument, value)) return false;
    }
    return true;
  }

  int Branches(const Json& branches, const Json& value) const {
    int holding = 0;
    for (const Json& branch : branches) holding += Holds(branch, value) ? 1 : 0;
    return holding;
  }

  bool KeywordHolds(const Json& schema, const std::string& keyword, const Json& argument, const Json& value) const {
    if (keyword == "$ref") return Holds(root_.at(Json::json_pointer(argument.get<std::string>().substr(1))), value);
    if (keyword == "type") {
      if (argument.is_string()) return HasType(argument, value);
      return std::any_of(argument.begin(), argument.end(), [&](const Json& type) { return HasType(type, value); });
    }
    if (keyword == "enum") return std::find(argument.begin(), argument.end(), value) != argument.end();
    if (keyword == "const") return argument == value;
    if (keyword == "anyOf") return Branches(argument, value) > 0;
    if (keyword == "oneOf") return Branches(argument, value) == 1;
    if (keyword == "allOf") return Branches(argument, value) == static_cast<int>(argument.size());
    if (value.is_string()) return StringHolds(keyword, argument, value);
    if (value.is_number()) {
      if (keyword == "minimum") return value >= argument;
      if (keyword == "maximum") return value <= argument;
      if (keyword == "exclusiveMinimum") return value > argument;
      if (keyword == "exclusiveMaximum") return value < argument;
    }
    if (value.is_array()) return ArrayHolds(schema, keyword, argument, value);
    if (value.is_object()) return ObjectHolds(schema, keyword, argument, value);
    return true;
  }

  static bool StringHolds(const std::string& keyword, const Json& argument, const Json& value) {
    const auto text = value.get<std::string>();
    if (keyword == "minLength") return CountCodePoints(text) >= argument.get<size_t>();
    if (keyword == "maxLength") return CountCodePoints(text) <= argument.get<size_t>();
    if (keyword == "pattern") return std::regex_search(text, std::regex(argument.get<std::string>()));
    if (keyword == "format") {
      static const std::regex kDate("[0-9]{4}-[0-9]{2}-[0-9]{2}");
      if (argument != "date" || !std::regex_match(text, kDate)) return argument != "date";
      const int year = std::stoi(text), month = std::stoi(text.substr(5)), day = std::stoi(text.substr(8));
      const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
      const int days[] = {31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
      return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1];
    }
    return true;
  }

  bool ArrayHolds(const Json& schema, const std::string& keyword, const Json& argument, const Json& value) const {
    if (keyword == "minItems") return value.size() >= argument.get<size_t>();
    if (keyword == "maxItems") return value.size() <= argument.get<size_t>();
    const size_t fixed = schema.contains("prefixItems") ? schema["prefixItems"].size() : 0;
    for (size_t i = 0; i < value.size(); ++i) {
      if (keyword == "prefixItems" && i < fixed && !Holds(argument[i], value[i])) return false;
      if (keyword == "items" && i >= fixed && !Holds(argument, value[i])) return false;
    }
    return true;
  }

  bool ObjectHolds(const Json& schema, const std::string& keyword, const Json& argument, const Json& value) const {
    if (keyword == "required") {
      return std::all_of(argument.begin(), argument.end(), [&](const Json& name) { return value.contains(name); });
    }
    for (const auto& [name, member] : value.items()) {
      const bool named = schema.contains("properties") && schema["properties"].contains(name);
      if (keyword == "properties" && named && !Holds(argument.at(name), member)) return false;
      if (keyword == "additionalProperties" && !named && !Holds(argument, member)) return false;
    }
    return true;
  }

  const Json& root_;
};

}  // namespace edgellm::constrain
