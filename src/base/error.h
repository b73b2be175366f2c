// Errors: what a user, a file or the environment did wrong is an Error with a code and one line of text; what we did
// wrong ends the program through EDGELLM_CHECK. Nothing that comes from outside may reach a CHECK.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace edgellm {

enum class ErrorCode {
  kInvalidArgument,  // the caller asked for something that makes no sense
  kNotFound,         // no such file, model, tensor
  kCorrupt,          // a file is damaged, cut short, or contradicts itself
  kUnsupported,      // well-formed, but not something this program handles
  kIo,               // the system refused to read or write
  kLimit,            // a limit was reached: memory, context length, template steps
  kEnvironment,      // the machine lacks what was asked for (a device, an instruction set)
  kBusy,             // nothing is wrong with the request, but there is no room for it now: to be tried again later
};

/// The one exception type. what() is one line without a trailing newline, fit to be shown to the user as it is.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

/// Throws an Error whose text is built as fmt::format builds it.
template <typename... Args>
[[noreturn]] void Fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

[[noreturn]] void CheckFailed(const char* file, int line, const char* condition, const char* message);

}  // namespace edgellm

/// Ends the program when `condition` is false: for states that only our own mistake can bring about.
#define EDGELLM_CHECK(condition, message)              \
  (static_cast<bool>(condition) ? static_cast<void>(0) \
                                : ::edgellm::CheckFailed(__FILE__, __LINE__, #condition, message))
