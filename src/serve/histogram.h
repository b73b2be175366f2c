// A histogram that many threads fill without waiting for one another, and its text for Prometheus.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace edgellm {

class Histogram {
 public:
  /// `bounds`: the upper ends of the buckets, each included, ascending; one more takes what is larger.
  explicit Histogram(std::span<const double> bounds);

  /// A few atomic additions. What is not a number is left out.
  void Observe(double value);

  uint64_t count() const;
  double sum() const { return sum_.load(std::memory_order_relaxed); }
  /// Of the bucket alone, not of those before it.
  uint64_t bucket(size_t index) const { return buckets_[index].load(std::memory_order_relaxed); }

  /// Appends NAME_bucket, NAME_sum and NAME_count. `labels`: `a="b",c="d"`, or empty.
  void AppendTo(std::string* text, std::string_view name, std::string_view labels) const;

 private:
  const std::vector<double> bounds_;
  std::unique_ptr<std::atomic<uint64_t>[]> buckets_;
  std::atomic<double> sum_{0};
};

/// `name="value"` with the value as Prometheus' text format wants it.
std::string Label(std::string_view name, std::string_view value);

}  // namespace edgellm
