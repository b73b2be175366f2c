// Writing JSON without a document: what a stream says for each token is fixed texts and an escaped string between them,
// and costs little more than copying. Whole answers, which are made once, are documents (Dump).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "serve/generate.h"

namespace edgellm::api {

using Json = nlohmann::ordered_json;

/// Appends a JSON string with its quotes. Ill-formed UTF-8 becomes U+FFFD.
void AppendString(std::string* out, std::string_view text);
void AppendInteger(std::string* out, int64_t value);
/// The shortest text that reads back as the same float. Infinite values, which JSON lacks, become -9999 and 9999, as
/// OpenAI's API spells "impossible"; NaN becomes 0.
void AppendNumber(std::string* out, float value);

/// The text of a document; ill-formed UTF-8 becomes U+FFFD.
std::string Dump(const Json& json);
std::string Quoted(std::string_view text);

/// The list of {"token", "logprob", "bytes", "top_logprobs"} that OpenAI's chat and Ollama share.
void AppendTokens(std::string* out, std::span<const TokenFacts> tokens);
Json TokensJson(std::span<const TokenFacts> tokens);

}  // namespace edgellm::api
