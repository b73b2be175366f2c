// OpenAI's /v1/responses, from its JSON to what is asked for. Stateless: nothing is stored, so that whatever refers to
// an earlier response is refused.
#pragma once

#include <string_view>

#include "api/json_text.h"
#include "serve/generate.h"
#include "serve/model_host.h"

namespace edgellm::api {

struct ResponsesAsk {
  LoadRequest load;
  GenerateRequest request;
  bool stream = false;
  Json echo;  // the request's own settings, as the response object repeats them
};

/// Throws RequestError.
ResponsesAsk ParseResponses(std::string_view body);

}  // namespace edgellm::api
