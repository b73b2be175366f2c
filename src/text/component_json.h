// Reading the component objects of tokenizer.json (normalizers, pre-tokenizers, decoders): each has a "type" and
// members of known types; "Sequence" components nest. Every mistake is an Error that names the file and the member.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace edgellm::text {

/// Components may nest this deep and number this many: more than any real file, little enough for a hostile one.
inline constexpr int kMaxComponentDepth = 16;
inline constexpr int kMaxComponents = 64;

inline std::string StringMember(const nlohmann::json& object, const char* key, std::string_view name) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) Fail(ErrorCode::kCorrupt, "{}: \"{}\" is not a string", name, key);
  return found->get<std::string>();
}

inline bool BoolMember(const nlohmann::json& object, const char* key, bool fallback, std::string_view name) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return fallback;
  if (!found->is_boolean()) Fail(ErrorCode::kCorrupt, "{}: \"{}\" is neither true nor false", name, key);
  return found->get<bool>();
}

/// Calls `visit` for each leaf of a component in order; null has none. `list_key` is the member under which a Sequence
/// of this kind keeps its parts.
inline void ForEachComponent(const nlohmann::json& component, const char* list_key, std::string_view name,
                             const std::function<void(const std::string& type, const nlohmann::json&)>& visit) {
  int count = 0;
  const std::function<void(const nlohmann::json&, int)> walk = [&](const nlohmann::json& node, int depth) {
    if (node.is_null()) return;
    if (!node.is_object()) Fail(ErrorCode::kCorrupt, "{}: a component is not an object", name);
    if (depth > kMaxComponentDepth || ++count > kMaxComponents) {
      Fail(ErrorCode::kLimit, "{}: too many components under \"{}\"", name, list_key);
    }
    const std::string type = StringMember(node, "type", name);
    if (type != "Sequence") return visit(type, node);
    const auto parts = node.find(list_key);
    if (parts == node.end() || !parts->is_array())
      Fail(ErrorCode::kCorrupt, "{}: no \"{}\" in a Sequence", name, list_key);
    for (const auto& part : *parts) walk(part, depth + 1);
  };
  walk(component, 0);
}

}  // namespace edgellm::text
