// See ollama_request.h.
#include "api/ollama_request.h"

#include <algorithm>
#include <array>

#include "api/json_input.h"
#include "api/request_parts.h"
#include "model/json_fields.h"

namespace edgellm::api {
namespace {

void RefuseImages(const Fields& fields) {
  const Json* images = fields.Array("images");
  if (images != nullptr && !images->empty()) {
    RefuseUnsupported(fields.Path("images"), fmt::format("'{}': this server reads no images", fields.Path("images")));
  }
}

/// true, false, or an effort, of which every one means true.
std::optional<bool> ReadThink(const Fields& fields) {
  const Json* think = fields.Find("think");
  if (think == nullptr) return std::nullopt;
  if (think->is_boolean()) return think->get<bool>();
  if (think->is_string()) {
    constexpr std::array<std::string_view, 3> kEfforts = {"low", "medium", "high"};
    if (std::find(kEfforts.begin(), kEfforts.end(), think->get_ref<const std::string&>()) != kEfforts.end())
      return true;
  }
  Refuse("think", "'think' must be true, false, \"low\", \"medium\" or \"high\"");
}

std::optional<AnswerFormat> ReadFormat(const Fields& fields) {
  const Json* format = fields.Find("format");
  if (format == nullptr) return std::nullopt;
  if (format->is_string()) {
    const std::string& name = format->get_ref<const std::string&>();
    if (name.empty()) return std::nullopt;
    if (name == "json") return AnswerFormat{AnswerFormat::Kind::kJson, ""};
  }
  if (!format->is_object()) Refuse("format", "'format' must be \"json\" or a JSON schema");
  return CheckedFormat({AnswerFormat::Kind::kJsonSchema, Dump(*format)}, "format");
}

/// What both routes have.
OllamaAsk ReadCommon(const Fields& fields) {
  OllamaAsk ask;
  ask.load.model = fields.NeedName("model");
  ask.load.keep_alive = ReadKeepAlive(fields, "keep_alive");
  ask.stream = fields.Boolean("stream").value_or(true);
  GenerateRequest& request = ask.request;
  if (const auto options = fields.Object("options")) {
    OtherOptions other;
    SetJsonOptions(&request.options, options->object(), &other);
    ask.load.context = other.context;
    ask.warnings = std::move(other.warnings);
  }
  request.options.format = ReadFormat(fields);
  request.options.log_probabilities = fields.Boolean("logprobs").value_or(false);
  request.options.likeliest = static_cast<int>(fields.Integer("top_logprobs", 0, kMostLikeliest).value_or(0));
  if (request.options.likeliest > 0) request.options.log_probabilities = true;
  request.truncate = fields.Boolean("truncate").value_or(false);
  request.priority = ReadPriority(fields);
  fields.Boolean("shift");
  return ask;
}

void SetLoadAction(OllamaAsk* ask) {
  const bool unload = ask->load.keep_alive && *ask->load.keep_alive == KeepAlive(0);
  ask->action = unload ? OllamaAsk::Action::kUnload : OllamaAsk::Action::kLoad;
}

ChatMessage ReadMessage(const Fields& message) {
  ChatMessage read;
  read.role = message.NeedText("role");
  constexpr std::array<std::string_view, 4> kRoles = {"system", "user", "assistant", "tool"};
  if (std::find(kRoles.begin(), kRoles.end(), read.role) == kRoles.end()) {
    Refuse(message.Path("role"), fmt::format("'{}': invalid role \"{}\", must be one of \"system\", \"user\", "
                                             "\"assistant\", \"tool\"",
                                             message.Path("role"), OneLine(read.role)));
  }
  read.content = message.Text("content").value_or("");
  read.thinking = message.Text("thinking").value_or("");
  read.tool_calls = ReadToolCalls(message);
  read.tool_name = message.Text("tool_name").value_or("");
  read.tool_call_id = message.Text("tool_call_id").value_or("");
  RefuseImages(message);
  return read;
}

}  // namespace

OllamaAsk ParseOllamaGenerate(std::string_view body) {
  const Json json = ParseBody(body);
  const Fields fields(json, "");
  OllamaAsk ask = ReadCommon(fields);
  const std::string prompt = fields.Text("prompt").value_or("");
  const std::string suffix = fields.Text("suffix").value_or("");
  const std::string system = fields.Text("system").value_or("");
  const auto chat_template = fields.Text("template");
  const bool has_template = chat_template && !chat_template->empty();
  const bool raw = fields.Boolean("raw").value_or(false);
  const auto think = ReadThink(fields);
  if (const Json* context = fields.Array("context")) ask.context = ReadTokens(*context, "context");
  RefuseImages(fields);
  if (raw && (has_template || !system.empty() || !ask.context.empty())) {
    Refuse("raw", "raw mode does not support template, system, or context");
  }
  if (prompt.empty() && suffix.empty()) {
    SetLoadAction(&ask);
    return ask;
  }
  ask.keep_context = !raw && suffix.empty();
  if (raw || !suffix.empty()) {
    ask.request.input = TextInput{prompt, suffix};
    return ask;
  }
  ChatInput input;
  if (!system.empty()) input.messages.push_back(MessageOf("system", system));
  input.messages.push_back(MessageOf("user", prompt));
  if (has_template) input.chat_template = *chat_template;
  input.think = think;
  ask.request.input = std::move(input);
  return ask;
}

OllamaAsk ParseOllamaChat(std::string_view body) {
  const Json json = ParseBody(body);
  const Fields fields(json, "");
  OllamaAsk ask = ReadCommon(fields);
  ask.chat = true;
  ChatInput input;
  input.think = ReadThink(fields);
  input.tools = ReadTools(fields, "tools");
  if (const Json* messages = fields.Array("messages")) {
    for (size_t i = 0; i < messages->size(); ++i) {
      input.messages.push_back(ReadMessage(Fields((*messages)[i], ItemPath("messages", i))));
    }
  }
  if (input.messages.empty()) {
    SetLoadAction(&ask);
    return ask;
  }
  ask.request.input = std::move(input);
  return ask;
}

}  // namespace edgellm::api
