// What OpenAI's /v1/responses answers: named server-sent events, or one response object.
#pragma once

#include <memory>
#include <string>

#include "api/answering.h"
#include "api/json_text.h"

namespace edgellm::api {

struct ResponsesShape {
  std::string model;
  Json echo;  // ResponsesAsk::echo
};

std::unique_ptr<StreamWriter> ResponsesStream(ResponsesShape shape);
std::string ResponsesBody(const ResponsesShape& shape, const Opening& opening, const WholeAnswer& answer);

}  // namespace edgellm::api
