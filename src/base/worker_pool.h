// A fixed crew of pinned threads that enters one function together and meets at barriers inside it. One fork and join
// per call; no queue, no stealing, no allocation after construction. Waiting spins for a moment, then sleeps. A worker
// whose processor is busy with something else, so that the others wait for it, can be left out for a while.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace edgellm {

/// How many processors work is spread over when nobody says (base/processors.h).
int UsableProcessors();

/// The part [first, last) of `total` items that falls to `worker` of `workers`: contiguous, as even as can be.
struct Slice {
  int64_t first, last;
};
constexpr Slice SliceOf(int64_t total, int worker, int workers) {
  return {total * worker / workers, total * (worker + 1) / workers};
}

class WorkerPool {
 public:
  /// `threads` workers in all; the caller of Run is one of them. 0: UsableProcessors(). When there are no more workers
  /// than processors, and more than one worker, they are pinned one to a processor, and the caller keeps off those of
  /// the others while a Run lasts.
  explicit WorkerPool(int threads);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// All workers; inside RunSteady those that take part.
  int size() const { return taking_part_; }

  /// Runs work(worker) on every worker (0 .. size() - 1), returns when all have returned. `work` must not throw. Not
  /// re-entrant.
  void Run(const std::function<void(int worker)>& work);

  /// Like Run, for work that is repeated and does the same with any number of workers: leaves a worker out that keeps
  /// the others waiting for longer than they gain by it, because something else runs on its processor. It is tried
  /// again after half a second, later after up to eight.
  void RunSteady(const std::function<void(int worker)>& work);

  /// To be called by every worker inside Run: returns when all have called it.
  void Barrier(int worker);

 private:
  using Clock = std::chrono::steady_clock;
  struct alignas(64) Thread {
    std::atomic<uint32_t> calls{0};  // a new value calls it to a Run
    int worker = 0;                  // which it is there
    std::atomic<int64_t> waited{0};  // nanoseconds asleep at barriers since the window began
    std::thread thread;
  };

  void ThreadMain(Thread& own, int processor);
  void RunOn(const Thread* left_out, const std::function<void(int worker)>& work);
  void BeginWindow(Thread* left_out);
  void Judge(Clock::time_point now);

  std::vector<std::unique_ptr<Thread>> threads_;  // [0] is the caller
  std::vector<Thread*> crew_;                     // [worker], in this Run
  int taking_part_;
  const std::function<void(int)>* work_ = nullptr;
  alignas(64) std::atomic<uint32_t> arrived_{0};        // workers at the barrier
  alignas(64) std::atomic<uint32_t> barrier_epoch_{0};  // barriers passed
  std::atomic<int64_t> complete_{0};                    // when the last worker came to the last barrier
  std::atomic<uint32_t> finished_{0};                   // Runs without the caller
  std::atomic<bool> stopping_{false};
  std::vector<int> processors_;  // of the threads but the caller; empty when they are not pinned

  // Of RunSteady.
  Thread* left_out_ = nullptr;
  Clock::time_point until_{};               // when it is tried again
  Clock::duration pause_ = kShortestPause;  // how long it will be left out
  Clock::duration window_{};                // time in Runs since the waits were last looked at
  static constexpr Clock::duration kShortestPause = std::chrono::milliseconds(500);
};

}  // namespace edgellm
