// Work on the rows of a matrix, spread over threads, and the error that rounding them makes. Sums run in the order of
// the rows, so that no result depends on the number of threads.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "base/worker_pool.h"

namespace edgellm {

/// Every worker calls `make()` once for a function of its own (which may hold scratch), and that for each of its rows.
/// Neither may throw.
template <typename Make>
void ForRows(WorkerPool& pool, int64_t rows, const Make& make) {
  pool.Run([&](int worker) {
    auto work = make();
    const Slice slice = SliceOf(rows, worker, pool.size());
    for (int64_t row = slice.first; row < slice.last; ++row) work(row);
  });
}

class RowErrors {
 public:
  explicit RowErrors(int64_t rows) : error_(static_cast<size_t>(rows)), square_(static_cast<size_t>(rows)) {}

  /// May be called for different rows at once.
  void Set(int64_t row, std::span<const float> wanted, std::span<const float> got) {
    double error = 0, square = 0;
    for (size_t i = 0; i < wanted.size(); ++i) {
      const double difference = static_cast<double>(wanted[i]) - got[i];
      error += difference * difference;
      square += static_cast<double>(wanted[i]) * wanted[i];
    }
    error_[static_cast<size_t>(row)] = error;
    square_[static_cast<size_t>(row)] = square;
  }

  bool IsExact() const { return Sum(error_) == 0; }
  /// Root of the squared error over the squared values.
  double Relative() const { return Sum(square_) > 0 ? std::sqrt(Sum(error_) / Sum(square_)) : 0; }

 private:
  static double Sum(const std::vector<double>& of) {
    double sum = 0;
    for (const double x : of) sum += x;
    return sum;
  }

  std::vector<double> error_, square_;  // by row
};

}  // namespace edgellm
