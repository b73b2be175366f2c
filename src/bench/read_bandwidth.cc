// See read_bandwidth.h. A pass adds up every 64-byte line in eight independent sums, with and without prefetching
// ahead; the faster of the two counts.
#include "bench/read_bandwidth.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/buffer.h"
#include "base/worker_pool.h"

namespace edgellm {
namespace {

typedef uint64_t Line __attribute__((vector_size(64)));

constexpr size_t kUnroll = 4;
constexpr size_t kAhead = 2048;  // bytes

template <bool kPrefetch>
uint64_t Read(const std::byte* from, size_t bytes) {
  Line sums[kUnroll] = {};
  for (size_t at = 0; at + kUnroll * sizeof(Line) <= bytes; at += kUnroll * sizeof(Line)) {
    for (size_t i = 0; i < kUnroll; ++i) {
      if constexpr (kPrefetch) __builtin_prefetch(from + at + i * sizeof(Line) + kAhead);
      Line line;
      std::memcpy(&line, from + at + i * sizeof(Line), sizeof line);
      sums[i] += line;
    }
  }
  const Line all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  uint64_t total = 0;
  for (int i = 0; i < 8; ++i) total += all[i];
  return total;
}

}  // namespace

Spread MeasureReadBandwidth(int threads, size_t bytes, int passes) {
  WorkerPool workers(threads);
  Buffer memory(bytes + kAhead + kUnroll * sizeof(Line));
  std::atomic<uint64_t> sum{0};  // keeps the reads from being optimised away
  const auto pass = [&](bool prefetch) {
    const auto start = std::chrono::steady_clock::now();
    workers.Run([&](int worker) {
      const Slice slice = SliceOf(static_cast<int64_t>(bytes / 4096), worker, workers.size());
      const std::byte* from = memory.data() + slice.first * 4096;
      const auto count = static_cast<size_t>(slice.last - slice.first) * 4096;
      sum.fetch_add(prefetch ? Read<true>(from, count) : Read<false>(from, count), std::memory_order_relaxed);
    });
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    return static_cast<double>(bytes) / took.count() / 1e9;
  };
  workers.Run([&](int worker) {  // touched by who reads it, so that it is near where there are several memories
    const Slice slice = SliceOf(static_cast<int64_t>(bytes / 4096), worker, workers.size());
    std::memset(memory.data() + slice.first * 4096, worker + 1, static_cast<size_t>(slice.last - slice.first) * 4096);
  });
  std::vector<double> plain, prefetched;
  for (int i = 0; i < passes; ++i) {
    plain.push_back(pass(false));
    prefetched.push_back(pass(true));
  }
  const Spread a = SpreadOf(plain), b = SpreadOf(prefetched);
  return a.median > b.median ? a : b;
}

}  // namespace edgellm
