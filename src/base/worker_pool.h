// A fixed crew of pinned threads that enters one function together and meets at barriers inside it. One fork and join
// per call; no queue, no stealing, no allocation after construction. Waiting spins for a moment, then sleeps.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
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
  /// `threads` workers in all; the caller of Run is worker 0. 0: UsableProcessors(). Pinned one to a processor when
  /// there are no more workers than processors, and more than one worker.
  explicit WorkerPool(int threads);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int size() const { return size_; }

  /// Runs work(worker) on every worker, returns when all have returned. `work` must not throw. Not re-entrant.
  void Run(const std::function<void(int worker)>& work);

  /// To be called by every worker inside Run: returns when all have called it.
  void Barrier();

 private:
  void WorkerMain(int worker, int processor);

  int size_;
  const std::function<void(int)>* work_ = nullptr;
  std::atomic<uint32_t> generation_{0};                 // a new value starts a Run
  alignas(64) std::atomic<uint32_t> arrived_{0};        // workers at the barrier
  alignas(64) std::atomic<uint32_t> barrier_epoch_{0};  // barriers passed
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

}  // namespace edgellm
