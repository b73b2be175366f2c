// What several APIs have in common in their requests: tools, tool calls, sampling, formats, keep-alive times. Each
// throws RequestError that names the field.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/json_input.h"
#include "serve/generate.h"
#include "serve/model_host.h"

namespace edgellm::api {

/// Tools as OpenAI's chat and Ollama have them: null for none, else the list. Checks types, names and their uniqueness.
Json ReadTools(const Fields& fields, std::string_view key);
/// One tool in the form that templates expect. `parameters`: null or a schema.
Json ToolJson(std::string_view name, const std::optional<std::string>& description, const Json* parameters);

/// `tool_calls` of an assistant's message. Arguments are a text (OpenAI) or an object (Ollama), and both are taken.
std::vector<constrain::ToolCall> ReadToolCalls(const Fields& message);

/// `format`, after it was compiled once to see whether it can be: what cannot be enforced is refused with its keyword.
AnswerFormat CheckedFormat(AnswerFormat format, const std::string& field);

/// Ollama's and others' {"temperature", …}, as fields of the request itself: temperature, top_p, top_k, min_p,
/// presence_penalty, frequency_penalty, repetition_penalty, seed, stop, logit_bias, ignore_eos, min_tokens.
void ReadSampling(const Fields& fields, GenerateOptions* options);

/// The least of limits that a request names: absent where it names none.
std::optional<int> ReadMaxTokens(const Fields& fields, std::string_view key, int least = 1);

/// "interactive", "normal", "batch".
Priority ReadPriority(const Fields& fields);

/// Seconds as a number, or a duration like "1h30m", "300ms"; negative: for ever. Absent: absent.
std::optional<KeepAlive> ReadKeepAlive(const Fields& fields, std::string_view key);

/// Content as a text or as a list of {"type": one of `text_types`, "text"}; parts are joined by newlines. null: empty.
std::string ReadContent(const Fields& message, std::string_view key, std::vector<std::string_view> text_types);

ChatMessage MessageOf(std::string role, std::string content = "");

/// Whole numbers that can be token ids.
std::vector<int32_t> ReadTokens(const Json& list, const std::string& field);

}  // namespace edgellm::api
