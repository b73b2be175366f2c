// See openai_request.h.
#include "api/openai_request.h"

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>

#include "api/json_input.h"
#include "api/request_parts.h"
#include "model/json_fields.h"

namespace edgellm::api {
namespace {

constexpr size_t kMostPrompts = 256;

/// What is not done, and would be missed if it were passed over in silence.
void RefuseFields(const Fields& fields, std::initializer_list<std::pair<const char*, const char*>> refused) {
  for (const auto& [key, cause] : refused) {
    const Json* value = fields.Find(key);
    const bool idle = value == nullptr || ((value->is_array() || value->is_object()) && value->empty());
    if (!idle) RefuseUnsupported(fields.Path(key), fmt::format("'{}' is not supported: {}", fields.Path(key), cause));
  }
}

void ReadStream(const Fields& fields, OpenAiAsk* ask) {
  ask->stream = fields.Boolean("stream").value_or(false);
  if (const auto options = fields.Object("stream_options")) {
    ask->shape.include_usage = options->Boolean("include_usage").value_or(false);
  }
}

/// Grammars and schemas by the names that other servers gave them.
std::optional<AnswerFormat> ReadGuided(const Fields& fields) {
  for (const char* key : {"guided_grammar", "grammar"}) {
    if (const auto grammar = fields.Text(key)) return CheckedFormat({AnswerFormat::Kind::kGrammar, *grammar}, key);
  }
  const Json* schema = fields.Find("guided_json");
  if (schema == nullptr) return std::nullopt;
  const std::string text = schema->is_string() ? schema->get<std::string>() : Dump(*schema);
  return CheckedFormat({AnswerFormat::Kind::kJsonSchema, text}, "guided_json");
}

/// What chat and text completions have in common; `request` is the one that all prompts share.
OpenAiAsk ReadCommon(const Fields& fields, const std::string& model, GenerateRequest* request) {
  OpenAiAsk ask;
  ask.load.model = !model.empty() && !fields.Has("model") ? model : fields.NeedName("model");
  ask.shape.model = ask.load.model;
  ask.load.keep_alive = ReadKeepAlive(fields, "keep_alive");
  ReadStream(fields, &ask);
  GenerateOptions& options = request->options;
  ReadSampling(fields, &options);
  options.samples = static_cast<int>(fields.Integer("n", 1, kMostSamples).value_or(1));
  ask.shape.samples = static_cast<size_t>(options.samples);
  RefuseFields(fields, {{"guided_regex", "use guided_grammar"},
                        {"guided_choice", "use guided_grammar"},
                        {"structural_tag", "use guided_grammar"}});
  if (const auto format = fields.Object("response_format")) options.format = ReadResponseFormat(*format);
  if (const auto guided = ReadGuided(fields)) {
    if (options.format) Refuse("response_format", "'response_format' and a grammar cannot be asked for together");
    options.format = guided;
  }
  request->priority = ReadPriority(fields);
  request->cache_salt = fields.Text("cache_salt").value_or("");
  request->truncate = fields.Boolean("truncate").value_or(false);
  fields.Text("user");
  return ask;
}

ToolChoice ReadToolChoice(const Fields& fields, bool has_tools) {
  const Json* choice = fields.Find("tool_choice");
  if (choice == nullptr) return {};
  using Kind = ToolChoice::Kind;
  ToolChoice read;
  if (choice->is_object()) {
    const Fields object(*choice, "tool_choice");
    if (object.NeedText("type") != "function") {
      RefuseUnsupported("tool_choice.type", "'tool_choice.type' must be \"function\"");
    }
    read = {Kind::kNamed, object.NeedObject("function").NeedName("name")};
  } else if (*choice == "none") {
    read.kind = Kind::kNone;
  } else if (*choice == "required") {
    read.kind = Kind::kRequired;
  } else if (*choice != "auto") {
    Refuse("tool_choice", "'tool_choice' must be \"none\", \"auto\", \"required\" or an object that names a function");
  }
  const bool must_call = read.kind == Kind::kNamed || read.kind == Kind::kRequired;
  if (must_call && !has_tools) Refuse("tool_choice", "'tool_choice' asks for a call, but there are no 'tools'");
  return read;
}

void CheckNamed(const ToolChoice& choice, const Json& tools) {
  if (choice.kind != ToolChoice::Kind::kNamed) return;
  for (const Json& tool : tools) {
    if (tool["function"]["name"] == choice.name) return;
  }
  Refuse("tool_choice", fmt::format("'tool_choice' names '{}', which is not among the tools", OneLine(choice.name)));
}

ChatMessage ReadMessage(const Fields& message) {
  ChatMessage read;
  read.role = message.NeedText("role");
  if (read.role == "developer") read.role = "system";
  constexpr std::array<std::string_view, 4> kRoles = {"system", "user", "assistant", "tool"};
  if (std::find(kRoles.begin(), kRoles.end(), read.role) == kRoles.end()) {
    Refuse(message.Path("role"),
           fmt::format("'{}' must be \"system\", \"developer\", \"user\", \"assistant\" or \"tool\", not '{}'",
                       message.Path("role"), OneLine(read.role)));
  }
  const bool assistant = read.role == "assistant";
  if (!assistant && !message.Has("content")) {
    Refuse(message.Path("content"), fmt::format("'{}' is missing", message.Path("content")));
  }
  read.content = ReadContent(message, "content", {"text"});
  if (assistant) {
    read.thinking = message.Text("reasoning_content").value_or("");
    read.tool_calls = ReadToolCalls(message);
    RefuseFields(message, {{"function_call", "use tool_calls"}, {"audio", "this server has no audio"}});
  }
  if (read.role == "tool") {
    read.tool_call_id = message.NeedText("tool_call_id");
    read.tool_name = message.Text("name").value_or("");
  }
  return read;
}

std::optional<bool> ReadThink(const Fields& fields) {
  if (const auto arguments = fields.Object("chat_template_kwargs")) {
    if (const auto thinking = arguments->Boolean("enable_thinking")) return thinking;
  }
  const auto effort = fields.Text("reasoning_effort");
  if (!effort) return std::nullopt;
  constexpr std::array<std::string_view, 6> kEfforts = {"none", "minimal", "low", "medium", "high", "xhigh"};
  if (std::find(kEfforts.begin(), kEfforts.end(), *effort) == kEfforts.end()) {
    Refuse("reasoning_effort", "'reasoning_effort' must be none, minimal, low, medium, high or xhigh");
  }
  return *effort != "none";
}

void CheckModalities(const Fields& fields) {
  const Json* modalities = fields.Array("modalities");
  if (modalities == nullptr) return;
  for (const Json& modality : *modalities) {
    if (modality != "text") RefuseUnsupported("modalities", "'modalities' may be [\"text\"] only");
  }
}

void ReadChatLogProbabilities(const Fields& fields, GenerateOptions* options) {
  options->log_probabilities = fields.Boolean("logprobs").value_or(false);
  const auto likeliest = fields.Integer("top_logprobs", 0, kMostLikeliest);
  if (!likeliest) return;
  if (!options->log_probabilities && *likeliest > 0) Refuse("top_logprobs", "'top_logprobs' needs 'logprobs': true");
  options->likeliest = static_cast<int>(*likeliest);
}

/// One prompt in any of its four forms.
std::variant<ChatInput, TextInput, TokenInput> ReadPrompt(const Json& prompt, const std::string& field,
                                                          const std::string& suffix) {
  if (prompt.is_string()) return TextInput{prompt.get<std::string>(), suffix};
  if (!prompt.is_array() || prompt.empty()) {
    Refuse(field,
           fmt::format("'{}' must be a string, a list of strings, token ids, or a list of lists of them", field));
  }
  if (!suffix.empty()) Refuse("suffix", "'suffix' needs a prompt of text");
  return TokenInput{ReadTokens(prompt, field)};
}

}  // namespace

void NameToolResults(std::vector<ChatMessage>* messages) {
  std::unordered_map<std::string, std::string> names;
  for (ChatMessage& message : *messages) {
    for (const constrain::ToolCall& call : message.tool_calls) names[call.id] = call.name;
    if (message.role != "tool" || !message.tool_name.empty()) continue;
    const auto found = names.find(message.tool_call_id);
    if (found != names.end()) message.tool_name = found->second;
  }
}

std::optional<AnswerFormat> ReadResponseFormat(const Fields& format) {
  const std::string type = format.NeedText("type");
  if (type == "text") return std::nullopt;
  if (type == "json_object") return AnswerFormat{AnswerFormat::Kind::kJson, ""};
  if (type != "json_schema") {
    RefuseUnsupported(format.Path("type"),
                      fmt::format("'{}' must be \"text\", \"json_object\" or \"json_schema\"", format.Path("type")));
  }
  const auto under = format.Object("json_schema");
  const Fields& holder = under ? *under : format;
  const Json* schema = holder.Find("schema");
  if (schema == nullptr) Refuse(holder.Path("schema"), fmt::format("'{}' is missing", holder.Path("schema")));
  holder.Boolean("strict");  // it is enforced in any case
  return CheckedFormat({AnswerFormat::Kind::kJsonSchema, Dump(*schema)}, holder.Path("schema"));
}

OpenAiAsk ParseOpenAiChat(std::string_view body) {
  const Json json = ParseBody(body);
  return ReadOpenAiChat(Fields(json, ""));
}

OpenAiAsk ReadOpenAiChat(const Fields& fields, const std::string& model) {
  GenerateRequest request;
  OpenAiAsk ask = ReadCommon(fields, model, &request);
  CheckModalities(fields);
  RefuseFields(fields, {{"functions", "use tools"},
                        {"function_call", "use tool_choice"},
                        {"audio", "this server has no audio"},
                        {"web_search_options", "this server searches no web"}});
  ChatInput input;
  const Json& messages = fields.NeedArray("messages");
  if (messages.empty()) Refuse("messages", "'messages' must hold at least one message");
  for (size_t i = 0; i < messages.size(); ++i) {
    input.messages.push_back(ReadMessage(Fields(messages[i], ItemPath("messages", i))));
  }
  NameToolResults(&input.messages);
  input.tools = ReadTools(fields, "tools");
  input.tool_choice = ReadToolChoice(fields, !input.tools.is_null());
  CheckNamed(input.tool_choice, input.tools);
  input.parallel_tool_calls = fields.Boolean("parallel_tool_calls").value_or(true);
  input.think = ReadThink(fields);
  if (const auto chat_template = fields.Text("chat_template")) input.chat_template = *chat_template;
  auto most = ReadMaxTokens(fields, "max_completion_tokens");
  const auto most_old = ReadMaxTokens(fields, "max_tokens");
  request.options.max_tokens = most ? most : most_old;
  ReadChatLogProbabilities(fields, &request.options);
  ask.shape.log_probabilities = request.options.log_probabilities;
  request.input = std::move(input);
  ask.requests.push_back(std::move(request));
  return ask;
}

OpenAiAsk ParseOpenAiCompletion(std::string_view body) {
  const Json json = ParseBody(body);
  const Fields fields(json, "");
  GenerateRequest request;
  OpenAiAsk ask = ReadCommon(fields, "", &request);
  GenerateOptions& options = request.options;
  if (const auto best_of = fields.Integer("best_of", 1, kMostSamples); best_of && *best_of != options.samples) {
    RefuseUnsupported("best_of", "'best_of' other than 'n' is not supported");
  }
  ask.shape.echo = fields.Boolean("echo").value_or(false);
  // 16 is what OpenAI's API promises where nothing is said.
  const int most = ReadMaxTokens(fields, "max_tokens", 0).value_or(16);
  ask.shape.want_text = most > 0;
  if (!ask.shape.want_text && !ask.shape.echo) Refuse("max_tokens", "'max_tokens' may be 0 only with 'echo'");
  options.max_tokens = std::max(most, 1);
  if (const auto likeliest = fields.Integer("logprobs", 0, kMostLikeliest)) {
    options.log_probabilities = true;
    options.likeliest = static_cast<int>(*likeliest);
    options.prompt_log_probabilities = ask.shape.echo;
    ask.shape.log_probabilities = true;
  }
  const std::string suffix = fields.Text("suffix").value_or("");
  const Json* prompt = fields.Find("prompt");
  if (prompt == nullptr) Refuse("prompt", "'prompt' is missing");
  const bool is_list = prompt->is_array() && !prompt->empty() && !prompt->front().is_number();
  const size_t count = is_list ? prompt->size() : 1;
  if (count > kMostPrompts) Refuse("prompt", fmt::format("'prompt' may hold {} prompts at most", kMostPrompts));
  for (size_t i = 0; i < count; ++i) {
    request.input =
        is_list ? ReadPrompt((*prompt)[i], ItemPath("prompt", i), suffix) : ReadPrompt(*prompt, "prompt", suffix);
    ask.requests.push_back(request);
  }
  ask.shape.prompts = count;
  return ask;
}

}  // namespace edgellm::api
