// See anthropic_request.h.
#include "api/anthropic_request.h"

#include <algorithm>

#include "api/json_input.h"
#include "api/openai_request.h"
#include "api/request_parts.h"
#include "model/json_fields.h"

namespace edgellm::api {
namespace {

[[noreturn]] void RefuseBlock(const Fields& block, const std::string& type) {
  RefuseUnsupported(block.Path("type"),
                    fmt::format("'{}': blocks of type '{}' are not supported here", block.Path("type"), OneLine(type)));
}

void AddLine(std::string* text, std::string_view line) {
  if (!text->empty()) *text += '\n';
  *text += line;
}

/// What stands in an assistant's message: text, thoughts and calls.
ChatMessage ReadAssistant(const Fields& message, const Json& content) {
  ChatMessage read = MessageOf("assistant");
  for (size_t i = 0; i < content.size(); ++i) {
    const Fields block(content[i], ItemPath(message.Path("content"), i));
    const std::string type = block.NeedText("type");
    if (type == "text") {
      AddLine(&read.content, block.NeedText("text"));
    } else if (type == "thinking") {
      AddLine(&read.thinking, block.NeedText("thinking"));
    } else if (type == "tool_use") {
      constrain::ToolCall call;
      call.index = static_cast<int>(read.tool_calls.size());
      call.id = block.NeedName("id");
      call.name = block.NeedName("name");
      call.arguments = Dump(block.NeedObject("input").object());
      read.tool_calls.push_back(std::move(call));
    } else if (type != "redacted_thinking") {  // which nobody but its author can read
      RefuseBlock(block, type);
    }
  }
  return read;
}

/// A user's message: results of tools are messages of their own, and stand before the text.
void ReadUser(const Fields& message, const Json& content, std::vector<ChatMessage>* messages) {
  ChatMessage text = MessageOf("user");
  bool has_text = content.empty();
  for (size_t i = 0; i < content.size(); ++i) {
    const Fields block(content[i], ItemPath(message.Path("content"), i));
    const std::string type = block.NeedText("type");
    if (type == "text") {
      AddLine(&text.content, block.NeedText("text"));
      has_text = true;
    } else if (type == "tool_result") {
      ChatMessage result = MessageOf("tool", ReadContent(block, "content", {"text"}));
      result.tool_call_id = block.NeedName("tool_use_id");
      if (block.Boolean("is_error").value_or(false) && result.content.empty()) result.content = "error";
      messages->push_back(std::move(result));
    } else {
      RefuseBlock(block, type);
    }
  }
  if (has_text) messages->push_back(std::move(text));
}

void ReadMessage(const Fields& message, std::vector<ChatMessage>* messages) {
  const std::string role = message.NeedText("role");
  if (role != "user" && role != "assistant") {
    Refuse(message.Path("role"),
           fmt::format("'{}' must be \"user\" or \"assistant\"; a system prompt is 'system'", message.Path("role")));
  }
  const Json* content = message.Find("content");
  if (content == nullptr) Refuse(message.Path("content"), fmt::format("'{}' is missing", message.Path("content")));
  if (content->is_string()) {
    messages->push_back(MessageOf(role, content->get<std::string>()));
  } else if (!content->is_array()) {
    Refuse(message.Path("content"), fmt::format("'{}' must be a string or a list of blocks", message.Path("content")));
  } else if (role == "assistant") {
    messages->push_back(ReadAssistant(message, *content));
  } else {
    ReadUser(message, *content, messages);
  }
}

Json ReadAnthropicTools(const Fields& fields) {
  const Json* list = fields.Array("tools");
  if (list == nullptr || list->empty()) return nullptr;
  Json nested = Json::array();
  for (size_t i = 0; i < list->size(); ++i) {
    const Fields tool((*list)[i], ItemPath("tools", i));
    if (const std::string type = tool.Text("type").value_or("custom"); type != "custom") {
      RefuseUnsupported(tool.Path("type"), fmt::format("'{}': this server has no tools of its own, such as '{}'",
                                                       tool.Path("type"), OneLine(type)));
    }
    nested.push_back(
        ToolJson(tool.NeedName("name"), tool.Text("description"), &tool.NeedObject("input_schema").object()));
  }
  const Json holder = {{"tools", std::move(nested)}};
  return ReadTools(Fields(holder, ""), "tools");
}

void ReadToolChoice(const Fields& fields, ChatInput* input) {
  const auto choice = fields.Object("tool_choice");
  if (!choice) return;
  using Kind = ToolChoice::Kind;
  const std::string type = choice->NeedText("type");
  input->parallel_tool_calls = !choice->Boolean("disable_parallel_tool_use").value_or(false);
  if (type == "auto") return;
  if (type == "none") {
    input->tool_choice.kind = Kind::kNone;
  } else if (input->tools.is_null()) {
    Refuse("tool_choice", "'tool_choice' asks for a call, but there are no 'tools'");
  } else if (type == "any") {
    input->tool_choice.kind = Kind::kRequired;
  } else if (type == "tool") {
    input->tool_choice = {Kind::kNamed, choice->NeedName("name")};
    const bool known = std::any_of(input->tools.begin(), input->tools.end(), [&](const Json& tool) {
      return tool["function"]["name"] == input->tool_choice.name;
    });
    if (!known) {
      Refuse("tool_choice.name",
             fmt::format("'tool_choice' names '{}', which is not among the tools", OneLine(input->tool_choice.name)));
    }
  } else {
    Refuse("tool_choice.type", "'tool_choice.type' must be \"auto\", \"any\", \"tool\" or \"none\"");
  }
}

std::optional<bool> ReadThinking(const Fields& fields) {
  const auto thinking = fields.Object("thinking");
  if (!thinking) return std::nullopt;
  const std::string type = thinking->NeedText("type");
  thinking->Integer("budget_tokens", 0, INT32_MAX);
  if (type == "enabled") return true;
  if (type == "disabled") return false;
  if (type == "adaptive") return std::nullopt;
  Refuse("thinking.type", "'thinking.type' must be \"enabled\", \"disabled\" or \"adaptive\"");
}

/// `output_config`: {"format": …}, and `output_format` as it was called before.
std::optional<AnswerFormat> ReadFormat(const Fields& fields) {
  if (const auto config = fields.Object("output_config")) {
    if (const auto format = config->Object("format")) return ReadResponseFormat(*format);
  }
  const auto format = fields.Object("output_format");
  return format ? ReadResponseFormat(*format) : std::nullopt;
}

}  // namespace

AnthropicAsk ParseAnthropic(std::string_view body, bool count) {
  const Json json = ParseBody(body);
  const Fields fields(json, "");
  AnthropicAsk ask;
  ask.load.model = fields.NeedName("model");
  ask.load.keep_alive = ReadKeepAlive(fields, "keep_alive");
  ask.stream = fields.Boolean("stream").value_or(false);
  GenerateOptions& options = ask.request.options;
  options.max_tokens = ReadMaxTokens(fields, "max_tokens");
  if (!options.max_tokens && !count) Refuse("max_tokens", "'max_tokens' is missing");
  ReadSampling(fields, &options);
  options.stop = fields.Texts("stop_sequences", 64);
  options.format = ReadFormat(fields);
  ask.request.priority = ReadPriority(fields);
  ask.request.cache_salt = fields.Text("cache_salt").value_or("");
  ask.request.truncate = fields.Boolean("truncate").value_or(false);
  fields.Object("metadata");

  ChatInput input;
  if (const std::string system = ReadContent(fields, "system", {"text"}); !system.empty()) {
    input.messages.push_back(MessageOf("system", system));
  }
  const Json& messages = fields.NeedArray("messages");
  if (messages.empty()) Refuse("messages", "'messages' must hold at least one message");
  for (size_t i = 0; i < messages.size(); ++i) {
    ReadMessage(Fields(messages[i], ItemPath("messages", i)), &input.messages);
  }
  NameToolResults(&input.messages);
  input.tools = ReadAnthropicTools(fields);
  ReadToolChoice(fields, &input);
  input.think = ReadThinking(fields);
  ask.request.input = std::move(input);
  return ask;
}

}  // namespace edgellm::api
