// Anthropic's /v1/messages, from its JSON to what is asked for.
#pragma once

#include <string_view>

#include "serve/generate.h"
#include "serve/model_host.h"

namespace edgellm::api {

struct AnthropicAsk {
  LoadRequest load;
  GenerateRequest request;
  bool stream = false;
};

/// Throws RequestError. `count`: for /v1/messages/count_tokens, where no answer is asked for and max_tokens may be
/// missing.
AnthropicAsk ParseAnthropic(std::string_view body, bool count = false);

}  // namespace edgellm::api
