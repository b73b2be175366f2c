// OpenAI's chat and text completions, from their JSON to what is asked for. Fields are those of OpenAI's API, and some
// that other servers added; docs/api.md lists them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/generate.h"
#include "serve/model_host.h"

namespace edgellm::api {

class Fields;

/// What the answer looks like.
struct OpenAiShape {
  std::string model;
  size_t prompts = 1, samples = 1;
  bool include_usage = false;  // a stream ends with it
  bool log_probabilities = false;
  // Text completions alone.
  bool echo = false;
  bool want_text = true;  // false: max_tokens is 0, the prompt alone is looked at
};

struct OpenAiAsk {
  LoadRequest load;
  std::vector<GenerateRequest> requests;  // one for each prompt
  bool stream = false;
  OpenAiShape shape;
};

/// Both throw RequestError.
OpenAiAsk ParseOpenAiChat(std::string_view body);
OpenAiAsk ParseOpenAiCompletion(std::string_view body);

/// A chat's fields, of whatever message has them. `model`: where the message names none.
OpenAiAsk ReadOpenAiChat(const Fields& fields, const std::string& model = "");

/// Gives results of tools the names of the functions that their calls name, for templates that want them.
void NameToolResults(std::vector<ChatMessage>* messages);

/// `response_format` or, for another API, what stands in its place: {"type": "text" | "json_object" | "json_schema",
/// …}; the schema is under "json_schema", or beside the type.
std::optional<AnswerFormat> ReadResponseFormat(const Fields& format);

}  // namespace edgellm::api
