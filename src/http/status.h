// Statuses of HTTP: which one an Error becomes, what they are called, and the head of an answer. Pure functions.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http/exchange.h"

namespace edgellm::http {

/// What a handler's Error becomes:
///   kInvalidArgument 400, kLimit 400 (a prompt longer than the context, with its numbers), kUnsupported 400 (a schema,
///   an option or a model's ability that is not there), kNotFound 404, kBusy 503 with `retry-after: 1`, and 500 for
///   what is no fault of the request: kCorrupt, kIo, kEnvironment.
int StatusOf(ErrorCode code);

std::string_view ReasonPhrase(int status);

/// What went wrong, for the function that writes the body of an error: each API has its own form.
struct ErrorReport {
  std::string_view path;  // of the request, decoded; empty where there was none
  int status = 500;
  std::string_view message;  // one line, for people
};
/// `status` of the reply is set by the server afterwards.
using ErrorBody = std::function<Reply(const ErrorReport& report)>;

/// {"error": "message"}, as Ollama has it.
Reply PlainErrorBody(const ErrorReport& report);

struct HeadFacts {
  int status = 200;
  bool http_1_1 = true;
  bool keep_alive = true;
  std::optional<uint64_t> length;  // of the body; absent: chunked, or until the end of the connection
  bool chunked = false;
  std::string_view content_type;
};
/// Status line and headers, with the empty line. `more` stands last; names and values that would break the head (line
/// ends, control characters) are left out.
std::string ResponseHead(const HeadFacts& facts, const Headers& more);

/// True for what may stand in x-request-id: up to 128 letters, digits, '-', '_', '.', ':'.
bool IsSaneId(std::string_view id);

}  // namespace edgellm::http
