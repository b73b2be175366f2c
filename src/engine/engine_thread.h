// A thread that owns an engine. Others hand requests in and get events out through their listeners; nobody but the
// thread touches the engine, and between tokens it takes no lock that others hold. What the backend throws ends the
// requests that ran, not the program.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/engine.h"

namespace edgellm {

/// Comes with an answer's last event.
struct Ending {
  RequestStatistics statistics;
  std::string_view failure;  // what the backend said, where the event's finish is kFailed
};

class EngineThread {
 public:
  /// Called by the engine's thread for every event of one request: it must not block, as everybody waits for it.
  /// `ending` is null but for the last event of each answer. A listener that throws has its request cancelled, and is
  /// not called again.
  using Listener = std::function<void(const Event& event, const Ending* ending)>;

  explicit EngineThread(std::unique_ptr<Engine> engine);
  /// Stop(0).
  ~EngineThread();
  EngineThread(const EngineThread&) = delete;
  EngineThread& operator=(const EngineThread&) = delete;

  /// From any thread. Throws Error as CheckRequest does, and kBusy when the engine's max_waiting requests are open
  /// (those that run included) or the thread is stopping. Events may come before it returns.
  RequestId Submit(Request request, Listener listener);
  /// From any thread, a listener included. The request's answers, or the sample-th, end with kCancelled, unless they
  /// end before.
  void Cancel(RequestId request, int sample = kAllSamples);
  /// Takes no more requests, lets the open ones finish for `grace`, cancels what is left, and returns when every
  /// listener has been told. From any thread but the engine's.
  void Stop(std::chrono::nanoseconds grace);

  /// Of the last Step or the one before.
  EngineMetrics Metrics() const;
  int open_requests() const { return open_.load(std::memory_order_relaxed); }
  const EngineOptions& options() const { return options_; }

 private:
  struct Submission {
    RequestId id = 0;
    Request request;
    Listener listener;
  };
  struct Audience {
    Listener listener;
    int answers = 0;  // still to end
  };

  void Main();
  /// False when there is nothing more to do, ever.
  bool TakeOrders();
  bool MustWait() const;
  void Deliver(const Event& event);
  void PublishMetrics();
  void CancelAll();

  std::unique_ptr<Engine> engine_;
  const EngineOptions options_;
  std::unordered_map<RequestId, Audience> audiences_;  // the thread's own

  std::mutex mutex_;  // of what follows, as far as it is not atomic
  std::condition_variable ordered_;
  std::vector<Submission> submissions_;
  std::vector<std::pair<RequestId, int>> cancellations_;  // of which sample
  std::set<RequestId> open_ids_;
  RequestId last_id_ = 0;
  bool stopping_ = false;
  std::chrono::steady_clock::time_point stop_at_;
  std::atomic<bool> orders_{false};  // there is something to be looked at under the lock
  std::atomic<int> open_{0};

  mutable std::mutex metrics_mutex_;  // the thread only tries it
  EngineMetrics metrics_;
  std::mutex joining_;
  std::thread thread_;
};

}  // namespace edgellm
