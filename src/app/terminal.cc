// See terminal.h.
#include "app/terminal.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace edgellm::app {
namespace {

// The one global: a signal handler can reach nothing else.
volatile std::sig_atomic_t pending_signal = 0;

void Remember(int signal) {
  pending_signal = signal;
}

/// 0, or the errno of the write that failed.
int WriteAll(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = write(descriptor, text.data(), text.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return errno;
    text.remove_prefix(static_cast<size_t>(wrote));
  }
  return 0;
}

}  // namespace

void WriteOutput(std::string_view text) {
  const int failed = WriteAll(STDOUT_FILENO, text);
  if (failed == EPIPE) throw BrokenPipe();
  if (failed != 0) Fail(ErrorCode::kIo, "cannot write to standard output: {}", std::strerror(failed));
}

void WriteJson(const nlohmann::ordered_json& json) {
  WriteOutput(json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

void WriteNote(std::string_view text) {
  WriteDiagnostic("note: " + std::string(text) + "\n");
}

void WriteDiagnostic(std::string_view text) {
  WriteAll(STDERR_FILENO, text);
}

bool InputIsTerminal() {
  return isatty(STDIN_FILENO) == 1;
}
bool OutputIsTerminal() {
  return isatty(STDOUT_FILENO) == 1;
}
bool ErrorIsTerminal() {
  return isatty(STDERR_FILENO) == 1;
}

void CatchSignals(bool again_kills) {
  struct sigaction action {};
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
  action.sa_handler = Remember;
  // No SA_RESTART: a read from the terminal or a pipe has to return, so that the flag is looked at.
  action.sa_flags = again_kills ? static_cast<int>(SA_RESETHAND) : 0;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

int PendingSignal() {
  return pending_signal;
}
void ForgetSignal() {
  pending_signal = 0;
}

void CheckInterrupt() {
  if (PendingSignal() != 0) throw Interrupted();
}

void EndBySignal(int signal) {
  std::signal(signal, SIG_DFL);
  std::raise(signal);
  _exit(128 + signal);  // where the signal is blocked
}

}  // namespace edgellm::app
