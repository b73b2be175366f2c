// See responses_request.h.
#include "api/responses_request.h"

#include <algorithm>
#include <array>
#include <set>

#include "api/json_input.h"
#include "api/openai_request.h"
#include "api/request_parts.h"
#include "model/json_fields.h"

namespace edgellm::api {
namespace {

/// The items of a conversation. What an assistant thought, said and called stands in items of its own there, and in one
/// message here.
class Conversation {
 public:
  explicit Conversation(std::vector<ChatMessage>* messages) : messages_(messages) {}

  void Add(const Fields& item) {
    const std::string type = item.Text("type").value_or("message");
    if (type == "message") {
      AddMessage(item);
    } else if (type == "function_call") {
      AddCall(item);
    } else if (type == "function_call_output") {
      ChatMessage result = MessageOf("tool", ReadContent(item, "output", {"input_text", "output_text"}));
      result.tool_call_id = item.NeedName("call_id");
      messages_->push_back(std::move(result));
      begun_ = false;
    } else if (type == "reasoning") {
      Assistant().thinking += ReadContent(item, "content", {"reasoning_text"});
    } else {
      RefuseUnsupported(item.Path("type"),
                        fmt::format("'{}': items of type '{}' are not supported", item.Path("type"), OneLine(type)));
    }
  }

 private:
  void AddMessage(const Fields& item) {
    std::string role = item.NeedText("role");
    if (role == "developer") role = "system";
    constexpr std::array<std::string_view, 3> kRoles = {"system", "user", "assistant"};
    if (std::find(kRoles.begin(), kRoles.end(), role) == kRoles.end()) {
      Refuse(item.Path("role"),
             fmt::format("'{}' must be \"system\", \"developer\", \"user\" or \"assistant\"", item.Path("role")));
    }
    if (!item.Has("content")) Refuse(item.Path("content"), fmt::format("'{}' is missing", item.Path("content")));
    std::string content = ReadContent(item, "content", {"input_text", "output_text", "text"});
    if (role == "assistant") {
      ChatMessage& message = Assistant();
      if (!message.content.empty()) message.content += '\n';
      message.content += content;
      return;
    }
    messages_->push_back(MessageOf(std::move(role), std::move(content)));
    begun_ = false;
  }

  void AddCall(const Fields& item) {
    ChatMessage& message = Assistant();
    constrain::ToolCall call;
    call.index = static_cast<int>(message.tool_calls.size());
    call.id = item.NeedName("call_id");
    call.name = item.NeedName("name");
    call.arguments = ObjectText(item.NeedText("arguments"), item.Path("arguments"));
    message.tool_calls.push_back(std::move(call));
  }

  ChatMessage& Assistant() {
    if (!begun_) messages_->push_back(MessageOf("assistant"));
    begun_ = true;
    return messages_->back();
  }

  std::vector<ChatMessage>* messages_;
  bool begun_ = false;  // the last message is an assistant's, to be added to
};

/// Tools of this API are flat; templates expect them nested.
Json ReadFlatTools(const Fields& fields) {
  const Json* list = fields.Array("tools");
  if (list == nullptr || list->empty()) return nullptr;
  Json nested = Json::array();
  for (size_t i = 0; i < list->size(); ++i) {
    const Fields tool((*list)[i], ItemPath("tools", i));
    if (const std::string type = tool.NeedText("type"); type != "function") {
      RefuseUnsupported(tool.Path("type"),
                        fmt::format("'{}': only functions are supported, not '{}'", tool.Path("type"), OneLine(type)));
    }
    tool.Boolean("strict");
    const auto parameters = tool.Object("parameters");
    nested.push_back(
        ToolJson(tool.NeedName("name"), tool.Text("description"), parameters ? &parameters->object() : nullptr));
  }
  const Json holder = {{"tools", std::move(nested)}};
  return ReadTools(Fields(holder, ""), "tools");
}

ToolChoice ReadFlatToolChoice(const Fields& fields, const Json& tools) {
  const Json* choice = fields.Find("tool_choice");
  if (choice == nullptr || *choice == "auto") return {};
  using Kind = ToolChoice::Kind;
  if (*choice == "none") return {Kind::kNone, ""};
  if (*choice == "required") {
    if (tools.is_null()) Refuse("tool_choice", "'tool_choice' asks for a call, but there are no 'tools'");
    return {Kind::kRequired, ""};
  }
  if (!choice->is_object()) {
    Refuse("tool_choice", "'tool_choice' must be \"none\", \"auto\", \"required\" or an object that names a function");
  }
  const Fields object(*choice, "tool_choice");
  if (object.NeedText("type") != "function") {
    RefuseUnsupported("tool_choice.type", "'tool_choice.type' must be \"function\"");
  }
  const std::string name = object.NeedName("name");
  const bool known =
      std::any_of(tools.begin(), tools.end(), [&](const Json& tool) { return tool["function"]["name"] == name; });
  if (!known)
    Refuse("tool_choice.name", fmt::format("'tool_choice' names '{}', which is not among the tools", OneLine(name)));
  return {Kind::kNamed, name};
}

void RefuseState(const Fields& fields) {
  for (const char* key : {"previous_response_id", "conversation", "prompt"}) {
    if (fields.Has(key)) {
      RefuseUnsupported(key, fmt::format("'{}' is not supported: this server stores no responses; send the whole "
                                         "conversation as 'input'",
                                         key));
    }
  }
  if (fields.Boolean("background").value_or(false)) {
    RefuseUnsupported("background", "'background' is not supported: this server stores no responses");
  }
}

/// The settings as the response repeats them, with defaults where the request says nothing.
Json EchoOf(const Fields& fields) {
  const auto copy = [&](const char* key, Json fallback) {
    const Json* value = fields.Find(key);
    return value != nullptr ? *value : std::move(fallback);
  };
  Json echo = {{"instructions", copy("instructions", nullptr)},
               {"max_output_tokens", copy("max_output_tokens", nullptr)},
               {"metadata", copy("metadata", Json::object())},
               {"parallel_tool_calls", copy("parallel_tool_calls", true)},
               {"previous_response_id", nullptr},
               {"reasoning", copy("reasoning", {{"effort", nullptr}, {"summary", nullptr}})},
               {"store", false},
               {"temperature", copy("temperature", nullptr)},
               {"text", copy("text", {{"format", {{"type", "text"}}}})},
               {"tool_choice", copy("tool_choice", "auto")},
               {"tools", copy("tools", Json::array())},
               {"top_p", copy("top_p", nullptr)},
               {"truncation", copy("truncation", "disabled")}};
  if (fields.Has("user")) echo["user"] = *fields.Find("user");
  return echo;
}

void ReadLogProbabilities(const Fields& fields, GenerateOptions* options) {
  if (const Json* include = fields.Array("include")) {
    for (const Json& item : *include) options->log_probabilities |= item == "message.output_text.logprobs";
  }
  if (const auto likeliest = fields.Integer("top_logprobs", 0, kMostLikeliest)) {
    options->likeliest = static_cast<int>(*likeliest);
    options->log_probabilities |= *likeliest > 0;
  }
}

std::optional<bool> ReadReasoning(const Fields& fields) {
  const auto reasoning = fields.Object("reasoning");
  if (!reasoning) return std::nullopt;
  const auto effort = reasoning->Text("effort");
  return effort ? std::optional<bool>(*effort != "none") : std::nullopt;
}

ChatInput ReadInput(const Fields& fields) {
  ChatInput input;
  if (const auto instructions = fields.Text("instructions")) {
    input.messages.push_back(MessageOf("system", *instructions));
  }
  const Json* given = fields.Find("input");
  if (given == nullptr) Refuse("input", "'input' is missing");
  if (given->is_string()) {
    input.messages.push_back(MessageOf("user", given->get<std::string>()));
  } else if (given->is_array() && !given->empty()) {
    Conversation conversation(&input.messages);
    for (size_t i = 0; i < given->size(); ++i) conversation.Add(Fields((*given)[i], ItemPath("input", i)));
    NameToolResults(&input.messages);
  } else {
    Refuse("input", "'input' must be a string, or a list of at least one item");
  }
  return input;
}

}  // namespace

ResponsesAsk ParseResponses(std::string_view body) {
  const Json json = ParseBody(body);
  const Fields fields(json, "");
  ResponsesAsk ask;
  ask.load.model = fields.NeedName("model");
  ask.load.keep_alive = ReadKeepAlive(fields, "keep_alive");
  RefuseState(fields);
  ask.stream = fields.Boolean("stream").value_or(false);
  GenerateRequest& request = ask.request;
  ReadSampling(fields, &request.options);
  request.options.max_tokens = ReadMaxTokens(fields, "max_output_tokens");
  ReadLogProbabilities(fields, &request.options);
  if (const auto text = fields.Object("text")) {
    if (const auto format = text->Object("format")) request.options.format = ReadResponseFormat(*format);
  }
  const std::string truncation = fields.Text("truncation").value_or("disabled");
  if (truncation != "disabled" && truncation != "auto") {
    Refuse("truncation", "'truncation' must be \"auto\" or \"disabled\"");
  }
  request.truncate = truncation == "auto";
  request.priority = ReadPriority(fields);
  request.cache_salt = fields.Text("cache_salt").value_or("");
  ChatInput input = ReadInput(fields);
  input.tools = ReadFlatTools(fields);
  input.tool_choice = ReadFlatToolChoice(fields, input.tools);
  input.parallel_tool_calls = fields.Boolean("parallel_tool_calls").value_or(true);
  input.think = ReadReasoning(fields);
  request.input = std::move(input);
  fields.Object("metadata");
  ask.echo = EchoOf(fields);
  return ask;
}

}  // namespace edgellm::api
