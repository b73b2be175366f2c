// What Anthropic's /v1/messages answers: named server-sent events, or one message.
#pragma once

#include <memory>
#include <string>

#include "api/answering.h"

namespace edgellm::api {

std::unique_ptr<StreamWriter> AnthropicStream(std::string model);
std::string AnthropicBody(const std::string& model, const Opening& opening, const WholeAnswer& answer);

}  // namespace edgellm::api
