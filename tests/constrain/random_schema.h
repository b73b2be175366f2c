// Random JSON schemas out of what the compiler supports, and random documents that conform to them.
#pragma once

#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace edgellm::constrain {

class RandomSchemas {
 public:
  using Json = nlohmann::ordered_json;

  explicit RandomSchemas(std::mt19937& random) : random_(random) {}

  /// A schema with definitions, of which some refer to one another.
  Json Root() {
    Json defs = Json::object();
    names_ = {};
    for (int i = 0; i < Below(3); ++i) names_.push_back("def" + std::to_string(i));
    for (const auto& name : names_) defs[name] = Schema(2);
    Json root = Schema(3);
    root["$defs"] = defs;
    return root;
  }

  /// A document that conforms; members in the order of the schema, as the compiler has them.
  Json Document(const Json& root, const Json& schema, int depth = 0) {
    if (schema.is_boolean()) return AnyValue(depth);
    if (schema.contains("$ref")) {
      return Document(root, root.at(nlohmann::ordered_json::json_pointer(schema["$ref"].get<std::string>().substr(1))),
                      depth);
    }
    for (const char* keyword : {"anyOf", "oneOf"}) {
      if (schema.contains(keyword)) return Document(root, Pick(schema[keyword]), depth);
    }
    if (schema.contains("allOf")) return Document(root, schema["allOf"][0], depth);
    if (schema.contains("enum")) return Pick(schema["enum"]);
    if (schema.contains("const")) return schema["const"];
    if (!schema.contains("type")) return AnyValue(depth);
    const std::string type =
        schema["type"].is_array() ? Pick(schema["type"]).get<std::string>() : schema["type"].get<std::string>();
    if (type == "object") return ObjectDocument(root, schema, depth);
    if (type == "array") return ArrayDocument(root, schema, depth);
    if (type == "string") return StringDocument(schema);
    if (type == "integer") return Between(schema.value("minimum", -1000), schema.value("maximum", 1000));
    if (type == "number") return Json(Below(2000) / 8.0 - 100);
    if (type == "boolean") return Json(Below(2) == 0);
    return nullptr;
  }

 private:
  int Below(int bound) { return static_cast<int>(random_() % static_cast<unsigned>(bound)); }
  int Between(int low, int high) { return low + Below(high - low + 1); }
  const Json& Pick(const Json& list) { return list[random_() % list.size()]; }

  Json Schema(int depth) {
    switch (depth <= 0 ? Below(6) : Below(11)) {
      case 0: {
        Json schema = {{"type", "string"}};
        if (Below(3) == 0) schema["minLength"] = Below(3);
        if (Below(3) == 0) schema["maxLength"] = 3 + Below(5);
        return schema;
      }
      case 1: {
        const int low = Below(300) - 150;
        return {{"type", "integer"}, {"minimum", low}, {"maximum", low + Below(2000)}};
      }
      case 2:
        return {{"type", Below(2) == 0 ? "number" : "boolean"}};
      case 3:
        return {{"enum", {"red", 7, nullptr, "gr\u00fcn", 2.5, Json::array({1, "x"}), {{"k", true}}}}};
      case 4:
        return {{"type", "string"}, {"pattern", "^[a-c]{1,3}(-[0-9]+)?$"}};
      case 5:
        return Below(2) == 0 ? Json{{"type", "string"}, {"format", "date"}} : Json{{"type", {"integer", "null"}}};
      case 6:
      case 7:
        return ObjectSchema(depth);
      case 8:
        return ArraySchema(depth);
      case 9:
        if (Below(2) == 0) return {{"oneOf", {{{"type", "integer"}}, ObjectSchema(depth - 1), {{"type", "null"}}}}};
        return {{"anyOf", {Schema(depth - 1), Schema(depth - 1)}}};
      default:
        if (!names_.empty() && Below(2) == 0) {
          // Beside a way out, so that a document can end.
          return {{"anyOf",
                   {{{"type", "null"}},
                    {{"type", "array"}, {"items", {{"$ref", "#/$defs/" + names_[random_() % names_.size()]}}}}}}};
        }
        return {{"allOf", {ObjectSchema(depth - 1)}}};
    }
  }

  Json ObjectSchema(int depth) {
    static const std::vector<std::string> kNames = {"a", "ab", "b", "\u00e9\u4e2d", "with \"quotes\"", "line\nend", ""};
    Json schema = {{"type", "object"}, {"properties", Json::object()}, {"required", Json::array()}};
    for (const auto& name : kNames) {
      if (Below(3) != 0) continue;
      schema["properties"][name] = Schema(depth - 1);
      if (Below(2) == 0) schema["required"].push_back(name);
    }
    if (Below(3) == 0) schema["additionalProperties"] = Below(2) == 0 ? Json(false) : Json{{"type", "integer"}};
    return schema;
  }

  Json ArraySchema(int depth) {
    Json schema = {{"type", "array"}, {"items", Schema(depth - 1)}};
    if (Below(3) == 0) schema["minItems"] = Below(3);
    if (Below(3) == 0) schema["maxItems"] = 2 + Below(3);
    if (Below(3) == 0) schema["prefixItems"] = {Schema(depth - 1), Schema(depth - 1)};
    return schema;
  }

  Json AnyValue(int depth) {
    switch (Below(depth > 3 ? 3 : 5)) {
      case 0:
        return nullptr;
      case 1:
        return Below(100);
      case 2:
        return "any";
      case 3:
        return Json::array({AnyValue(depth + 1)});
      default:
        return {{"any", AnyValue(depth + 1)}};
    }
  }

  Json StringDocument(const Json& schema) {
    if (schema.contains("format")) return Below(2) == 0 ? "2024-02-29" : "1999-12-31";
    if (schema.contains("pattern")) return Below(2) == 0 ? "abc-17" : "b";
    static const std::vector<std::string> kLetters = {"a",  "Z",  " ",  "\u00e9", "\u4e2d", "\U0001F600",
                                                      "\"", "\\", "\n", "\x01",   "/"};
    std::string text;
    for (int i = Between(schema.value("minLength", 0), schema.value("maxLength", 6)); i > 0; --i)
      text += kLetters[random_() % kLetters.size()];
    return text;
  }

  Json ObjectDocument(const Json& root, const Json& schema, int depth) {
    Json document = Json::object();
    const Json& required = schema["required"];
    for (const auto& [name, value] : schema["properties"].items()) {
      const bool wanted = std::find(required.begin(), required.end(), name) != required.end();
      if (wanted || Below(2) == 0) document[name] = Document(root, value, depth + 1);
    }
    const auto additional = schema.find("additionalProperties");
    if (additional != schema.end() && additional->is_object()) {
      for (const char* name : {"other", "abc", "\u00e9"}) {
        if (Below(2) == 0) document[name] = Document(root, *additional, depth + 1);
      }
    }
    return document;
  }

  Json ArrayDocument(const Json& root, const Json& schema, int depth) {
    Json document = Json::array();
    const int least = schema.value("minItems", 0), most = schema.value("maxItems", depth > 4 ? least : 4);
    const int count = depth > 4 ? least : Between(least, std::max(least, most));
    for (int i = 0; i < count; ++i) {
      const bool fixed = schema.contains("prefixItems") && i < 2;
      document.push_back(
          Document(root, fixed ? schema["prefixItems"][static_cast<size_t>(i)] : schema["items"], depth + 1));
    }
    return document;
  }

  std::mt19937& random_;
  std::vector<std::string> names_;
};

}  // namespace edgellm::constrain
