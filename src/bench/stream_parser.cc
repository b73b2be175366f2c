// See stream_parser.h.
#include "bench/stream_parser.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/json_fields.h"

namespace edgellm {
namespace {

using Json = nlohmann::json;

constexpr size_t kMostLine = size_t{1} << 20;

/// A member of an object, or null: foreign JSON may be of any shape.
const Json& Member(const Json& json, const char* key) {
  static const Json kNull;
  if (!json.is_object()) return kNull;
  const auto found = json.find(key);
  return found == json.end() ? kNull : *found;
}

void AppendText(const Json& json, const char* key, std::string* out) {
  const Json& text = Member(json, key);
  if (text.is_string()) *out += text.get_ref<const std::string&>();
}

std::optional<int64_t> Count(const Json& json, const char* key) {
  const Json& count = Member(json, key);
  if (!count.is_number_integer()) return std::nullopt;
  const auto value = count.get<int64_t>();
  return value < 0 ? std::nullopt : std::optional(value);
}

/// Empty where there is no error.
std::string ErrorOf(const Json& json) {
  const Json& error = Member(json, "error");
  if (error.is_null()) return {};
  if (error.is_string()) return OneLine(error.get_ref<const std::string&>());
  const Json& message = Member(error, "message");
  return OneLine(message.is_string() ? message.get_ref<const std::string&>() : error.dump());
}

/// Ollama: /api/generate has "response", /api/chat has "message".
StreamEvent OllamaEvent(const Json& json) {
  StreamEvent event;
  for (const Json* part : {&json, &Member(json, "message")}) {
    for (const char* key : {"thinking", "response", "content"}) AppendText(*part, key, &event.text);
  }
  event.prompt_tokens = Count(json, "prompt_eval_count");
  event.generated_tokens = Count(json, "eval_count");
  return event;
}

/// OpenAI: completions have "text" in a choice, chats have "delta". Counts come in "usage", on a last chunk without
/// choices.
StreamEvent OpenAiEvent(const Json& json, bool* finished) {
  StreamEvent event;
  const Json& choices = Member(json, "choices");
  if (choices.is_array()) {
    for (const Json& choice : choices) {
      AppendText(choice, "text", &event.text);
      for (const char* key : {"reasoning_content", "reasoning", "content"}) {
        AppendText(Member(choice, "delta"), key, &event.text);
      }
      if (Member(choice, "finish_reason").is_string()) *finished = true;
    }
  }
  event.prompt_tokens = Count(Member(json, "usage"), "prompt_tokens");
  event.generated_tokens = Count(Member(json, "usage"), "completion_tokens");
  return event;
}

}  // namespace

StreamParser::StreamParser(StreamFormat format, std::string name) : format_(format), name_(std::move(name)) {}

std::vector<StreamEvent> StreamParser::Push(std::string_view bytes) {
  std::vector<StreamEvent> events;
  while (!ended_ && !bytes.empty()) {
    const size_t end = bytes.find('\n');
    line_.append(bytes.substr(0, end));
    if (line_.size() > kMostLine) Fail(ErrorCode::kLimit, "{}: a line of more than 1 MiB in the stream", name_);
    if (end == bytes.npos) break;
    bytes.remove_prefix(end + 1);
    ReadLine(std::exchange(line_, {}), &events);
  }
  return events;
}

std::vector<StreamEvent> StreamParser::Finish() {
  std::vector<StreamEvent> events;
  if (!ended_ && !line_.empty()) ReadLine(std::exchange(line_, {}), &events);
  if (!ended_ && format_ == StreamFormat::kServerEvents) ReadLine("", &events);
  if (!ended_ && !finished_) Fail(ErrorCode::kIo, "{}: the stream was cut before its end", name_);
  return events;
}

void StreamParser::ReadLine(std::string_view line, std::vector<StreamEvent>* events) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (format_ == StreamFormat::kServerEvents) {
    ReadEventLine(line, events);
  } else if (line.find_first_not_of(" \t") != line.npos) {
    ReadObject(line, events);
  }
}

void StreamParser::ReadEventLine(std::string_view line, std::vector<StreamEvent>* events) {
  if (line.empty()) {  // ends an event
    const std::string data = std::exchange(data_, {});
    if (data == "[DONE]") {
      ended_ = true;
    } else if (!data.empty()) {
      ReadObject(data, events);
    }
    return;
  }
  const size_t colon = line.find(':');
  const std::string_view field = line.substr(0, colon);
  std::string_view value = colon == line.npos ? std::string_view() : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "data") {
    if (!data_.empty()) data_ += '\n';
    data_ += value;
    if (data_.size() > kMostLine) Fail(ErrorCode::kLimit, "{}: an event of more than 1 MiB in the stream", name_);
  } else if (field == "error") {  // llama.cpp's server has such a field
    Fail(ErrorCode::kIo, "{}: the server reports: {}", name_, ServerMessage(value));
  } else if (line.starts_with('{')) {  // a failure that came too late for a status, or a server that does not stream
    Fail(ErrorCode::kIo, "{}: the server reports: {}", name_, ServerMessage(line));
  }
}

void StreamParser::ReadObject(std::string_view text, std::vector<StreamEvent>* events) {
  const Json json = ParseJson<Json>(text, name_);
  if (!json.is_object()) Fail(ErrorCode::kCorrupt, "{}: the stream has something that is no JSON object", name_);
  if (const std::string error = ErrorOf(json); !error.empty()) {
    Fail(ErrorCode::kIo, "{}: the server reports: {}", name_, error);
  }
  if (format_ == StreamFormat::kServerEvents) {
    events->push_back(OpenAiEvent(json, &finished_));
  } else {
    events->push_back(OllamaEvent(json));
    ended_ = Member(json, "done") == true;
  }
}

std::string ServerMessage(std::string_view body) {
  try {
    const Json json = ParseJson<Json>(body, "");
    if (std::string error = ErrorOf(json); !error.empty()) return error;
    for (const char* key : {"message", "detail"}) {
      if (Member(json, key).is_string()) return OneLine(Member(json, key).get_ref<const std::string&>());
    }
  } catch (const Error&) {  // not JSON: a proxy's page, a plain text
  }
  while (!body.empty() && (body.back() == '\n' || body.back() == '\r')) body.remove_suffix(1);
  return body.empty() ? "(nothing more was said)" : OneLine(body);
}

void FailStatus(const std::string& url, long status, std::string_view body) {
  const ErrorCode code = status == 404  ? ErrorCode::kNotFound
                         : status < 500 ? ErrorCode::kInvalidArgument
                                        : ErrorCode::kIo;
  Fail(code, "{}: HTTP {}: {}", url, status, ServerMessage(body));
}

}  // namespace edgellm
