// See chat_context.h.
#include "serve/chat_context.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"

namespace edgellm {
namespace {

using Json = nlohmann::ordered_json;

/// The id itself where it is of that form, else one that follows from it.
std::string ShortId(const std::string& id) {
  static constexpr std::string_view kLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  if (id.size() == constrain::kMistralIdLength && id.find_first_not_of(kLetters) == std::string::npos) return id;
  uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  for (const char c : id) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  std::string made;
  for (int i = 0; i < constrain::kMistralIdLength; ++i, hash /= kLetters.size())
    made += kLetters[hash % kLetters.size()];
  return made;
}

/// Gives every call and every result an id that such a template takes. Where a client names none, the results belong to
/// the calls before them, one after the other.
class ShortIds {
 public:
  void Set(const ChatMessage& message, Json* json) {
    if (json->contains("tool_calls")) {
      open_.clear();
      for (Json& call : (*json)["tool_calls"]) {
        ++calls_;
        const std::string id = call.value("id", std::string());
        call["id"] = ShortId(id.empty() ? "call " + std::to_string(calls_) : id);
        open_.push_back(call["id"].get<std::string>());
      }
      answered_ = 0;
    } else if (message.role == "tool") {
      const std::string by_order = answered_ < open_.size() ? open_[answered_] : ShortId("");
      ++answered_;
      (*json)["tool_call_id"] = message.tool_call_id.empty() ? by_order : ShortId(message.tool_call_id);
    }
  }

 private:
  std::vector<std::string> open_;  // ids of the last message with calls
  size_t answered_ = 0;
  int calls_ = 0;
};

Json CallJson(const constrain::ToolCall& call, ArgumentsForm form) {
  Json arguments = Json::object();
  if (!call.arguments.empty()) arguments = Json::parse(call.arguments, nullptr, /*allow_exceptions=*/false);
  if (!arguments.is_object()) {
    Fail(ErrorCode::kInvalidArgument, "the arguments of a call of {} are no JSON object", call.name);
  }
  if (form == ArgumentsForm::kText) arguments = arguments.dump();
  Json json = {{"type", "function"},
               {"function", {{"name", utf8::Sanitize(call.name)}, {"arguments", std::move(arguments)}}}};
  if (!call.id.empty()) json["id"] = utf8::Sanitize(call.id);
  return json;
}

Json MessageJson(const ChatMessage& message, const ContextOptions& options, bool continued) {
  Json json = {{"role", utf8::Sanitize(message.role)}, {"content", utf8::Sanitize(message.content)}};
  if (continued) json["content"] = utf8::Sanitize(message.content) + options.continuation;
  if (!message.thinking.empty()) {
    // Under the names that Qwen3 and its like, and others, look for.
    json["reasoning_content"] = utf8::Sanitize(message.thinking);
    json["thinking"] = json["reasoning_content"];
  }
  if (!message.tool_calls.empty()) {
    Json calls = Json::array();
    for (const auto& call : message.tool_calls) calls.push_back(CallJson(call, options.arguments));
    json["tool_calls"] = std::move(calls);
    if (options.null_content && message.content.empty()) json["content"] = nullptr;
  }
  if (!message.tool_name.empty()) json["name"] = utf8::Sanitize(message.tool_name);
  if (!message.tool_call_id.empty()) json["tool_call_id"] = utf8::Sanitize(message.tool_call_id);
  return json;
}

}  // namespace

bool ShowsTools(const ChatInput& chat) {
  return chat.tools.is_array() && !chat.tools.empty() && chat.tool_choice.kind != ToolChoice::Kind::kNone;
}

void CheckTools(const ChatInput& chat) {
  if (!chat.tools.is_null() && !chat.tools.is_array()) Fail(ErrorCode::kInvalidArgument, "tools must be a list");
  const bool wanted =
      chat.tool_choice.kind == ToolChoice::Kind::kRequired || chat.tool_choice.kind == ToolChoice::Kind::kNamed;
  bool found = false;
  for (size_t i = 0; i < chat.tools.size(); ++i) {
    const Json& tool = chat.tools[i];
    const Json* function = tool.is_object() && tool.contains("function") ? &tool["function"] : nullptr;
    if (function == nullptr || !function->is_object() || !function->contains("name") ||
        !(*function)["name"].is_string() || (*function)["name"].get_ref<const std::string&>().empty()) {
      Fail(ErrorCode::kInvalidArgument, "tools[{}] must be a function with a name", i);
    }
    found = found || (*function)["name"].get_ref<const std::string&>() == chat.tool_choice.name;
  }
  if (wanted && chat.tools.empty()) Fail(ErrorCode::kInvalidArgument, "a tool call is wanted, but there are no tools");
  if (chat.tool_choice.kind == ToolChoice::Kind::kNamed && !found) {
    Fail(ErrorCode::kInvalidArgument, "the function \"{}\" that must be called is none of the tools",
         chat.tool_choice.name);
  }
}

nlohmann::ordered_json ChatContext(const ChatInput& chat, const std::vector<const ChatMessage*>& messages,
                                   const ContextOptions& options) {
  Json context;
  Json list = Json::array();
  ShortIds short_ids;
  for (const ChatMessage* message : messages) {
    const bool continued = !options.continuation.empty() && message == messages.back();
    list.push_back(MessageJson(*message, options, continued));
    if (options.short_ids) short_ids.Set(*message, &list.back());
  }
  context["messages"] = std::move(list);
  if (ShowsTools(chat)) context["tools"] = chat.tools;
  context["add_generation_prompt"] = options.continuation.empty();
  if (chat.think) {
    context["enable_thinking"] = *chat.think;
    context["thinking"] = *chat.think;
  }
  context["bos_token"] = options.bos;
  context["eos_token"] = options.eos;
  return context;
}

}  // namespace edgellm
