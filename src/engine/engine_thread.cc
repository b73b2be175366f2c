// See engine_thread.h.
#include "engine/engine_thread.h"

#include <algorithm>

#include "base/error.h"

namespace edgellm {

EngineThread::EngineThread(std::unique_ptr<Engine> engine)
    : engine_(std::move(engine)), options_(engine_->options()), metrics_(engine_->Metrics()) {
  thread_ = std::thread([this] { Main(); });
}

EngineThread::~EngineThread() {
  Stop(std::chrono::nanoseconds(0));
}

RequestId EngineThread::Submit(Request request, Listener listener) {
  CheckRequest(request, options_);
  RequestId id = 0;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) Fail(ErrorCode::kBusy, "the model is being stopped");
    if (static_cast<int>(open_ids_.size()) >= options_.max_waiting) {
      Fail(ErrorCode::kBusy, "{} requests are open already: try again later", open_ids_.size());
    }
    id = ++last_id_;
    open_ids_.insert(id);
    open_.store(static_cast<int>(open_ids_.size()), std::memory_order_relaxed);
    submissions_.push_back({id, std::move(request), std::move(listener)});
    orders_.store(true, std::memory_order_release);
  }
  ordered_.notify_one();
  return id;
}

void EngineThread::Cancel(RequestId request, int sample) {
  {
    const std::lock_guard lock(mutex_);
    if (open_ids_.count(request) == 0) return;
    const std::pair order(request, sample);
    if (std::find(cancellations_.begin(), cancellations_.end(), order) != cancellations_.end()) return;
    cancellations_.push_back(order);
    orders_.store(true, std::memory_order_release);
  }
  ordered_.notify_one();
}

void EngineThread::Stop(std::chrono::nanoseconds grace) {
  {
    const std::lock_guard lock(mutex_);
    const auto at = std::chrono::steady_clock::now() + grace;
    stop_at_ = stopping_ ? std::min(stop_at_, at) : at;
    stopping_ = true;
    orders_.store(true, std::memory_order_release);
  }
  ordered_.notify_one();
  const std::lock_guard joining(joining_);
  if (thread_.joinable()) thread_.join();
}

EngineMetrics EngineThread::Metrics() const {
  const std::lock_guard lock(metrics_mutex_);
  return metrics_;
}

void EngineThread::PublishMetrics() {
  const std::unique_lock lock(metrics_mutex_, std::try_to_lock);
  if (lock) metrics_ = engine_->Metrics();
}

bool EngineThread::MustWait() const {
  return engine_->idle() && !stopping_ && submissions_.empty() && cancellations_.empty();
}

void EngineThread::CancelAll() {
  for (const auto& [id, audience] : audiences_) engine_->Cancel(id);
}

bool EngineThread::TakeOrders() {
  if (!engine_->idle() && !orders_.load(std::memory_order_acquire)) return true;
  std::vector<Submission> submissions;
  std::vector<std::pair<RequestId, int>> cancellations;
  {
    std::unique_lock lock(mutex_);
    ordered_.wait(lock, [this] { return !MustWait(); });
    submissions.swap(submissions_);
    cancellations.swap(cancellations_);
    orders_.store(stopping_, std::memory_order_relaxed);  // while stopping, the clock is looked at
    if (stopping_ && submissions.empty() && engine_->idle()) return false;
  }
  for (Submission& submission : submissions) {
    audiences_[submission.id] = {std::move(submission.listener), submission.request.samples};
    engine_->Submit(std::move(submission.request), submission.id);
  }
  for (const auto& [id, sample] : cancellations) engine_->Cancel(id, sample);
  const bool late = [&] {
    const std::lock_guard lock(mutex_);
    return stopping_ && std::chrono::steady_clock::now() >= stop_at_;
  }();
  if (late) CancelAll();
  return true;
}

void EngineThread::Deliver(const Event& event) {
  const auto found = audiences_.find(event.request);
  if (found == audiences_.end()) return;
  Audience& audience = found->second;
  const bool ends = event.finish != FinishReason::kNone;
  if (ends && --audience.answers == 0) {
    // Before the listener knows: who reacts by a new request finds its place free.
    const std::lock_guard lock(mutex_);
    open_ids_.erase(event.request);
    open_.store(static_cast<int>(open_ids_.size()), std::memory_order_relaxed);
  }
  if (audience.listener) {
    try {
      Ending ending;
      if (ends) ending.statistics = engine_->Statistics(event.request, event.sample);
      if (event.finish == FinishReason::kFailed) ending.failure = engine_->failure();
      audience.listener(event, ends ? &ending : nullptr);
    } catch (...) {
      audience.listener = nullptr;
      engine_->Cancel(event.request);
    }
  }
  if (audience.answers == 0) audiences_.erase(found);
}

void EngineThread::Main() {
  while (TakeOrders()) {
    for (const Event& event : engine_->Step()) Deliver(event);
    PublishMetrics();
    if (engine_->idle())
      engine_->CheckIntegrity();  // a page that two believe to be theirs: better no answer than a wrong one
  }
}

}  // namespace edgellm
