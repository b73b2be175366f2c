// See anthropic_writer.h.
#include "api/anthropic_writer.h"

#include "api/json_text.h"
#include "api/openai_writer.h"

namespace edgellm::api {
namespace {

std::string_view StopReason(const AnswerEnd& end) {
  switch (end.reason) {
    case AnswerEnd::Reason::kLength:
      return "max_tokens";
    case AnswerEnd::Reason::kContextFull:
      return "model_context_window_exceeded";
    case AnswerEnd::Reason::kToolCalls:
      return "tool_use";
    default:
      return end.stop_string.empty() ? "end_turn" : "stop_sequence";
  }
}

Json StopSequence(const AnswerEnd& end) {
  return end.stop_string.empty() ? Json(nullptr) : Json(end.stop_string);
}

/// Of the prompt, what was computed anew: what was found computed is counted beside it.
Json UsageJson(int prompt, int cached, int generated) {
  return {{"input_tokens", prompt - cached},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", cached},
          {"output_tokens", generated}};
}

Json MessageJson(const std::string& model, const Opening& opening, Json content) {
  return {{"id", "msg_" + opening.id},     {"type", "message"},      {"role", "assistant"},      {"model", model},
          {"content", std::move(content)}, {"stop_reason", nullptr}, {"stop_sequence", nullptr}, {"usage", nullptr}};
}

class Stream final : public StreamWriter {
 public:
  explicit Stream(std::string model) : model_(std::move(model)) {}

  std::string_view content_type() const override { return kEventStream; }
  std::string_view keep_alive() const override { return "event: ping\ndata: {\"type\":\"ping\"}\n\n"; }

  void Begin(const Opening& opening, std::string* out) override {
    prompt_ = opening.tickets[0].prompt.tokens;
    Json message = MessageJson(model_, opening, Json::array());
    message["usage"] = UsageJson(prompt_, 0, 0);
    Append(out, "message_start", {{"message", std::move(message)}});
    Append(out, "ping", Json::object());
  }

  void Piece(size_t, const AnswerPiece& piece, std::string* out) override {
    if (!piece.thinking.empty()) {
      Open(Block::kThinking, {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}}, out);
      AppendDelta(out, "thinking_delta\",\"thinking\":", piece.thinking);
    }
    if (!piece.content.empty()) {
      Open(Block::kText, {{"type", "text"}, {"text", ""}}, out);
      AppendDelta(out, "text_delta\",\"text\":", piece.content);
    }
    for (const constrain::ToolCall& call : piece.tool_calls) {
      Close(out);
      Open(Block::kTool, {{"type", "tool_use"}, {"id", call.id}, {"name", call.name}, {"input", Json::object()}}, out);
      AppendDelta(out, "input_json_delta\",\"partial_json\":", call.arguments);
      Close(out);
    }
  }

  void Ended(size_t, const AnswerEnd& end, std::string* out) override {
    Close(out);
    const RequestStatistics& statistics = end.statistics;
    Append(out, "message_delta",
           {{"delta", {{"stop_reason", StopReason(end)}, {"stop_sequence", StopSequence(end)}}},
            {"usage", UsageJson(prompt_, statistics.cached_tokens, statistics.generated_tokens)}});
    Append(out, "message_stop", Json::object());
  }

  void Finish(std::string*) override {}

  void Fail(const Failure& failure, std::string* out) override {
    *out += "event: error\ndata: " + ErrorBody(failure, ErrorForm::kAnthropic) + "\n\n";
  }

 private:
  enum class Block : uint8_t { kNone, kThinking, kText, kTool };

  static void Append(std::string* out, std::string_view type, Json fields) {
    Json event = {{"type", type}};
    event.update(fields);
    *out += "event: ";
    *out += type;
    *out += "\ndata: " + Dump(event) + "\n\n";
  }

  void Open(Block block, Json content, std::string* out) {
    if (block_ == block) return;
    Close(out);
    block_ = block;
    Append(out, "content_block_start", {{"index", index_}, {"content_block", std::move(content)}});
    delta_ = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":" + std::to_string(index_) +
             ",\"delta\":{\"type\":\"";
  }

  /// `kind`: from the delta's type to the colon before its text.
  void AppendDelta(std::string* out, std::string_view kind, std::string_view text) const {
    *out += delta_;
    *out += kind;
    AppendString(out, text);
    *out += "}}\n\n";
  }

  void Close(std::string* out) {
    if (block_ == Block::kNone) return;
    // Nobody signs thoughts here, but clients wait for it.
    if (block_ == Block::kThinking) AppendDelta(out, "signature_delta\",\"signature\":", "");
    Append(out, "content_block_stop", {{"index", index_++}});
    block_ = Block::kNone;
  }

  std::string model_, delta_;
  int prompt_ = 0, index_ = 0;
  Block block_ = Block::kNone;
};

}  // namespace

std::unique_ptr<StreamWriter> AnthropicStream(std::string model) {
  return std::make_unique<Stream>(std::move(model));
}

std::string AnthropicBody(const std::string& model, const Opening& opening, const WholeAnswer& answer) {
  Json content = Json::array();
  if (!answer.thinking.empty()) {
    content.push_back({{"type", "thinking"}, {"thinking", answer.thinking}, {"signature", ""}});
  }
  if (!answer.content.empty()) content.push_back({{"type", "text"}, {"text", answer.content}});
  for (const constrain::ToolCall& call : answer.tool_calls) {
    content.push_back(
        {{"type", "tool_use"}, {"id", call.id}, {"name", call.name}, {"input", Json::parse(call.arguments)}});
  }
  Json message = MessageJson(model, opening, std::move(content));
  message["stop_reason"] = StopReason(answer.end);
  message["stop_sequence"] = StopSequence(answer.end);
  const RequestStatistics& statistics = answer.end.statistics;
  message["usage"] = UsageJson(opening.tickets[0].prompt.tokens, statistics.cached_tokens, statistics.generated_tokens);
  return Dump(message);
}

}  // namespace edgellm::api
