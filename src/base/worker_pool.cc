// See worker_pool.h.
#include "base/worker_pool.h"

#include <algorithm>
#include <pthread.h>
#include <sched.h>
#include <span>

#include "base/processors.h"

namespace edgellm {
namespace {

// About ten microseconds: longer than the phases of a small model are uneven, far shorter than a scheduler's time
// slice.
constexpr int kSpins = 4000;

/// Who keeps the others waiting is looked for after so much time in Runs.
constexpr auto kWindow = std::chrono::milliseconds(30);
/// A worker that is tried again and late again is left out for twice as long, up to this; after so long a calm the next
/// time is short again.
constexpr auto kLongestPause = std::chrono::seconds(8);
constexpr auto kCalm = std::chrono::seconds(2);

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Spins for a moment; true when `value` is no longer `old` by then.
bool ChangesSoon(const std::atomic<uint32_t>& value, uint32_t old) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (value.load(std::memory_order_acquire) != old) return true;
    Pause();
  }
  return false;
}

/// Sleeps until `value` is no longer `old`.
void AwaitChange(const std::atomic<uint32_t>& value, uint32_t old) {
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

void SpinAndAwaitChange(const std::atomic<uint32_t>& value, uint32_t old) {
  if (!ChangesSoon(value, old)) AwaitChange(value, old);
}

int64_t Now() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

void Signal(std::atomic<uint32_t>& value) {
  value.fetch_add(1, std::memory_order_release);
  value.notify_all();
}

void KeepTo(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);  // a hint: an unpinned worker still works
}

/// Keeps the calling thread off some processors for its life. A thread that sleeps is often woken up on the processor
/// of the one that wakes it; if that is another worker's, the two take turns for good.
class KeptOff {
 public:
  explicit KeptOff(std::span<const int> processors) {
    if (processors.empty() || sched_getaffinity(0, sizeof before_, &before_) != 0) return;
    cpu_set_t others = before_;
    for (const int processor : processors) CPU_CLR(processor, &others);
    if (CPU_COUNT(&others) == 0 || CPU_EQUAL(&others, &before_)) return;
    changed_ = sched_setaffinity(0, sizeof others, &others) == 0;
  }
  ~KeptOff() {
    if (changed_) sched_setaffinity(0, sizeof before_, &before_);
  }
  KeptOff(const KeptOff&) = delete;
  KeptOff& operator=(const KeptOff&) = delete;

 private:
  cpu_set_t before_{};
  bool changed_ = false;
};

}  // namespace

int UsableProcessors() {
  return ChooseProcessors().recommended;
}

WorkerPool::WorkerPool(int threads) {
  const ProcessorChoice processors = ChooseProcessors();
  const int size = threads > 0 ? threads : processors.recommended;
  const bool pin = size > 1 && size <= static_cast<int>(processors.order.size());
  if (pin) processors_.assign(processors.order.begin() + 1, processors.order.begin() + size);
  for (int i = 0; i < size; ++i) threads_.push_back(std::make_unique<Thread>());
  for (int i = 1; i < size; ++i) {
    Thread& own = *threads_[static_cast<size_t>(i)];
    const int processor = pin ? processors_[static_cast<size_t>(i - 1)] : -1;
    own.thread = std::thread([this, &own, processor] { ThreadMain(own, processor); });
  }
  taking_part_ = size;
  crew_.reserve(threads_.size());
}

WorkerPool::~WorkerPool() {
  stopping_.store(true, std::memory_order_relaxed);
  for (size_t i = 1; i < threads_.size(); ++i) {
    Signal(threads_[i]->calls);
    threads_[i]->thread.join();
  }
}

void WorkerPool::ThreadMain(Thread& own, int processor) {
  if (processor >= 0) KeepTo(processor);
  for (uint32_t seen = 0;; ++seen) {
    SpinAndAwaitChange(own.calls, seen);
    if (stopping_.load(std::memory_order_relaxed)) return;
    const int worker = own.worker;
    const bool without_caller = left_out_ == threads_.front().get();
    (*work_)(worker);
    Barrier(worker);
    if (without_caller && worker == 0) Signal(finished_);
  }
}

void WorkerPool::RunOn(const Thread* left_out, const std::function<void(int worker)>& work) {
  const bool with_caller = left_out != threads_.front().get();
  const KeptOff others(with_caller ? std::span<const int>(processors_) : std::span<const int>());
  work_ = &work;
  crew_.clear();
  for (const auto& thread : threads_) {
    if (thread.get() == left_out) continue;
    thread->worker = static_cast<int>(crew_.size());
    crew_.push_back(thread.get());
  }
  taking_part_ = static_cast<int>(crew_.size());
  const uint32_t finished = finished_.load(std::memory_order_relaxed);
  for (Thread* thread : crew_) {
    if (thread != threads_.front().get()) Signal(thread->calls);
  }
  if (!with_caller) {
    SpinAndAwaitChange(finished_, finished);
  } else {
    work(0);
    Barrier(0);
  }
  taking_part_ = static_cast<int>(threads_.size());
}

void WorkerPool::Run(const std::function<void(int worker)>& work) {
  RunOn(nullptr, work);
}

void WorkerPool::RunSteady(const std::function<void(int worker)>& work) {
  const auto start = Clock::now();
  if (left_out_ != nullptr && start >= until_) BeginWindow(nullptr);
  RunOn(left_out_, work);
  const auto now = Clock::now();
  window_ += now - start;
  if (left_out_ == nullptr && threads_.size() > 1 && window_ >= kWindow) Judge(now);
}

void WorkerPool::BeginWindow(Thread* left_out) {
  left_out_ = left_out;
  window_ = {};
  for (const auto& thread : threads_) thread->waited.store(0, std::memory_order_relaxed);
}

void WorkerPool::Judge(Clock::time_point now) {
  // Whom the others wait for waits least itself.
  Thread* late = threads_.front().get();
  int64_t waited = 0;
  for (const auto& thread : threads_) {
    waited += thread->waited.load(std::memory_order_relaxed);
    if (thread->waited.load(std::memory_order_relaxed) < late->waited.load(std::memory_order_relaxed))
      late = thread.get();
  }
  const auto count = static_cast<int64_t>(threads_.size());
  const int64_t own = late->waited.load(std::memory_order_relaxed);
  const int64_t lost = (waited - own) / (count - 1) - own, all = window_ / std::chrono::nanoseconds(1);
  // One that shares its processor with a busy thread costs the others half their time; uneven shares of work, less than
  // a third.
  const bool leave_out = lost * 3 > all;
  if (leave_out) {
    until_ = now + pause_;
    pause_ = std::min<Clock::duration>(2 * pause_, kLongestPause);
  } else if (now >= until_ + kCalm) {
    pause_ = kShortestPause;
  }
  BeginWindow(leave_out ? late : nullptr);
}

void WorkerPool::Barrier(int worker) {
  const auto all = static_cast<uint32_t>(taking_part_);
  if (all == 1) return;
  Thread& own = *crew_[static_cast<size_t>(worker)];  // looked up before the last one arrives: then the crew may change
  const uint32_t epoch = barrier_epoch_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == all) {
    arrived_.store(0, std::memory_order_relaxed);
    complete_.store(Now(), std::memory_order_relaxed);
    Signal(barrier_epoch_);
    return;
  }
  if (ChangesSoon(barrier_epoch_, epoch)) return;
  const int64_t asleep = Now();
  AwaitChange(barrier_epoch_, epoch);
  // Until the last one came: how long it takes to wake up is no fault of the others.
  const int64_t waited = complete_.load(std::memory_order_relaxed) - asleep;
  if (waited > 0) own.waited.fetch_add(waited, std::memory_order_relaxed);
}

}  // namespace edgellm
