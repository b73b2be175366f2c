// Requests and events as lines of JSON (docs/json-lines.md): a program that starts this one talks to it over pipes,
// without a port. What a line asks for, and how pieces and ends are written; the session is json_lines_session.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "serve/embedding.h"
#include "serve/generate.h"

namespace edgellm {

/// What a line asks for. `id`: a string or a whole number, as the client wrote it.
struct JsonLineRequest {
  nlohmann::ordered_json id;
  struct Cancel {};
  std::variant<GenerateRequest, EmbedRequest, Cancel> work;
  bool stream = true;
  std::vector<std::string> warnings = {};  // of its options
};

/// The id of a line, as far as it can be told, for errors that answer it: null otherwise.
nlohmann::ordered_json JsonLineId(std::string_view line);

/// Throws Error(kInvalidArgument) that names the field.
JsonLineRequest ParseJsonLine(std::string_view line);

/// Each is one line without its newline; any bytes are allowed in texts.
std::string StartLine(const nlohmann::ordered_json& id, const PromptFacts& prompt,
                      const std::vector<std::string>& warnings);
std::string PieceLine(const nlohmann::ordered_json& id, const AnswerPiece& piece);
/// `whole`: what has come altogether, where the client does not want pieces.
std::string EndLine(const nlohmann::ordered_json& id, const AnswerEnd& end, const AnswerPiece* whole);
std::string EmbeddingsLine(const nlohmann::ordered_json& id, const Embeddings& embeddings);
std::string ErrorLine(const nlohmann::ordered_json& id, ErrorCode code, std::string_view message);

}  // namespace edgellm
