// What both of OpenAI's completions share, and chat. See openai_writer.h.
#include "api/openai_writer.h"

namespace edgellm::api {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

class ChatStream final : public CompletionsStream {
 public:
  explicit ChatStream(OpenAiShape shape) : CompletionsStream(std::move(shape), "chatcmpl-", "chat.completion.chunk") {}

  void Open(std::string* out) override {
    for (size_t sample = 0; sample < shape_.samples; ++sample) {
      AppendStart(out, static_cast<int>(sample));
      *out += "{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null";
      *out += choice_end_;
    }
  }

  void Piece(size_t, const AnswerPiece& piece, std::string* out) override {
    AppendStart(out, piece.sample);
    *out += '{';
    AppendDelta(out, piece);
    *out += "},\"logprobs\":";
    if (shape_.log_probabilities && !piece.tokens.empty()) {
      *out += "{\"content\":";
      AppendTokens(out, piece.tokens);
      *out += ",\"refusal\":null}";
    } else {
      *out += "null";
    }
    *out += ",\"finish_reason\":null";
    *out += choice_end_;
  }

  void Ended(size_t, const AnswerEnd& end, std::string* out) override {
    usage_.Add(end);
    AppendStart(out, end.sample);
    *out += "{},\"logprobs\":null,\"finish_reason\":\"";
    *out += FinishReasonText(end.reason);
    *out += '"';
    *out += choice_end_;
  }

 private:
  void AppendStart(std::string* out, int sample) const {
    *out += choice_start_;
    AppendInteger(out, sample);
    *out += ",\"delta\":";
  }
};

}  // namespace

void CompletionsStream::Begin(const Opening& opening, std::string* out) {
  usage_.AddPrompts(opening);
  start_ = "data: {\"id\":\"" + std::string(id_) + opening.id + "\",\"object\":\"" + std::string(object_) +
           "\",\"created\":";
  AppendInteger(&start_, opening.created / kSecond);
  start_ += ",\"model\":" + Quoted(shape_.model) + ",\"system_fingerprint\":" + Quoted(kFingerprint);
  choice_start_ = start_ + ",\"choices\":[{\"index\":";
  // The field is there in every chunk as soon as usage was asked for, null until the last.
  choice_end_ = shape_.include_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n";
  Open(out);
}

void CompletionsStream::Finish(std::string* out) {
  if (shape_.include_usage) *out += start_ + ",\"choices\":[],\"usage\":" + Dump(usage_.ToJson()) + "}\n\n";
  *out += "data: [DONE]\n\n";
}

void CompletionsStream::Fail(const Failure& failure, std::string* out) {
  *out += "data: " + ErrorBody(failure, ErrorForm::kOpenAi) + "\n\n";
}

void Usage::AddPrompts(const Opening& opening) {
  for (const ServedModel::Ticket& ticket : opening.tickets) prompt += ticket.prompt.tokens;
}

void Usage::Add(const AnswerEnd& end) {
  generated += end.statistics.generated_tokens;
  if (end.sample == 0) cached += end.statistics.cached_tokens;
}

Json Usage::ToJson() const {
  return {{"prompt_tokens", prompt},
          {"completion_tokens", generated},
          {"total_tokens", prompt + generated},
          {"prompt_tokens_details", {{"cached_tokens", cached}}}};
}

Usage UsageOf(const Opening& opening, const WholeAnswers& answers) {
  Usage usage;
  usage.AddPrompts(opening);
  for (const auto& samples : answers) {
    for (const WholeAnswer& answer : samples) usage.Add(answer.end);
  }
  return usage;
}

std::string_view FinishReasonText(AnswerEnd::Reason reason) {
  switch (reason) {
    case AnswerEnd::Reason::kLength:
    case AnswerEnd::Reason::kContextFull:
      return "length";
    case AnswerEnd::Reason::kToolCalls:
      return "tool_calls";
    case AnswerEnd::Reason::kCancelled:
      return "cancelled";
    default:
      return "stop";
  }
}

Json ToolCallsJson(const std::vector<constrain::ToolCall>& calls) {
  Json list = Json::array();
  for (const constrain::ToolCall& call : calls) {
    list.push_back(
        {{"id", call.id}, {"type", "function"}, {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  }
  return list;
}

void AppendDelta(std::string* out, const AnswerPiece& piece) {
  const char* comma = "";
  if (!piece.thinking.empty()) {
    *out += "\"reasoning_content\":";
    AppendString(out, piece.thinking);
    comma = ",";
  }
  // Tokens whose text is held back still have log-probabilities to tell.
  if (!piece.content.empty() || (!piece.tokens.empty() && piece.thinking.empty() && piece.tool_calls.empty())) {
    *out += comma;
    *out += "\"content\":";
    AppendString(out, piece.content);
    comma = ",";
  }
  if (piece.tool_calls.empty()) return;
  *out += comma;
  *out += "\"tool_calls\":[";
  for (size_t i = 0; i < piece.tool_calls.size(); ++i) {
    const constrain::ToolCall& call = piece.tool_calls[i];
    *out += i == 0 ? "{\"index\":" : ",{\"index\":";
    AppendInteger(out, call.index);
    *out += ",\"id\":";
    AppendString(out, call.id);
    *out += ",\"type\":\"function\",\"function\":{\"name\":";
    AppendString(out, call.name);
    *out += ",\"arguments\":";
    AppendString(out, call.arguments);
    *out += "}}";
  }
  *out += ']';
}

std::unique_ptr<StreamWriter> OpenAiChatStream(OpenAiShape shape) {
  return std::make_unique<ChatStream>(std::move(shape));
}

std::string OpenAiChatBody(const OpenAiShape& shape, const Opening& opening, const WholeAnswers& answers) {
  Json choices = Json::array();
  for (const WholeAnswer& answer : answers[0]) {
    Json message = {{"role", "assistant"}, {"content", answer.content}, {"refusal", nullptr}};
    if (!answer.thinking.empty()) message["reasoning_content"] = answer.thinking;
    if (!answer.tool_calls.empty()) {
      message["tool_calls"] = ToolCallsJson(answer.tool_calls);
      if (answer.content.empty()) message["content"] = nullptr;
    }
    Json log_probabilities = nullptr;
    if (!answer.tokens.empty()) log_probabilities = {{"content", TokensJson(answer.tokens)}, {"refusal", nullptr}};
    choices.push_back({{"index", choices.size()},
                       {"message", std::move(message)},
                       {"logprobs", std::move(log_probabilities)},
                       {"finish_reason", FinishReasonText(answer.end.reason)}});
  }
  return Dump({{"id", "chatcmpl-" + opening.id},
               {"object", "chat.completion"},
               {"created", opening.created / kSecond},
               {"model", shape.model},
               {"choices", std::move(choices)},
               {"usage", UsageOf(opening, answers).ToJson()},
               {"system_fingerprint", kFingerprint}});
}

}  // namespace edgellm::api
