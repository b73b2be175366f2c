// See access_log.h.
#include "app/access_log.h"

#include <ctime>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "app/format.h"
#include "app/terminal.h"

namespace edgellm::app {
namespace {

constexpr size_t kMostWaiting = size_t{1} << 20;  // bytes
constexpr size_t kLongestPath = 200;

/// Printable ASCII without spaces; everything else as \xHH.
std::string Plain(std::string_view text) {
  std::string plain;
  for (const char c : text.substr(0, kLongestPath)) {
    if (c > ' ' && c < 0x7f && c != '\\') {
      plain += c;
    } else {
      plain += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return plain.empty() ? "-" : plain;
}

}  // namespace

std::string AccessLine(const http::AccessRecord& record, int64_t unix_seconds) {
  return fmt::format("{} {} {} {} {}{} {} {} {}\n", Rfc3339(unix_seconds), Plain(record.peer), Plain(record.method),
                     Plain(record.path), record.status, record.complete ? "" : " cut", HumanBytes(record.bytes),
                     HumanDuration(record.duration.count()), Plain(record.id));
}

AccessLog::AccessLog() : thread_([this] { Main(); }) {}

AccessLog::~AccessLog() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void AccessLog::Add(const http::AccessRecord& record) {
  const std::string line = AccessLine(record, std::time(nullptr));
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() + line.size() > kMostWaiting) {
      ++dropped_;
      return;
    }
    waiting_ += line;
  }
  changed_.notify_one();
}

void AccessLog::Main() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return ending_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    std::string lines = std::exchange(waiting_, {});
    if (dropped_ != 0) lines += fmt::format("{} lines of the log were dropped\n", std::exchange(dropped_, 0));
    lock.unlock();
    WriteDiagnostic(lines);
    lock.lock();
  }
}

}  // namespace edgellm::app
