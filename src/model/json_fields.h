// JSON from files, read with suspicion: parsing within limits, and typed access to an object's fields whose errors name
// the file and the field. Knows no schema.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/error.h"
#include "base/one_line.h"

namespace edgellm {

struct JsonLimits {
  size_t max_values = 200'000;  // numbers, strings, objects … in the whole text
  int max_depth = 16;
  bool unique_keys = false;  // an object that has a key twice is an error (otherwise which one counts is unspecified)
};

/// Json is nlohmann::json or nlohmann::ordered_json. Throws Error(kCorrupt) with one line.
/// An ordered_json object finds its keys by linear search: use json where a hostile text may hold many in one object.
template <typename Json>
Json ParseJson(std::string_view text, std::string_view name, const JsonLimits& limits = {});

/// An object's fields. Refers to the object; `name` (usually the path) opens every error text.
class JsonFields {
 public:
  /// Throws Error(kCorrupt) unless `object` is one. `path` is where it stands in the file: "" or "rope_scaling".
  JsonFields(const nlohmann::ordered_json& object, std::string_view name, std::string_view path = "");

  /// Present and not null.
  bool Has(std::string_view key) const;

  // A field that is absent or null gives `fallback`, or where there is none an Error(kCorrupt); one of another type, or
  // out of its range, an Error(kCorrupt).
  int64_t Integer(std::string_view key, int64_t least, int64_t most, std::optional<int64_t> fallback = {}) const;
  double Number(std::string_view key, double least, double most, std::optional<double> fallback = {}) const;
  bool Boolean(std::string_view key, std::optional<bool> fallback = {}) const;
  std::string Text(std::string_view key, std::optional<std::string> fallback = {}) const;
  /// A field that must be there.
  JsonFields Object(std::string_view key) const;
  const nlohmann::ordered_json& Value(std::string_view key) const;
  /// Whole numbers of `int32_t` range, given as one number or as a list; absent: empty.
  std::vector<int32_t> Integers(std::string_view key) const;
  /// Strings, given as one or as a list; absent: empty.
  std::vector<std::string> Texts(std::string_view key) const;

  std::vector<std::string> Keys() const;
  const std::string& name() const { return name_; }
  /// "rope_scaling.factor": for error texts.
  std::string Path(std::string_view key) const;

 private:
  const nlohmann::ordered_json* Find(std::string_view key) const;
  [[noreturn]] void FailType(std::string_view key, std::string_view expected) const;

  const nlohmann::ordered_json* object_;
  std::string name_, path_;
};

}  // namespace edgellm
