// Why there is no answer, or no more of it, and how each API says so: status, headers and body of an HTTP answer, and
// the error object inside a stream.
//   Ollama     {"error": "text"}
//   OpenAI     {"error": {"message", "type", "param", "code"}}
//   Anthropic  {"type": "error", "error": {"type", "message"}}
#pragma once

#include <exception>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http/exchange.h"

namespace edgellm::api {

/// How far it had come: the same code means other things for a request than for a model that is loaded.
enum class Stage : uint8_t {
  kRequest,  // the request was read, a prompt was made of it
  kLoad,     // the model was looked for and loaded
  kAnswer,   // the answer was being made
  kMissing,  // this server cannot do it at all
};

struct Failure {
  Stage stage = Stage::kRequest;
  ErrorCode code = ErrorCode::kInvalidArgument;
  std::string message;  // one line, for people
  std::string field;    // of the request, where it is known
};

/// What was thrown. `model`: as the request names it.
Failure FailureOf(const std::exception_ptr& thrown, Stage stage, std::string_view model = {});

enum class ErrorForm : uint8_t { kOllama, kOpenAi, kAnthropic };

/// By the path of a request: what /api/… , /v1/messages… and everything else expect.
ErrorForm FormOf(std::string_view path);

int StatusOf(const Failure& failure, ErrorForm form);
/// The body, without a newline.
std::string ErrorBody(const Failure& failure, ErrorForm form);
http::Reply ErrorReply(const Failure& failure, ErrorForm form);
/// For what the server itself refuses (no such route, too large, not allowed): the same bodies by status.
http::Reply ErrorReply(int status, std::string_view message, ErrorForm form);

}  // namespace edgellm::api
