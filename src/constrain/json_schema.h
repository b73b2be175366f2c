// JSON Schema (2020-12, and what draft 7 has other names for) to a grammar whose every text is a JSON document that the
// schema accepts. Fails closed: what is not enforced is refused by its keyword and place; annotations are passed over.
// Not every valid document can be produced: members come in the order of the schema, members it does not name only
// where additionalProperties asks for them, strings and numbers as json_parts.h spells them. docs/structured-output.md
// lists the keywords.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "constrain/grammar.h"
#include "constrain/json_parts.h"

namespace edgellm::constrain {

/// Throws Error with the place as a JSON pointer: kUnsupported (a keyword or a use of one that is not enforced),
/// kInvalidArgument (no schema; nothing satisfies it), kLimit (too large).
Grammar CompileJsonSchema(const nlohmann::ordered_json& schema, const JsonStyle& style = {});

/// The same from text; broken JSON is kInvalidArgument.
Grammar CompileJsonSchemaText(std::string_view schema, const JsonStyle& style = {});

/// Adds a schema to a grammar that is being built; `name` opens error texts and the names of its rules.
ExpressionId AddJsonSchema(const nlohmann::ordered_json& schema, const std::string& name, JsonParts* parts);

/// Parses JSON text that came from outside: kInvalidArgument with `name`, and no deeper than can be walked safely.
nlohmann::ordered_json ParseSchemaText(std::string_view text, std::string_view name);

}  // namespace edgellm::constrain
