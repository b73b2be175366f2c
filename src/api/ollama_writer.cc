// See ollama_writer.h.
#include "api/ollama_writer.h"

#include <ctime>

#include "api/json_text.h"

namespace edgellm::api {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

/// Times of one stream: the date is written anew only when the second changes.
class TimeWriter {
 public:
  void Append(std::string* out, int64_t nanoseconds) {
    const int64_t second = nanoseconds / kSecond;
    if (second != second_ || text_.empty()) {
      second_ = second;
      const std::time_t time = second;
      std::tm parts{};
      gmtime_r(&time, &parts);
      char text[32];
      text_.assign(text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S.", &parts));
    }
    *out += text_;
    const std::string fraction = std::to_string(nanoseconds % kSecond);
    out->append(9 - fraction.size(), '0');
    *out += fraction;
    *out += 'Z';
  }

 private:
  int64_t second_ = 0;
  std::string text_;
};

std::string_view ReasonText(AnswerEnd::Reason reason) {
  switch (reason) {
    case AnswerEnd::Reason::kLength:
    case AnswerEnd::Reason::kContextFull:
      return "length";
    case AnswerEnd::Reason::kCancelled:
      return "cancelled";
    default:
      return "stop";
  }
}

void AppendToolCalls(std::string* out, const std::vector<constrain::ToolCall>& calls) {
  *out += ",\"tool_calls\":[";
  for (size_t i = 0; i < calls.size(); ++i) {
    if (i > 0) *out += ',';
    *out += "{\"id\":";
    AppendString(out, calls[i].id);
    *out += ",\"function\":{\"index\":";
    AppendInteger(out, calls[i].index);
    *out += ",\"name\":";
    AppendString(out, calls[i].name);
    *out += ",\"arguments\":";
    *out += calls[i].arguments;  // the text of an object
    *out += "}}";
  }
  *out += ']';
}

/// The part of an object that holds what the model said.
struct Said {
  std::string_view content, thinking;
  const std::vector<constrain::ToolCall>& tool_calls;
};

void AppendSaid(std::string* out, bool chat, const Said& said) {
  if (chat) *out += ",\"message\":{\"role\":\"assistant\"";
  *out += chat ? ",\"content\":" : ",\"response\":";
  AppendString(out, said.content);
  if (!said.thinking.empty()) {
    *out += ",\"thinking\":";
    AppendString(out, said.thinking);
  }
  if (!said.tool_calls.empty()) AppendToolCalls(out, said.tool_calls);
  if (chat) *out += '}';
}

void AppendCount(std::string* out, std::string_view name, int64_t value) {
  if (value <= 0) return;  // as Ollama: what is zero is left out
  *out += ",\"";
  *out += name;
  *out += "\":";
  AppendInteger(out, value);
}

int64_t Between(int64_t from, int64_t to) {
  return from > 0 && to > from ? to - from : 0;
}

void AppendTokenIds(std::string* out, const std::vector<int32_t>& tokens, bool* first) {
  for (const int32_t token : tokens) {
    if (!*first) *out += ',';
    *first = false;
    AppendInteger(out, token);
  }
}

/// From `done_reason` to the last of the counters.
void AppendEnd(std::string* out, const Opening& opening, const AnswerEnd& end, bool keep_context, int64_t now) {
  *out += ",\"done\":true,\"done_reason\":\"";
  *out += ReasonText(end.reason);
  *out += '"';
  if (keep_context && !opening.prompt_tokens.empty()) {
    *out += ",\"context\":[";
    bool first = true;
    AppendTokenIds(out, opening.prompt_tokens[0], &first);
    AppendTokenIds(out, end.tokens, &first);
    *out += ']';
  }
  const RequestStatistics& s = end.statistics;
  AppendCount(out, "total_duration", Between(opening.received, now));
  AppendCount(out, "load_duration", opening.load_time);
  AppendCount(out, "prompt_eval_count", s.prompt_tokens);
  AppendCount(out, "prompt_eval_duration", Between(s.first_scheduled, s.first_token));
  AppendCount(out, "eval_count", s.generated_tokens);
  AppendCount(out, "eval_duration", Between(s.first_token, s.last_token));
  const PromptFacts& prompt = opening.tickets[0].prompt;
  AppendCount(out, "prompt_cached_count", s.cached_tokens);
  AppendCount(out, "prompt_dropped_messages", prompt.dropped_messages);
  AppendCount(out, "prompt_dropped_tokens", prompt.dropped_tokens);
}

std::string Start(const std::string& model) {
  return "{\"model\":" + Quoted(model) + ",\"created_at\":\"";
}

class Stream final : public StreamWriter {
 public:
  Stream(const OllamaAsk& ask, Clock clock)
      : chat_(ask.chat), keep_context_(ask.keep_context), start_(Start(ask.load.model)), clock_(std::move(clock)) {}

  std::string_view content_type() const override { return "application/x-ndjson"; }
  void Begin(const Opening& opening, std::string*) override { opening_ = opening; }
  void Piece(size_t, const AnswerPiece& piece, std::string* out) override {
    AppendStart(out, {piece.content, piece.thinking, piece.tool_calls});
    *out += ",\"done\":false";
    if (!piece.tokens.empty()) {
      *out += ",\"logprobs\":";
      AppendTokens(out, piece.tokens);
    }
    *out += "}\n";
  }
  void Ended(size_t, const AnswerEnd& end, std::string* out) override {
    AppendStart(out, {"", "", {}});
    AppendEnd(out, opening_, end, keep_context_, clock_.steady());
    *out += "}\n";
  }
  void Finish(std::string*) override {}
  void Fail(const Failure& failure, std::string* out) override {
    *out += ErrorBody(failure, ErrorForm::kOllama);
    *out += '\n';
  }

 private:
  void AppendStart(std::string* out, const Said& said) {
    *out += start_;
    times_.Append(out, clock_.wall());
    *out += '"';
    AppendSaid(out, chat_, said);
  }

  bool chat_, keep_context_;
  std::string start_;
  Clock clock_;
  TimeWriter times_;
  Opening opening_;
};

}  // namespace

std::string TimeText(int64_t unix_nanoseconds) {
  std::string text;
  TimeWriter().Append(&text, unix_nanoseconds);
  return text;
}

std::unique_ptr<StreamWriter> OllamaStream(const OllamaAsk& ask, Clock clock) {
  return std::make_unique<Stream>(ask, std::move(clock));
}

std::string OllamaBody(const std::string& model, bool chat, bool keep_context, const Clock& clock,
                       const Opening& opening, const WholeAnswer& answer) {
  std::string body = Start(model) + TimeText(clock.wall()) + '"';
  AppendSaid(&body, chat, {answer.content, answer.thinking, answer.tool_calls});
  AppendEnd(&body, opening, answer.end, keep_context, clock.steady());
  if (!answer.tokens.empty()) {
    body += ",\"logprobs\":";
    AppendTokens(&body, answer.tokens);
  }
  return body + '}';
}

std::string OllamaLoaded(const OllamaAsk& ask, const Clock& clock, std::string_view reason) {
  std::string body = Start(ask.load.model) + TimeText(clock.wall()) + '"';
  AppendSaid(&body, ask.chat, {"", "", {}});
  body += ",\"done\":true,\"done_reason\":" + Quoted(reason) + '}';
  return body;
}

}  // namespace edgellm::api
