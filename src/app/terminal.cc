// See terminal.h.
#include "app/terminal.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"

namespace edgellm::app {
namespace {

// Globals, for a signal handler can reach nothing else.
static_assert(std::atomic<int>::is_always_lock_free, "signal handlers must not wait");
std::atomic<int> pending_signal = 0;  // a signal may come to any thread
int signal_event = -1;                // an eventfd, readable while a signal is pending

void Remember(int signal) {
  const int before = errno;
  pending_signal = signal;
  const uint64_t one = 1;
  if (signal_event >= 0 && write(signal_event, &one, sizeof one) < 0) {
    // Full: then it is readable, which is all that is wanted.
  }
  errno = before;
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

std::string ReadInput(size_t max_bytes) {
  CheckInterrupt();
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, SIG_DFL);
  std::string text = ReadStandardInput(max_bytes);
  CatchSignals(/*again_kills=*/true);
  return text;
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

void OpenMissingStreams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    // Opened for reading alone, so that output that has nowhere to go still is an error.
    if (fcntl(stream, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != stream) _exit(1);
  }
}

void CatchSignals(bool again_kills) {
  if (signal_event < 0) signal_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
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
  uint64_t count = 0;
  if (read(signal_event, &count, sizeof count) < 0) return;  // there was none
}

void WaitForSignal() {
  pollfd event{signal_event, POLLIN, 0};
  while (PendingSignal() == 0) poll(&event, 1, -1);
}

bool WaitForKey() {
  pollfd events[] = {{STDIN_FILENO, POLLIN, 0}, {signal_event, POLLIN, 0}};
  while (PendingSignal() == 0 && poll(events, 2, -1) < 0 && errno == EINTR) {
  }
  return PendingSignal() == 0;
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
