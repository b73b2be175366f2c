// The keywords of JSON schemas that are understood, and the type that each speaks of; how a place in a schema is named.
// Compiles nothing.
#pragma once

#include <string>
#include <string_view>

namespace edgellm::constrain {

/// The type (a bit of SchemaType) that a keyword speaks of; 0 for those that speak of none.
unsigned TypeOfKeyword(std::string_view keyword);

/// True for what restricts and is understood; annotations are IsAnnotation's (schema_document.h).
bool IsKeyword(std::string_view keyword);

/// A member's place below `path`: RFC 6901.
std::string Pointer(const std::string& path, std::string_view part);

}  // namespace edgellm::constrain
