// See request_parts.h.
#include "api/request_parts.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "model/json_fields.h"
#include "serve/serve_settings.h"

namespace edgellm::api {
namespace {

constexpr size_t kMostTools = 512;
constexpr size_t kMostStops = 64;
constexpr double kLarge = 1e6;  // the engine's own bound

bool IsFunctionName(std::string_view name) {
  const auto fits = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-' ||
           c == '.' || c == ':' || c == '/';
  };
  return !name.empty() && name.size() <= 256 && std::all_of(name.begin(), name.end(), fits);
}

void CheckFunction(const Fields& function, std::set<std::string>* names) {
  const std::string name = function.NeedName("name");
  if (!IsFunctionName(name)) {
    Refuse(function.Path("name"),
           fmt::format("'{}' must be a name of letters, digits, '_', '-', '.', ':' and '/'", function.Path("name")));
  }
  if (!names->insert(name).second) {
    Refuse(function.Path("name"), fmt::format("'{}': there are two functions '{}'", function.Path("name"), name));
  }
  function.Text("description");
  function.Object("parameters");
}

void ReadBias(const Fields& fields, GenerateOptions* options) {
  const auto bias = fields.Object("logit_bias");
  if (!bias) return;
  for (const auto& [key, value] : bias->object().items()) {
    int32_t token = -1;
    const auto [end, failed] = std::from_chars(key.data(), key.data() + key.size(), token);
    if (failed != std::errc() || end != key.data() + key.size() || token < 0) {
      Refuse(bias->Path(key), fmt::format("'{}': keys of logit_bias must be token ids", bias->Path(key)));
    }
    if (const auto number = bias->Number(key, -kLarge, kLarge)) {
      options->logit_bias.push_back({token, static_cast<float>(*number)});
    }
  }
}

std::optional<float> ReadFloat(const Fields& fields, std::string_view key, double least, double most) {
  const auto number = fields.Number(key, least, most);
  return number ? std::optional<float>(static_cast<float>(*number)) : std::nullopt;
}

/// Of a function that says nothing of them: it has none.
Json NoParameters() {
  return {{"type", "object"}, {"properties", Json::object()}};
}

}  // namespace

Json ToolJson(std::string_view name, const std::optional<std::string>& description, const Json* parameters) {
  Json function = {{"name", name}};
  if (description) function["description"] = *description;
  function["parameters"] = parameters != nullptr ? *parameters : NoParameters();
  return {{"type", "function"}, {"function", std::move(function)}};
}

Json ReadTools(const Fields& fields, std::string_view key) {
  const Json* list = fields.Array(key);
  if (list == nullptr || list->empty()) return nullptr;
  if (list->size() > kMostTools) Refuse(fields.Path(key), fmt::format("more than {} tools", kMostTools));
  std::set<std::string> names;
  Json tools = Json::array();
  for (size_t i = 0; i < list->size(); ++i) {
    const Fields tool((*list)[i], ItemPath(fields.Path(key), i));
    if (const std::string type = tool.Text("type").value_or("function"); type != "function") {
      RefuseUnsupported(tool.Path("type"),
                        fmt::format("'{}': only functions are supported, not '{}'", tool.Path("type"), OneLine(type)));
    }
    const Fields function = tool.NeedObject("function");
    CheckFunction(function, &names);
    Json entry = tool.object();
    entry["type"] = "function";
    if (!function.Has("parameters")) entry["function"]["parameters"] = NoParameters();
    tools.push_back(std::move(entry));
  }
  return tools;
}

std::vector<constrain::ToolCall> ReadToolCalls(const Fields& message) {
  std::vector<constrain::ToolCall> calls;
  const Json* list = message.Array("tool_calls");
  if (list == nullptr) return calls;
  if (list->size() > kMostTools) Refuse(message.Path("tool_calls"), fmt::format("more than {} calls", kMostTools));
  for (size_t i = 0; i < list->size(); ++i) {
    const Fields call((*list)[i], ItemPath(message.Path("tool_calls"), i));
    const Fields function = call.NeedObject("function");
    constrain::ToolCall read;
    read.index = static_cast<int>(i);
    read.id = call.Text("id").value_or("");
    read.name = function.NeedName("name");
    const Json* arguments = function.Find("arguments");
    const std::string field = function.Path("arguments");
    if (arguments == nullptr) {
      read.arguments = "{}";
    } else if (arguments->is_object()) {
      read.arguments = Dump(*arguments);
    } else if (arguments->is_string()) {
      read.arguments = ObjectText(arguments->get<std::string>(), field);
    } else {
      Refuse(field, fmt::format("'{}' must be an object, or the JSON text of one", field));
    }
    calls.push_back(std::move(read));
  }
  return calls;
}

AnswerFormat CheckedFormat(AnswerFormat format, const std::string& field) {
  try {
    GrammarOf(format);
  } catch (const RequestError&) {
    throw;
  } catch (const Error& error) {
    throw RequestError(error.code(), field, fmt::format("'{}': {}", field, error.what()));
  }
  return format;
}

void ReadSampling(const Fields& fields, GenerateOptions* options) {
  options->temperature = ReadFloat(fields, "temperature", 0, 100);
  options->top_p = ReadFloat(fields, "top_p", 0, 1);
  if (options->top_p == 0.0f) options->top_p = 1e-6f;  // as OpenAI's: nothing but the likeliest
  options->min_p = ReadFloat(fields, "min_p", 0, 1);
  options->presence_penalty = ReadFloat(fields, "presence_penalty", -kLarge, kLarge);
  options->frequency_penalty = ReadFloat(fields, "frequency_penalty", -kLarge, kLarge);
  options->repetition_penalty = ReadFloat(fields, "repetition_penalty", 1e-6, kLarge);
  if (const auto top_k = fields.Integer("top_k", -1, INT32_MAX)) options->top_k = std::max(0, static_cast<int>(*top_k));
  if (const auto seed = fields.Integer("seed", INT64_MIN, INT64_MAX)) options->seed = static_cast<uint64_t>(*seed);
  options->stop = fields.Texts("stop", kMostStops);
  options->ignore_eos = fields.Boolean("ignore_eos").value_or(false);
  options->min_tokens = static_cast<int>(fields.Integer("min_tokens", 0, INT32_MAX).value_or(0));
  ReadBias(fields, options);
}

std::optional<int> ReadMaxTokens(const Fields& fields, std::string_view key, int least) {
  const auto number = fields.Integer(key, least, INT32_MAX);
  return number ? std::optional<int>(static_cast<int>(*number)) : std::nullopt;
}

Priority ReadPriority(const Fields& fields) {
  const auto name = fields.Text("priority");
  if (!name || *name == "normal") return Priority::kNormal;
  if (*name == "interactive") return Priority::kInteractive;
  if (*name == "batch") return Priority::kBatch;
  Refuse(fields.Path("priority"), "'priority' must be \"interactive\", \"normal\" or \"batch\"");
}

std::optional<KeepAlive> ReadKeepAlive(const Fields& fields, std::string_view key) {
  const Json* value = fields.Find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) {
    try {
      return ParseDuration(value->get_ref<const std::string&>());
    } catch (const Error& error) {
      Refuse(fields.Path(key), fmt::format("'{}': {}", fields.Path(key), OneLine(error.what())));
    }
  }
  if (!value->is_number()) {
    Refuse(fields.Path(key), fmt::format("'{}' must be seconds or a duration like \"5m\"", fields.Path(key)));
  }
  const auto seconds = value->get<double>();
  constexpr double kForEver = 1e9;  // thirty years
  if (seconds < 0 || seconds > kForEver) return KeepAlive(-1);
  return KeepAlive(std::llround(seconds * 1e9));
}

std::string ReadContent(const Fields& message, std::string_view key, std::vector<std::string_view> text_types) {
  const Json* value = message.Find(key);
  if (value == nullptr) return "";
  if (value->is_string()) return value->get<std::string>();
  if (!value->is_array()) {
    Refuse(message.Path(key), fmt::format("'{}' must be a string or a list of parts", message.Path(key)));
  }
  std::string content;
  for (size_t i = 0; i < value->size(); ++i) {
    const Fields part((*value)[i], ItemPath(message.Path(key), i));
    const std::string type = part.NeedText("type");
    if (std::find(text_types.begin(), text_types.end(), type) == text_types.end()) {
      RefuseUnsupported(part.Path("type"),
                        fmt::format("'{}': this server reads text only, not '{}'", part.Path("type"), OneLine(type)));
    }
    if (i > 0) content += '\n';
    content += part.NeedText("text");
  }
  return content;
}

ChatMessage MessageOf(std::string role, std::string content) {
  ChatMessage message;
  message.role = std::move(role);
  message.content = std::move(content);
  return message;
}

std::vector<int32_t> ReadTokens(const Json& list, const std::string& field) {
  std::vector<int32_t> tokens;
  tokens.reserve(list.size());
  for (const Json& item : list) {
    if (!item.is_number_unsigned() || item.get<uint64_t>() > INT32_MAX) {
      Refuse(field, fmt::format("'{}' must hold token ids only", field));
    }
    tokens.push_back(static_cast<int32_t>(item.get<uint64_t>()));
  }
  return tokens;
}

}  // namespace edgellm::api
