// See failure.h.
#include "api/failure.h"

#include "api/json_input.h"
#include "api/json_text.h"

namespace edgellm::api {
namespace {

constexpr std::string_view kOllamaBusy = "server busy, please try again.  maximum pending requests exceeded";

struct Kind {
  int status;
  const char* openai;       // the type
  const char* openai_code;  // null: none
  const char* anthropic;    // the type
};

constexpr Kind kKinds[] = {
    {400, "invalid_request_error", nullptr, "invalid_request_error"},
    {401, "authentication_error", "invalid_api_key", "authentication_error"},
    {403, "permission_error", nullptr, "permission_error"},
    {404, "not_found_error", nullptr, "not_found_error"},
    {405, "invalid_request_error", nullptr, "invalid_request_error"},
    {413, "invalid_request_error", "request_too_large", "request_too_large"},
    {429, "rate_limit_exceeded", nullptr, "rate_limit_error"},
    {501, "not_implemented_error", "not_implemented", "api_error"},
    {503, "server_error", "unavailable", "overloaded_error"},
    {529, "server_error", "overloaded", "overloaded_error"},
};
constexpr Kind kOther = {500, "api_error", nullptr, "api_error"};

const Kind& KindOf(int status) {
  for (const Kind& kind : kKinds) {
    if (kind.status == status) return kind;
  }
  return kOther;
}

std::string Body(int status, std::string_view message, std::string_view field, const char* code, ErrorForm form) {
  const Kind& kind = KindOf(status);
  switch (form) {
    case ErrorForm::kOllama:
      return Dump({{"error", message}});
    case ErrorForm::kAnthropic:
      return Dump({{"type", "error"}, {"error", {{"type", kind.anthropic}, {"message", message}}}});
    case ErrorForm::kOpenAi:
      break;
  }
  if (code == nullptr) code = kind.openai_code;
  Json error = {{"message", message}, {"type", kind.openai}, {"param", nullptr}, {"code", nullptr}};
  if (!field.empty()) error["param"] = field;
  if (code != nullptr) error["code"] = code;
  return Dump({{"error", std::move(error)}});
}

/// A code for programs, where the type says too little.
const char* CodeOf(const Failure& failure) {
  if (failure.stage == Stage::kLoad && failure.code == ErrorCode::kNotFound) return "model_not_found";
  if (failure.stage == Stage::kRequest && failure.code == ErrorCode::kLimit && failure.field.empty()) {
    return "context_length_exceeded";
  }
  if (failure.code == ErrorCode::kBusy) return "server_busy";
  return nullptr;
}

std::string_view MessageOf(const Failure& failure, ErrorForm form) {
  // Ollama's clients look for its own words.
  const bool queue_full = failure.code == ErrorCode::kBusy && failure.stage != Stage::kAnswer;
  return form == ErrorForm::kOllama && queue_full ? kOllamaBusy : std::string_view(failure.message);
}

}  // namespace

Failure FailureOf(const std::exception_ptr& thrown, Stage stage, std::string_view model) {
  try {
    std::rethrow_exception(thrown);
  } catch (const RequestError& error) {
    return {Stage::kRequest, error.code(), error.what(), error.field()};
  } catch (const Error& error) {
    if (stage == Stage::kLoad && error.code() == ErrorCode::kNotFound) {
      return {stage, error.code(), fmt::format("model '{}' not found", model), "model"};
    }
    return {stage, error.code(), error.what(), ""};
  } catch (const std::exception& error) {
    return {Stage::kAnswer, ErrorCode::kEnvironment, error.what(), ""};
  }
}

ErrorForm FormOf(std::string_view path) {
  if (path.starts_with("/v1/messages")) return ErrorForm::kAnthropic;
  return path.starts_with("/v1/") ? ErrorForm::kOpenAi : ErrorForm::kOllama;
}

int StatusOf(const Failure& failure, ErrorForm form) {
  if (failure.stage == Stage::kMissing) return 501;
  if (failure.code == ErrorCode::kBusy) {
    switch (form) {
      case ErrorForm::kOllama:
        return 503;
      case ErrorForm::kAnthropic:
        return 529;
      case ErrorForm::kOpenAi:
        break;
    }
    return failure.stage == Stage::kAnswer ? 503 : 429;
  }
  if (failure.stage == Stage::kAnswer) return 500;
  switch (failure.code) {
    case ErrorCode::kInvalidArgument:
      return 400;
    case ErrorCode::kNotFound:
      return failure.stage == Stage::kLoad ? 404 : 400;
    case ErrorCode::kUnsupported:
    case ErrorCode::kLimit:
      return failure.stage == Stage::kRequest ? 400 : 500;
    default:
      return 500;
  }
}

std::string ErrorBody(const Failure& failure, ErrorForm form) {
  return Body(StatusOf(failure, form), MessageOf(failure, form), failure.field, CodeOf(failure), form);
}

http::Reply ErrorReply(const Failure& failure, ErrorForm form) {
  http::Reply reply{.status = StatusOf(failure, form), .body = ErrorBody(failure, form)};
  if (failure.code == ErrorCode::kBusy) reply.headers.emplace_back("retry-after", "1");
  return reply;
}

http::Reply ErrorReply(int status, std::string_view message, ErrorForm form) {
  return {.status = status, .body = Body(status, message, "", nullptr, form)};
}

}  // namespace edgellm::api
