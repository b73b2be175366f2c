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
/// A line that readers of events pass over (WHATWG HTML, 9.2.6).
inline constexpr std::string_view kEventComment = ": keep-alive\n\n";
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

/// What streams of chats and of texts have in common: what opens and closes each chunk, usage, the end.
class CompletionsStream : public StreamWriter {
 public:
  /// `id`: what stands before the answer's; `object`: of each chunk.
  CompletionsStream(OpenAiShape shape, std::string_view id, std::string_view object)
      : shape_(std::move(shape)), id_(id), object_(object) {}

  std::string_view content_type() const override { return kEventStream; }
  std::string_view keep_alive() const override { return kEventComment; }
  void Begin(const Opening& opening, std::string* out) override;
  void Finish(std::string* out) override;
  void Fail(const Failure& failure, std::string* out) override;

 protected:
  /// Called by Begin when all that is below is there.
  virtual void Open(std::string* out) = 0;

  const OpenAiShape shape_;
  std::string choice_start_, choice_end_;  // of a chunk with one choice, about its index and all that follows
  Usage usage_;

 private:
  const std::string_view id_, object_;
  std::string start_;
};

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
