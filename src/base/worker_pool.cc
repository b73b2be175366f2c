// See worker_pool.h.
#include "base/worker_pool.h"

#include <pthread.h>
#include <sched.h>

#include "base/processors.h"

namespace edgellm {
namespace {

// About ten microseconds: longer than the phases of a small model are uneven, far shorter than a scheduler's time
// slice.
constexpr int kSpins = 4000;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Returns when `value` is no longer `old`.
void AwaitChange(const std::atomic<uint32_t>& value, uint32_t old) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (value.load(std::memory_order_acquire) != old) return;
    Pause();
  }
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

}  // namespace

int UsableProcessors() {
  return ChooseProcessors().recommended;
}

WorkerPool::WorkerPool(int threads) {
  const ProcessorChoice processors = ChooseProcessors();
  size_ = threads > 0 ? threads : processors.recommended;
  // The calling thread is left unpinned: it belongs to the caller. The others keep to the processors after the first.
  const bool pin = size_ > 1 && size_ <= static_cast<int>(processors.order.size());
  for (int worker = 1; worker < size_; ++worker) {
    const int processor = pin ? processors.order[static_cast<size_t>(worker)] : -1;
    threads_.emplace_back([this, worker, processor] { WorkerMain(worker, processor); });
  }
}

WorkerPool::~WorkerPool() {
  stopping_.store(true, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::WorkerMain(int worker, int processor) {
  if (processor >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);  // a hint: an unpinned worker still works
  }
  uint32_t seen = 0;
  for (;;) {
    AwaitChange(generation_, seen);
    ++seen;
    if (stopping_.load(std::memory_order_relaxed)) return;
    (*work_)(worker);
    Barrier();
  }
}

void WorkerPool::Run(const std::function<void(int worker)>& work) {
  work_ = &work;
  if (size_ > 1) {
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
  }
  work(0);
  Barrier();
}

void WorkerPool::Barrier() {
  if (size_ == 1) return;
  const uint32_t epoch = barrier_epoch_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == static_cast<uint32_t>(size_)) {
    arrived_.store(0, std::memory_order_relaxed);
    barrier_epoch_.store(epoch + 1, std::memory_order_release);
    barrier_epoch_.notify_all();
    return;
  }
  AwaitChange(barrier_epoch_, epoch);
}

}  // namespace edgellm
