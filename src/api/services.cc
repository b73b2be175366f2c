// See services.h.
#include "api/services.h"

#include <chrono>
#include <random>
#include <utility>

#include "base/steady_now.h"

namespace edgellm::api {

Clock Clock::System() {
  const auto wall = [] {
    return int64_t{std::chrono::system_clock::now().time_since_epoch() / std::chrono::nanoseconds(1)};
  };
  return {wall, SteadyNow};
}

std::string NewId() {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  thread_local std::mt19937_64 numbers{(uint64_t{std::random_device{}()} << 32) | std::random_device{}()};
  std::string id;
  for (int i = 0; i < 24; ++i) id += kLetters[numbers() % kLetters.size()];
  return id;
}

void Cancellation::Cancel() {
  std::unique_lock lock(mutex_);
  cancelled_ = true;
  const std::function<void()> cancel = std::exchange(cancel_, nullptr);
  lock.unlock();
  if (cancel) cancel();
}

bool Cancellation::cancelled() const {
  const std::lock_guard lock(mutex_);
  return cancelled_;
}

void Cancellation::OnCancel(std::function<void()> cancel) {
  std::unique_lock lock(mutex_);
  if (!cancelled_) {
    std::swap(cancel_, cancel);  // the earlier one goes after the lock
    lock.unlock();
    return;
  }
  lock.unlock();
  if (cancel) cancel();
}

}  // namespace edgellm::api
