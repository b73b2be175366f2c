// What OpenAI's chat and text completions answer: server-sent events, or one object.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/answering.h"
#include "api/json_text.h"
#include "api/openai_request.h"

namespace edgellm::api {

inline constexpr std::string_view kEventStream = "text/event-stream; charset=utf-8";
/// What computed an answer, as OpenAI's `system_fingerprint` has it.
inline constexpr std::string_view kFingerprint = "fp_edgellm_" EDGELLM_VERSION;

/// Tokens of one ask, counted once for each prompt and once for each answer.
struct Usage {
  int prompt = 0, cached = 0, generated = 0;

  void AddPrompts(const Opening& opening);
  void Add(const AnswerEnd& end);
  Json ToJson() const;  // {"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"}
};
Usage UsageOf(const Opening& opening, const WholeAnswers& answers);

/// "stop", "length", "tool_calls" or "cancelled".
std::string_view FinishReasonText(AnswerEnd::Reason reason);
/// [{"id", "type", "function": {"name", "arguments": "text"}}]
Json ToolCallsJson(const std::vector<constrain::ToolCall>& calls);
/// The members of a `delta`, or nothing: reasoning_content, content, tool_calls with their indices.
void AppendDelta(std::string* out, const AnswerPiece& piece);

std::unique_ptr<StreamWriter> OpenAiChatStream(OpenAiShape shape);
std::string OpenAiChatBody(const OpenAiShape& shape, const Opening& opening, const WholeAnswers& answers);

/// What `echo` needs to know of the prompts; filled when the model is known.
struct PromptEcho {
  std::vector<std::string> texts;
  std::vector<std::string> first_tokens;  // with log-probabilities alone
};

std::unique_ptr<StreamWriter> OpenAiCompletionStream(OpenAiShape shape, std::shared_ptr<const PromptEcho> echo);
std::string OpenAiCompletionBody(const OpenAiShape& shape, const PromptEcho& echo, const Opening& opening,
                                 const WholeAnswers& answers);

}  // namespace edgellm::api
