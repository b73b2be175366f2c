// See json_lines.h.
#include "serve/json_lines.h"

#include <algorithm>
#include <utility>

#include "base/utf8.h"

namespace edgellm {
namespace {

using Json = nlohmann::ordered_json;

std::string Line(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

[[noreturn]] void FailField(std::string_view name, const char* type) {
  Fail(ErrorCode::kInvalidArgument, "\"{}\" must be {}", name, type);
}

const Json* Find(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::string TextOf(const Json& object, const char* name, bool required = false) {
  const Json* value = Find(object, name);
  if (value == nullptr && !required) return {};
  if (value == nullptr || !value->is_string()) FailField(name, "a text");
  return value->get<std::string>();
}

bool FlagOf(const Json& object, const char* name, bool otherwise) {
  const Json* value = Find(object, name);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) FailField(name, "true or false");
  return value->get<bool>();
}

int CountOf(const Json& object, const char* name, int otherwise) {
  const Json* value = Find(object, name);
  if (value == nullptr) return otherwise;
  if (!value->is_number_integer() || value->get<double>() < 0 || value->get<double>() > 1e6) {
    FailField(name, "a whole number");
  }
  return value->get<int>();
}

std::vector<int32_t> IdsOf(const Json& list, const char* name) {
  std::vector<int32_t> ids;
  for (const Json& id : list) {
    if (!id.is_number_integer() || id.get<double>() < 0 || id.get<double>() > 2e9)
      FailField(name, "a list of token ids");
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

Priority PriorityOf(const Json& object) {
  const std::string name = TextOf(object, "priority");
  if (name == "interactive") return Priority::kInteractive;
  if (name.empty() || name == "normal") return Priority::kNormal;
  if (name == "batch") return Priority::kBatch;
  FailField("priority", "interactive, normal or batch");
}

std::vector<constrain::ToolCall> CallsOf(const Json& list) {
  std::vector<constrain::ToolCall> calls;
  if (!list.is_array()) FailField("tool_calls", "a list");
  for (const Json& call : list) {
    if (!call.is_object()) FailField("tool_calls", "a list of objects");
    const Json* arguments = Find(call, "arguments");
    if (arguments != nullptr && !arguments->is_object()) FailField("arguments", "an object");
    calls.push_back({.index = static_cast<int>(calls.size()),
                     .id = TextOf(call, "id"),
                     .name = TextOf(call, "name", /*required=*/true),
                     .arguments = arguments == nullptr ? "{}" : Line(*arguments)});
  }
  return calls;
}

ChatMessage MessageOf(const Json& json) {
  if (!json.is_object()) FailField("messages", "a list of objects");
  ChatMessage message;
  message.role = TextOf(json, "role", /*required=*/true);
  message.content = TextOf(json, "content");
  message.thinking = TextOf(json, "thinking");
  if (const Json* calls = Find(json, "tool_calls")) message.tool_calls = CallsOf(*calls);
  message.tool_name = TextOf(json, "tool_name");
  message.tool_call_id = TextOf(json, "tool_call_id");
  return message;
}

ToolChoice ChoiceOf(const Json& object) {
  const Json* value = Find(object, "tool_choice");
  if (value == nullptr) return {};
  if (value->is_object()) return {ToolChoice::Kind::kNamed, TextOf(*value, "name", /*required=*/true)};
  const std::string name = TextOf(object, "tool_choice");
  if (name == "auto") return {};
  if (name == "none") return {ToolChoice::Kind::kNone, ""};
  if (name == "required") return {ToolChoice::Kind::kRequired, ""};
  FailField("tool_choice", "auto, none, required or {\"name\": …}");
}

ChatInput ChatOf(const Json& object) {
  ChatInput chat;
  const Json& messages = object.at("messages");
  if (!messages.is_array()) FailField("messages", "a list");
  for (const Json& message : messages) chat.messages.push_back(MessageOf(message));
  if (const Json* tools = Find(object, "tools")) chat.tools = *tools;
  chat.tool_choice = ChoiceOf(object);
  chat.parallel_tool_calls = FlagOf(object, "parallel_tool_calls", true);
  if (Find(object, "think") != nullptr) chat.think = FlagOf(object, "think", false);
  if (Find(object, "template") != nullptr) chat.chat_template = TextOf(object, "template");
  return chat;
}

void ReadOptions(const Json& object, JsonLineRequest* line, GenerateOptions* options) {
  OtherOptions other;
  if (const Json* values = Find(object, "options")) SetJsonOptions(options, *values, &other);
  if (other.context) other.warnings.push_back("option \"num_ctx\" has no effect: the model is loaded already");
  line->warnings = std::move(other.warnings);
  if (const Json* format = Find(object, "format")) {
    options->format = AnswerFormat::FromOption(format->is_string() ? format->get<std::string>() : Line(*format));
  }
  if (Find(object, "grammar") != nullptr) {
    if (options->format) Fail(ErrorCode::kInvalidArgument, "\"format\" and \"grammar\" cannot be used together");
    options->format = AnswerFormat{AnswerFormat::Kind::kGrammar, TextOf(object, "grammar")};
  }
  options->samples = CountOf(object, "samples", 1);
  options->log_probabilities = FlagOf(object, "logprobs", false);
  options->likeliest = CountOf(object, "top_logprobs", 0);
  options->prompt_log_probabilities = FlagOf(object, "prompt_logprobs", false);
}

GenerateRequest GenerateOf(const Json& object, JsonLineRequest* line) {
  GenerateRequest request;
  if (object.contains("messages")) {
    request.input = ChatOf(object);
  } else {
    const Json& prompt = object.at("prompt");
    if (prompt.is_array()) {
      request.input = TokenInput{IdsOf(prompt, "prompt")};
    } else {
      request.input =
          TextInput{.text = TextOf(object, "prompt", /*required=*/true), .suffix = TextOf(object, "suffix")};
    }
  }
  ReadOptions(object, line, &request.options);
  request.truncate = FlagOf(object, "truncate", false);
  request.priority = PriorityOf(object);
  request.cache_salt = TextOf(object, "cache_salt");
  return request;
}

EmbedRequest EmbedOf(const Json& object) {
  EmbedRequest request;
  const Json& inputs = object.at("embed");
  const bool one_text = inputs.is_string();
  if (!one_text && !inputs.is_array()) FailField("embed", "a text, or a list of texts or of lists of token ids");
  for (const Json& input : one_text ? Json::array({inputs}) : inputs) {
    if (input.is_array()) {
      request.inputs.emplace_back(IdsOf(input, "embed"));
    } else if (input.is_string()) {
      request.inputs.emplace_back(input.get<std::string>());
    } else {
      FailField("embed", "a text, or a list of texts or of lists of token ids");
    }
  }
  const std::string pooling = TextOf(object, "pooling");
  if (!pooling.empty() && pooling != "mean" && pooling != "last") FailField("pooling", "mean or last");
  if (pooling == "last") request.pooling = Pooling::kLast;
  request.truncate = FlagOf(object, "truncate", true);
  request.dimensions = CountOf(object, "dimensions", 0);
  request.priority = PriorityOf(object);
  request.cache_salt = TextOf(object, "cache_salt");
  return request;
}

bool IsId(const Json& id) {
  return id.is_string() || id.is_number_integer();
}

const char* NameOf(AnswerEnd::Reason reason) {
  using Reason = AnswerEnd::Reason;
  switch (reason) {
    case Reason::kStop:
      return "stop";
    case Reason::kLength:
      return "length";
    case Reason::kContextFull:
      return "context_full";
    case Reason::kToolCalls:
      return "tool_calls";
    case Reason::kCancelled:
      return "cancelled";
    case Reason::kFailed:
      return "failed";
    case Reason::kDeadEnd:
      return "dead_end";
  }
  return "failed";
}

const char* NameOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return "invalid_argument";
    case ErrorCode::kNotFound:
      return "not_found";
    case ErrorCode::kCorrupt:
      return "corrupt";
    case ErrorCode::kUnsupported:
      return "unsupported";
    case ErrorCode::kIo:
      return "io";
    case ErrorCode::kLimit:
      return "limit";
    case ErrorCode::kEnvironment:
      return "environment";
    case ErrorCode::kBusy:
      return "busy";
  }
  return "environment";
}

Json FactsJson(const TokenFacts& facts) {
  Json json = {{"id", facts.id}, {"text", utf8::Sanitize(facts.bytes)}, {"logprob", facts.log_probability}};
  for (const auto& other : facts.likeliest) {
    json["top"].push_back(
        {{"id", other.id}, {"text", utf8::Sanitize(other.bytes)}, {"logprob", other.log_probability}});
  }
  return json;
}

void AddTexts(const AnswerPiece& piece, bool always, Json* json) {
  if (always || !piece.content.empty()) (*json)["content"] = piece.content;
  if (!piece.thinking.empty()) (*json)["thinking"] = piece.thinking;
  for (const auto& call : piece.tool_calls) {
    Json arguments = Json::parse(call.arguments, nullptr, /*allow_exceptions=*/false);
    (*json)["tool_calls"].push_back({{"id", call.id}, {"name", call.name}, {"arguments", std::move(arguments)}});
  }
  for (const auto& facts : piece.tokens) (*json)["logprobs"].push_back(FactsJson(facts));
}

}  // namespace

nlohmann::ordered_json JsonLineId(std::string_view line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return nullptr;
  const Json* id = Find(json, "id");
  return id != nullptr && IsId(*id) ? *id : Json(nullptr);
}

JsonLineRequest ParseJsonLine(std::string_view line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) Fail(ErrorCode::kInvalidArgument, "a line must be a JSON object");
  JsonLineRequest request;
  const Json* id = Find(json, "id");
  if (id == nullptr || !IsId(*id)) FailField("id", "a text or a whole number");
  request.id = *id;
  request.stream = FlagOf(json, "stream", true);
  int kinds = 0;
  for (const char* kind : {"messages", "prompt", "embed", "cancel"}) kinds += json.contains(kind) ? 1 : 0;
  if (kinds != 1) {
    Fail(ErrorCode::kInvalidArgument, "a line must have one of \"messages\", \"prompt\", \"embed\" and \"cancel\"");
  }
  if (json.contains("cancel")) {
    if (!FlagOf(json, "cancel", false)) FailField("cancel", "true");
    request.work = JsonLineRequest::Cancel{};
  } else if (json.contains("embed")) {
    request.work = EmbedOf(json);
  } else {
    request.work = GenerateOf(json, &request);
  }
  return request;
}

std::string StartLine(const nlohmann::ordered_json& id, const PromptFacts& prompt,
                      const std::vector<std::string>& warnings) {
  Json json = {{"id", id}, {"event", "start"}, {"prompt_tokens", prompt.tokens}, {"context", prompt.context}};
  if (prompt.dropped_messages > 0) json["dropped_messages"] = prompt.dropped_messages;
  if (prompt.dropped_tokens > 0) json["dropped_tokens"] = prompt.dropped_tokens;
  if (!warnings.empty()) json["warnings"] = warnings;
  return Line(json);
}

std::string PieceLine(const nlohmann::ordered_json& id, const AnswerPiece& piece) {
  Json json = {{"id", id}, {"event", piece.prompt ? "prompt" : "piece"}, {"sample", piece.sample}};
  AddTexts(piece, /*always=*/false, &json);
  return Line(json);
}

std::string EndLine(const nlohmann::ordered_json& id, const AnswerEnd& end, const AnswerPiece* whole) {
  Json json = {{"id", id}, {"event", "end"}, {"sample", end.sample}, {"reason", NameOf(end.reason)}};
  if (whole != nullptr) AddTexts(*whole, /*always=*/true, &json);
  if (!end.stop_string.empty()) json["stop"] = end.stop_string;
  if (!end.failure.empty()) json["failure"] = end.failure;
  const RequestStatistics& s = end.statistics;
  json["seed"] = end.seed;
  json["prompt_tokens"] = s.prompt_tokens;
  json["cached_tokens"] = s.cached_tokens;
  json["tokens"] = s.generated_tokens;
  const auto between = [](int64_t from, int64_t to) { return from > 0 && to > from ? to - from : 0; };
  json["queue_ns"] = between(s.submitted, s.first_scheduled);
  json["prompt_ns"] = between(s.first_scheduled, s.first_token);
  json["answer_ns"] = between(s.first_token, s.finished);
  return Line(json);
}

std::string EmbeddingsLine(const nlohmann::ordered_json& id, const Embeddings& embeddings) {
  Json json = {{"id", id}, {"event", "embeddings"}, {"prompt_tokens", embeddings.prompt_tokens}};
  if (embeddings.dropped_tokens > 0) json["dropped_tokens"] = embeddings.dropped_tokens;
  json["embeddings"] = embeddings.vectors;
  return Line(json);
}

std::string ErrorLine(const nlohmann::ordered_json& id, ErrorCode code, std::string_view message) {
  return Line({{"id", id}, {"event", "error"}, {"code", NameOf(code)}, {"message", message}});
}

}  // namespace edgellm
