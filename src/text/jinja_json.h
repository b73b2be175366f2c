// JSON to values (the context of a rendering) and values to JSON (the filter tojson).
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "text/jinja_runtime.h"
#include "text/jinja_value.h"

namespace edgellm::text::jinja {

/// Integers past 64 bits with sign become floats; ill-formed UTF-8 becomes U+FFFD.
Value FromJson(Runtime& runtime, const nlohmann::ordered_json& json);

/// The arguments of Python's json.dumps, as Hugging Face's tojson passes them on.
struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool multi_line = false;
  std::string indent;  // of one level, when multi_line
  std::string item_separator = ", ", key_separator = ": ";
};

/// Throws Error(kInvalidArgument) on values that JSON does not have.
Value ToJson(Runtime& runtime, const Value& value, const JsonStyle& style);

}  // namespace edgellm::text::jinja
