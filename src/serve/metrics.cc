// See metrics.h.
#include "serve/metrics.h"

#include <functional>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/memory_use.h"

namespace edgellm {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostModels = 100;

// Seconds. Between tokens fine from 1 to 200 ms, where people notice; requests from milliseconds to minutes.
constexpr double kTokenBounds[] = {0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008, 0.010, 0.0125,
                                   0.015, 0.020, 0.025, 0.030, 0.040, 0.050, 0.060, 0.080, 0.100,
                                   0.125, 0.150, 0.200, 0.300, 0.500, 1,     2,     5};
constexpr double kRequestBounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
                                     2.5,   5,      10,    20,   30,    60,   120, 300,  600};

/// Names of AnswerEnd::Reason, in its order.
constexpr const char* kReasonNames[] = {"stop",      "length", "context_full", "tool_calls",
                                        "cancelled", "failed", "dead_end"};
static_assert(std::size(kReasonNames) == ModelMetrics::kReasons);
static_assert(static_cast<int>(AnswerEnd::Reason::kDeadEnd) + 1 == ModelMetrics::kReasons);

double Seconds(int64_t nanoseconds) {
  return static_cast<double>(nanoseconds) * 1e-9;
}

/// Methods that are none are counted together: a client may make up as many as it likes.
std::string_view KnownMethod(std::string_view method) {
  for (const std::string_view known : {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}) {
    if (method == known) return method;
  }
  return "other";
}

/// The text: one family after the other, each with its help and type.
class Writer {
 public:
  void Family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = fmt::format("edgellm_{}", name);
    text_ += fmt::format("# HELP {0} {2}\n# TYPE {0} {1}\n", name_, type, help);
  }
  template <typename Number>
  void Sample(std::string_view labels, Number value) {
    text_ += labels.empty() ? fmt::format("{} {}\n", name_, value) : fmt::format("{}{{{}}} {}\n", name_, labels, value);
  }
  void Sample(std::string_view labels, const Histogram& histogram) { histogram.AppendTo(&text_, name_, labels); }
  std::string Take() { return std::move(text_); }

 private:
  std::string name_, text_;
};

using Models = std::map<std::string, std::shared_ptr<ModelMetrics>, std::less<>>;

void WriteModels(Writer& writer, const Models& models) {
  const auto family = [&](std::string_view name, std::string_view type, std::string_view help, const auto& value) {
    if (models.empty()) return;
    writer.Family(name, type, help);
    for (const auto& [model, metrics] : models) value(Label("model", model), *metrics);
  };
  const auto histogram = [&](std::string_view name, std::string_view help, Histogram ModelMetrics::*member) {
    family(name, "histogram", help,
           [&](const std::string& labels, const ModelMetrics& m) { writer.Sample(labels, m.*member); });
  };
  histogram("time_to_first_token_seconds", "From a request's submission to its first token.",
            &ModelMetrics::time_to_first_token);
  histogram("inter_token_seconds", "Between the pieces of an answer, as they are handed on.",
            &ModelMetrics::inter_token);
  histogram("time_per_output_token_seconds", "Mean time between an answer's tokens.",
            &ModelMetrics::time_per_output_token);
  histogram("request_seconds", "From a request's submission to its answer's end.", &ModelMetrics::request_time);
  histogram("queue_seconds", "From a request's submission to its first slice of work.", &ModelMetrics::queue_time);
  histogram("prefill_seconds", "From a request's first slice of work to its first token.", &ModelMetrics::prefill_time);
  histogram("decode_seconds", "From an answer's first token to its last.", &ModelMetrics::decode_time);
  const auto counter = [&](std::string_view name, std::string_view help, std::atomic<uint64_t> ModelMetrics::*member) {
    family(name, "counter", help,
           [&](const std::string& labels, const ModelMetrics& m) { writer.Sample(labels, (m.*member).load()); });
  };
  counter("prompt_tokens_total", "Tokens of prompts.", &ModelMetrics::prompt_tokens);
  counter("prompt_tokens_cached_total", "Tokens of prompts that were taken over from the prefix cache.",
          &ModelMetrics::cached_tokens);
  counter("generation_tokens_total", "Tokens of answers.", &ModelMetrics::generated_tokens);
  family("answers_finished_total", "counter", "Answers that have ended, by reason.",
         [&](const std::string& labels, const ModelMetrics& m) {
           for (size_t reason = 0; reason < m.finished.size(); ++reason) {
             writer.Sample(labels + "," + Label("reason", kReasonNames[reason]), m.finished[reason].load());
           }
         });
}

void WriteEngines(Writer& writer, std::span<const Metrics::Loaded> loaded) {
  const auto family = [&](std::string_view name, std::string_view type, std::string_view help, const auto& value) {
    if (loaded.empty()) return;
    writer.Family(name, type, help);
    for (const auto& one : loaded) writer.Sample(Label("model", one.model), value(one));
  };
  using Loaded = Metrics::Loaded;
  family("requests_running", "gauge", "Answers in the making.", [](const Loaded& m) { return m.engine.running; });
  family("requests_waiting", "gauge", "Requests in the queue.", [](const Loaded& m) { return m.engine.waiting; });
  family("kv_pages", "gauge", "Pages of keys and values.", [](const Loaded& m) { return m.engine.pages; });
  family("kv_pages_held", "gauge", "Pages that answers in the making hold.",
         [](const Loaded& m) { return m.engine.pages_held; });
  family("kv_pages_cached", "gauge", "Pages that only the prefix cache holds.",
         [](const Loaded& m) { return m.engine.pages_cached; });
  family("kv_used_ratio", "gauge", "Share of the pages that answers in the making hold.", [](const Loaded& m) {
    return m.engine.pages == 0 ? 0.0 : static_cast<double>(m.engine.pages_held) / m.engine.pages;
  });
  family("prefix_cache_queries_total", "counter", "Prompt tokens that were looked for in the prefix cache.",
         [](const Loaded& m) { return m.engine.prompt_tokens + m.engine.shared_tokens; });
  family("prefix_cache_hits_total", "counter", "Prompt tokens that were found in the prefix cache.",
         [](const Loaded& m) { return m.engine.shared_tokens; });
  family("evictions_total", "counter", "Pages of the prefix cache that were given up for others.",
         [](const Loaded& m) { return m.engine.evicted_pages; });
  family("preemptions_total", "counter", "Answers that were set aside for others, and resumed.",
         [](const Loaded& m) { return m.engine.preemptions; });
  family("engine_steps_total", "counter", "Forward passes.", [](const Loaded& m) { return m.engine.steps; });
  family("engine_failures_total", "counter", "Forward passes that failed.",
         [](const Loaded& m) { return m.engine.failures; });
  family("model_bytes", "gauge", "Memory of weights, keys and values.", [](const Loaded& m) { return m.bytes; });
}

}  // namespace

ModelMetrics::ModelMetrics()
    : time_to_first_token(kRequestBounds),
      inter_token(kTokenBounds),
      time_per_output_token(kTokenBounds),
      request_time(kRequestBounds),
      queue_time(kRequestBounds),
      prefill_time(kRequestBounds),
      decode_time(kRequestBounds) {}

void ModelMetrics::Ended(const AnswerEnd& end) {
  const RequestStatistics& s = end.statistics;
  const auto observe = [](Histogram& histogram, int64_t from, int64_t to) {
    if (from > 0 && to >= from) histogram.Observe(Seconds(to - from));
  };
  observe(request_time, s.submitted, s.finished);
  observe(decode_time, s.first_token, s.last_token);
  if (s.generated_tokens > 1 && s.first_token > 0) {
    time_per_output_token.Observe(Seconds(s.last_token - s.first_token) / (s.generated_tokens - 1));
  }
  generated_tokens += static_cast<uint64_t>(s.generated_tokens);
  finished[static_cast<size_t>(end.reason)] += 1;
  if (end.sample != 0) return;  // further answers share the first one's prompt
  observe(time_to_first_token, s.submitted, s.first_token);
  observe(queue_time, s.submitted, s.first_scheduled);
  observe(prefill_time, s.first_scheduled, s.first_token);
  prompt_tokens += static_cast<uint64_t>(s.prompt_tokens);
  cached_tokens += static_cast<uint64_t>(s.cached_tokens);
}

Metrics::Metrics() : http_time_(kRequestBounds) {}

std::shared_ptr<ModelMetrics> Metrics::Model(std::string_view name) {
  const std::lock_guard lock(mutex_);
  const auto known = models_.find(name);
  if (known != models_.end()) return known->second;
  auto& made = models_[models_.size() < kMostModels ? std::string(name) : "other"];
  if (!made) made = std::make_shared<ModelMetrics>();
  return made;
}

AnswerListener Metrics::Measure(std::string_view model, AnswerListener listener) {
  const auto metrics = Model(model);
  // Calls come one after the other: no lock.
  const auto last = std::make_shared<std::unordered_map<int, Clock::time_point>>();
  AnswerListener measuring;
  measuring.piece = [metrics, last, piece = std::move(listener.piece)](const AnswerPiece& part) {
    if (!part.prompt) {
      const auto now = Clock::now();
      const auto [before, first] = last->try_emplace(part.sample, now);
      if (!first) metrics->inter_token.Observe(std::chrono::duration<double>(now - before->second).count());
      before->second = now;
    }
    if (piece) piece(part);
  };
  measuring.ended = [metrics, ended = std::move(listener.ended)](const AnswerEnd& end) {
    metrics->Ended(end);
    if (ended) ended(end);
  };
  return measuring;
}

void Metrics::Requested(std::string_view method, int status, double seconds, uint64_t bytes) {
  http_time_.Observe(seconds);
  http_bytes_ += bytes;
  const std::lock_guard lock(mutex_);
  ++requests_[{std::string(KnownMethod(method)), status}];
}

std::string Metrics::Render(std::span<const Loaded> loaded, int connections) const {
  Models models;
  std::map<std::pair<std::string, int>, uint64_t> requests;
  {
    const std::lock_guard lock(mutex_);
    models = models_;
    requests = requests_;
  }
  Writer writer;
  writer.Family("build_info", "gauge", "Always 1; which version this is.");
  writer.Sample(Label("version", EDGELLM_VERSION), 1);
  writer.Family("uptime_seconds", "gauge", "Since the program began to serve.");
  writer.Sample("", std::chrono::duration<double>(Clock::now() - started_).count());
  writer.Family("resident_bytes", "gauge", "Memory of this process.");
  writer.Sample("", ResidentBytes());
  writer.Family("http_connections", "gauge", "Open connections.");
  writer.Sample("", connections);
  writer.Family("http_requests_total", "counter",
                "Requests that have ended, by method and status (0: the client left before there was one).");
  for (const auto& [key, count] : requests) {
    writer.Sample(Label("method", key.first) + "," + Label("status", std::to_string(key.second)), count);
  }
  writer.Family("http_request_seconds", "histogram", "From a request's first byte to its answer's last.");
  writer.Sample("", http_time_);
  writer.Family("http_sent_bytes_total", "counter", "Bytes of answers.");
  writer.Sample("", http_bytes_.load());
  WriteModels(writer, models);
  WriteEngines(writer, loaded);
  return writer.Take();
}

}  // namespace edgellm
