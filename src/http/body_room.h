// How much of requests' bodies is in memory, of all connections together: room is taken as bytes come and given back
// with the request. Thread-safe counting; no bodies.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace edgellm::http {

class BodyBudget {
 public:
  explicit BodyBudget(uint64_t most) : most_(most) {}

  /// False, and nothing taken, where it does not fit.
  bool Take(uint64_t bytes) {
    uint64_t used = used_.load(std::memory_order_relaxed);
    do {
      if (bytes > most_ || used > most_ - bytes) return false;
    } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
    return true;
  }
  void Give(uint64_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }
  uint64_t used() const { return used_.load(std::memory_order_relaxed); }
  uint64_t most() const { return most_; }

 private:
  const uint64_t most_;
  std::atomic<uint64_t> used_{0};
};

/// The room of one body. Small ones take none: there are only so many connections.
class BodyRoom {
 public:
  static constexpr uint64_t kFree = uint64_t{64} << 10;

  BodyRoom() = default;
  explicit BodyRoom(std::shared_ptr<BodyBudget> budget) : budget_(std::move(budget)) {}
  BodyRoom(BodyRoom&& other) noexcept : budget_(std::move(other.budget_)), bytes_(std::exchange(other.bytes_, 0)) {}
  BodyRoom& operator=(BodyRoom&& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~BodyRoom() {
    if (budget_) budget_->Give(bytes_);
  }

  /// Room for `size` bytes in all; false where there is none left.
  bool Reach(uint64_t size) {
    if (size <= kFree || size <= bytes_) return true;
    if (!budget_->Take(size - bytes_)) return false;
    bytes_ = size;
    return true;
  }

 private:
  std::shared_ptr<BodyBudget> budget_;
  uint64_t bytes_ = 0;
};

}  // namespace edgellm::http
