// One line for each request, on standard error: when, who, what, how it ended, how long it took. Never bodies, queries
// or keys. A thread of its own writes, so that a terminal or pipe that is stuck holds up nobody's answer.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "http/server.h"

namespace edgellm::app {

/// "2026-10-31T12:00:00Z 127.0.0.1 POST /api/chat 200 5.1 kB 1.25s 0f3a…": one line, whatever a client put into it.
std::string AccessLine(const http::AccessRecord& record, int64_t unix_seconds);

class AccessLog {
 public:
  AccessLog();
  /// Writes what waits.
  ~AccessLog();
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;

  /// From any thread; does not block. Lines that would make too many wait are dropped, and counted in the log.
  void Add(const http::AccessRecord& record);

 private:
  void Main();

  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::string waiting_;
  int64_t dropped_ = 0;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace edgellm::app
