// What a server counts, and its text for Prometheus (exposition format 0.0.4). Filled by whoever answers requests, from
// the engine's own stamps; a request costs a few atomic additions and one look-up of its model.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

#include "engine/engine.h"
#include "serve/generate.h"
#include "serve/histogram.h"

namespace edgellm {

/// Of one model, since the program began, whether it is loaded now or not. Times in seconds.
struct ModelMetrics {
  ModelMetrics();

  /// Takes the times and counts of an answer that has ended.
  void Ended(const AnswerEnd& end);

  Histogram time_to_first_token;    // from submission
  Histogram inter_token;            // between pieces of an answer, as they are handed on
  Histogram time_per_output_token;  // mean of an answer, by the engine's stamps
  Histogram request_time, queue_time, prefill_time, decode_time;
  std::atomic<uint64_t> prompt_tokens{0}, cached_tokens{0}, generated_tokens{0};
  static constexpr int kReasons = 7;
  std::array<std::atomic<uint64_t>, kReasons> finished{};  // by AnswerEnd::Reason
};

class Metrics {
 public:
  Metrics();

  /// The one of that name; it stays. Names come from requests that found their model; past a hundred, all others share
  /// one, "other".
  std::shared_ptr<ModelMetrics> Model(std::string_view name);

  /// The listener, with its pieces and ends counted on their way.
  AnswerListener Measure(std::string_view model, AnswerListener listener);

  /// An HTTP request that has ended.
  void Requested(std::string_view method, int status, double seconds, uint64_t bytes);

  /// A model that is loaded now.
  struct Loaded {
    std::string model;
    EngineMetrics engine;
    uint64_t bytes = 0;  // weights and KV
  };
  std::string Render(std::span<const Loaded> loaded, int connections) const;

 private:
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  mutable std::mutex mutex_;  // of the maps; what they hold needs none
  std::map<std::string, std::shared_ptr<ModelMetrics>, std::less<>> models_;
  std::map<std::pair<std::string, int>, uint64_t> requests_;  // by method and status
  Histogram http_time_;
  std::atomic<uint64_t> http_bytes_{0};
};

}  // namespace edgellm
