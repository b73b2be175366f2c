// JSON from requests, read with suspicion: parsing within limits that keep every later step cheap, and typed access to
// fields, whose errors name the field as OpenAI's `param` does ("messages[2].content"). Knows no API.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "api/json_text.h"
#include "base/error.h"

namespace edgellm::api {

/// What a request did wrong, and in which field (empty: as a whole).
class RequestError : public Error {
 public:
  RequestError(ErrorCode code, std::string field, const std::string& message)
      : Error(code, message), field_(std::move(field)) {}
  const std::string& field() const { return field_; }

 private:
  std::string field_;
};

/// Throws RequestError(kInvalidArgument).
[[noreturn]] void Refuse(const std::string& field, const std::string& message);
[[noreturn]] void RefuseUnsupported(const std::string& field, const std::string& message);

/// The object that a request's body is. Throws RequestError(kInvalidArgument): empty, no JSON, ill-formed UTF-8, no
/// object, a key that comes twice, nesting deeper than 100, more than 2 million values, or objects so large that
/// finding keys in them would take long (some thousand keys).
Json ParseBody(std::string_view text);

/// The fields of an object, which it refers to. A field that is null counts as absent. Numbers that are whole count as
/// integers. Everything throws RequestError(kInvalidArgument) that names the field.
class Fields {
 public:
  /// `path`: where the object stands, "" or "stream_options".
  Fields(const Json& object, std::string path);

  bool Has(std::string_view key) const { return Find(key) != nullptr; }
  const Json* Find(std::string_view key) const;
  std::string Path(std::string_view key) const;

  std::optional<std::string> Text(std::string_view key) const;
  std::optional<bool> Boolean(std::string_view key) const;
  std::optional<int64_t> Integer(std::string_view key, int64_t least, int64_t most) const;
  std::optional<double> Number(std::string_view key, double least, double most) const;
  const Json* Array(std::string_view key) const;
  std::optional<Fields> Object(std::string_view key) const;
  /// A string or a list of them; absent: empty. None of them empty.
  std::vector<std::string> Texts(std::string_view key, size_t most) const;

  std::string NeedText(std::string_view key) const;
  /// As NeedText, and not empty.
  std::string NeedName(std::string_view key) const;
  const Json& NeedArray(std::string_view key) const;
  Fields NeedObject(std::string_view key) const;

  const Json& object() const { return *object_; }
  const std::string& path() const { return path_; }

 private:
  [[noreturn]] void FailType(std::string_view key, std::string_view expected) const;
  [[noreturn]] void FailMissing(std::string_view key) const;

  const Json* object_;
  std::string path_;
};

/// "messages[2]"
std::string ItemPath(std::string_view list, size_t index);

/// A text of JSON that must be an object ("" counts as {}), written anew. For arguments of function calls.
std::string ObjectText(const std::string& text, const std::string& field);

}  // namespace edgellm::api
