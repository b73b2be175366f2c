// See responses_writer.h.
#include "api/responses_writer.h"

#include "api/openai_writer.h"

namespace edgellm::api {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

std::string ItemId(std::string_view kind, const Opening& opening, size_t index) {
  return fmt::format("{}_{}_{}", kind, opening.id, index);
}

Json ReasoningItem(const std::string& id, const std::string& text, const char* status) {
  Json content = Json::array();
  if (!text.empty()) content.push_back({{"type", "reasoning_text"}, {"text", text}});
  return {{"id", id}, {"type", "reasoning"}, {"status", status}, {"summary", Json::array()}, {"content", content}};
}

Json TextPart(const std::string& text, Json log_probabilities) {
  return {{"type", "output_text"},
          {"text", text},
          {"annotations", Json::array()},
          {"logprobs", std::move(log_probabilities)}};
}

Json MessageItem(const std::string& id, Json content, const char* status) {
  return {{"id", id}, {"type", "message"}, {"status", status}, {"role", "assistant"}, {"content", std::move(content)}};
}

Json CallItem(const std::string& id, const constrain::ToolCall& call, const std::string& arguments,
              const char* status) {
  return {{"id", id},           {"type", "function_call"}, {"status", status},
          {"call_id", call.id}, {"name", call.name},       {"arguments", arguments}};
}

Json ResponseJson(const ResponsesShape& shape, const Opening& opening, const char* status, Json output) {
  Json response = {{"id", "resp_" + opening.id},
                   {"object", "response"},
                   {"created_at", opening.created / kSecond},
                   {"status", status},
                   {"error", nullptr},
                   {"incomplete_details", nullptr},
                   {"model", shape.model},
                   {"output", std::move(output)},
                   {"usage", nullptr}};
  response.update(shape.echo);
  return response;
}

bool IsCut(const AnswerEnd& end) {
  return end.reason == AnswerEnd::Reason::kLength || end.reason == AnswerEnd::Reason::kContextFull;
}

void SetEnd(Json* response, const Opening& opening, const AnswerEnd& end) {
  if (IsCut(end)) (*response)["incomplete_details"] = {{"reason", "max_output_tokens"}};
  Usage usage;
  usage.AddPrompts(opening);
  usage.Add(end);
  (*response)["usage"] = {{"input_tokens", usage.prompt},
                          {"input_tokens_details", {{"cached_tokens", usage.cached}}},
                          {"output_tokens", usage.generated},
                          {"output_tokens_details", {{"reasoning_tokens", 0}}},
                          {"total_tokens", usage.prompt + usage.generated}};
}

class Stream final : public StreamWriter {
 public:
  explicit Stream(ResponsesShape shape) : shape_(std::move(shape)) {}

  std::string_view content_type() const override { return kEventStream; }
  std::string_view keep_alive() const override { return kEventComment; }

  void Begin(const Opening& opening, std::string* out) override {
    opening_ = opening;
    const Json response = ResponseJson(shape_, opening_, "in_progress", Json::array());
    Append(out, "response.created", {{"response", response}});
    Append(out, "response.in_progress", {{"response", response}});
  }

  void Piece(size_t, const AnswerPiece& piece, std::string* out) override {
    if (!piece.thinking.empty()) {
      Open(Part::kReasoning, out);
      text_ += piece.thinking;
      AppendTextDelta(out, piece.thinking, {});
    }
    if (!piece.content.empty() || (!piece.tokens.empty() && piece.thinking.empty() && piece.tool_calls.empty())) {
      Open(Part::kMessage, out);
      text_ += piece.content;
      tokens_.insert(tokens_.end(), piece.tokens.begin(), piece.tokens.end());
      AppendTextDelta(out, piece.content, piece.tokens);
    }
    for (const constrain::ToolCall& call : piece.tool_calls) AppendCall(out, call);
  }

  void Ended(size_t, const AnswerEnd& end, std::string* out) override {
    if (output_.empty() && part_ == Part::kNone) Open(Part::kMessage, out);
    Close(IsCut(end) ? "incomplete" : "completed", out);
    Json response = ResponseJson(shape_, opening_, IsCut(end) ? "incomplete" : "completed", std::move(output_));
    SetEnd(&response, opening_, end);
    Append(out, IsCut(end) ? "response.incomplete" : "response.completed", {{"response", std::move(response)}});
  }

  void Finish(std::string*) override {}

  void Fail(const Failure& failure, std::string* out) override {
    Json response = ResponseJson(shape_, opening_, "failed", std::move(output_));
    response["error"] = {{"code", "server_error"}, {"message", failure.message}};
    Append(out, "response.failed", {{"response", std::move(response)}});
  }

 private:
  enum class Part : uint8_t { kNone, kReasoning, kMessage };

  void AppendHead(std::string* out, std::string_view type) {
    *out += "event: ";
    *out += type;
    *out += "\ndata: {\"type\":\"";
    *out += type;
    *out += "\",\"sequence_number\":";
    AppendInteger(out, sequence_++);
  }

  /// An event with the members of `fields` behind type and number.
  void Append(std::string* out, std::string_view type, const Json& fields) {
    AppendHead(out, type);
    *out += ',';
    *out += std::string_view(Dump(fields)).substr(1);
    *out += "\n\n";
  }

  Json Place() const { return {{"item_id", item_}, {"output_index", output_.size()}, {"content_index", 0}}; }

  void AppendWith(std::string* out, std::string_view type, const char* key, Json value) {
    Json fields = Place();
    fields[key] = std::move(value);
    Append(out, type, fields);
  }

  void Open(Part part, std::string* out) {
    if (part_ == part) return;
    Close("completed", out);
    part_ = part;
    const bool message = part == Part::kMessage;
    item_ = ItemId(message ? "msg" : "rs", opening_, output_.size());
    const Json item =
        message ? MessageItem(item_, Json::array(), "in_progress") : ReasoningItem(item_, "", "in_progress");
    Append(out, "response.output_item.added", {{"output_index", output_.size()}, {"item", item}});
    if (message) AppendWith(out, "response.content_part.added", "part", TextPart("", Json::array()));
    // What every delta of the item has in common.
    delta_ = ",\"item_id\":" + Quoted(item_) + ",\"output_index\":" + std::to_string(output_.size()) +
             ",\"content_index\":0,\"delta\":";
  }

  void AppendTextDelta(std::string* out, std::string_view text, const std::vector<TokenFacts>& tokens) {
    const bool message = part_ == Part::kMessage;
    AppendHead(out, message ? "response.output_text.delta" : "response.reasoning_text.delta");
    *out += delta_;
    AppendString(out, text);
    if (message) {
      *out += ",\"logprobs\":";
      AppendTokens(out, tokens);
    }
    *out += "}\n\n";
  }

  void Close(const char* status, std::string* out) {
    if (part_ == Part::kNone) return;
    Json item;
    if (part_ == Part::kMessage) {
      Json log_probabilities = TokensJson(tokens_);
      Json fields = Place();
      fields["text"] = text_;
      fields["logprobs"] = log_probabilities;
      Append(out, "response.output_text.done", fields);
      Json part = TextPart(text_, std::move(log_probabilities));
      AppendWith(out, "response.content_part.done", "part", part);
      item = MessageItem(item_, Json::array({std::move(part)}), status);
    } else {
      AppendWith(out, "response.reasoning_text.done", "text", text_);
      item = ReasoningItem(item_, text_, status);
    }
    AddItem(out, std::move(item));
    part_ = Part::kNone;
    text_.clear();
    tokens_.clear();
  }

  void AppendCall(std::string* out, const constrain::ToolCall& call) {
    Close("completed", out);
    const std::string id = ItemId("fc", opening_, output_.size());
    const Json place = {{"item_id", id}, {"output_index", output_.size()}};
    Append(out, "response.output_item.added",
           {{"output_index", output_.size()}, {"item", CallItem(id, call, "", "in_progress")}});
    Json fields = place;
    fields["delta"] = call.arguments;
    Append(out, "response.function_call_arguments.delta", fields);
    fields = place;
    fields["name"] = call.name;
    fields["arguments"] = call.arguments;
    Append(out, "response.function_call_arguments.done", fields);
    AddItem(out, CallItem(id, call, call.arguments, "completed"));
  }

  void AddItem(std::string* out, Json item) {
    Append(out, "response.output_item.done", {{"output_index", output_.size()}, {"item", item}});
    output_.push_back(std::move(item));
  }

  ResponsesShape shape_;
  Opening opening_;
  int64_t sequence_ = 0;
  Json output_ = Json::array();  // items that are complete
  Part part_ = Part::kNone;      // of the item that is not
  std::string item_, delta_, text_;
  std::vector<TokenFacts> tokens_;
};

}  // namespace

std::unique_ptr<StreamWriter> ResponsesStream(ResponsesShape shape) {
  return std::make_unique<Stream>(std::move(shape));
}

std::string ResponsesBody(const ResponsesShape& shape, const Opening& opening, const WholeAnswer& answer) {
  const char* status = IsCut(answer.end) ? "incomplete" : "completed";
  Json output = Json::array();
  if (!answer.thinking.empty()) {
    output.push_back(ReasoningItem(ItemId("rs", opening, output.size()), answer.thinking, "completed"));
  }
  if (!answer.content.empty() || answer.tool_calls.empty()) {
    Json content = Json::array({TextPart(answer.content, TokensJson(answer.tokens))});
    output.push_back(MessageItem(ItemId("msg", opening, output.size()), std::move(content), status));
  }
  for (const constrain::ToolCall& call : answer.tool_calls) {
    output.push_back(CallItem(ItemId("fc", opening, output.size()), call, call.arguments, "completed"));
  }
  Json response = ResponseJson(shape, opening, status, std::move(output));
  SetEnd(&response, opening, answer.end);
  return Dump(response);
}

}  // namespace edgellm::api
