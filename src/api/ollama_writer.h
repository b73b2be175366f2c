// What Ollama's /api/generate and /api/chat answer: lines of JSON, or one object.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "api/answering.h"
#include "api/ollama_request.h"

namespace edgellm::api {

/// RFC 3339 in UTC with nanoseconds: "2026-03-01T12:00:00.000000001Z".
std::string TimeText(int64_t unix_nanoseconds);

std::unique_ptr<StreamWriter> OllamaStream(const OllamaAsk& ask, Clock clock);
std::string OllamaBody(const std::string& model, bool chat, bool keep_context, const Clock& clock,
                       const Opening& opening, const WholeAnswer& answer);
/// What says that a model was loaded or unloaded: `reason` is "load" or "unload".
std::string OllamaLoaded(const OllamaAsk& ask, const Clock& clock, std::string_view reason);

}  // namespace edgellm::api
