// A JSON schema as a document: its keywords, references into it, two schemas that both hold made one, and whether two
// can hold together. It compiles nothing (json_schema.h does).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace edgellm::constrain {

using Json = nlohmann::ordered_json;

/// The seven types' names, as bits.
enum SchemaType : unsigned {
  kNull = 1,
  kBoolean = 2,
  kInteger = 4,   // numbers without a fraction
  kFraction = 8,  // all other numbers; "number" is both
  kString = 16,
  kArray = 32,
  kObject = 64,
  kAllTypes = 127,
};

/// By "type"'s name; 0 for none of the names.
unsigned TypeNamed(std::string_view name);
unsigned TypeOf(const Json& value);

/// Says something to people or tools and restricts nothing.
bool IsAnnotation(std::string_view keyword);

class SchemaDocument {
 public:
  /// `name` opens error texts. Throws Error(kLimit) for what is too large or deep.
  SchemaDocument(const Json& root, std::string name);

  const Json& root() const { return root_; }

  [[noreturn]] void Invalid(const std::string& path, const std::string& cause) const;
  [[noreturn]] void Unsupported(const std::string& path, const std::string& cause) const;

  /// What `$ref` names, as a path from the root ("" for "#"); throws where it is not a place in this document.
  std::string TargetOf(const Json& reference, const std::string& path) const;
  const Json& At(const std::string& target) const;

  /// One schema that holds where both hold. Throws kUnsupported where that cannot be said.
  Json Merge(const Json& a, const Json& b, const std::string& path, int depth = 0) const;

  /// True when no document satisfies both. False when that is not certain.
  bool Disjoint(const Json& a, const Json& b, int depth = 0) const;

  /// Of what a schema's "type", "const", "enum" and references allow.
  unsigned Types(const Json& schema, int depth = 0) const;

 private:
  const Json& Resolved(const Json& schema) const;
  Json MergeValue(const std::string& keyword, const Json& a, const Json& b, const std::string& path, int depth) const;
  bool DisjointObjects(const Json& a, const Json& b, int depth) const;
  std::optional<std::vector<Json>> Values(const Json& schema) const;

  const Json& root_;
  std::string name_;
};

}  // namespace edgellm::constrain
