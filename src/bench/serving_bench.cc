// See serving_bench.h.
#include "bench/serving_bench.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/philox.h"
#include "engine/engine.h"

namespace edgellm {
namespace {

constexpr int kOwnTokens = 16;  // of each user's prompt behind what is shared

class Bench {
 public:
  Bench(const Model& model, const RuntimeOptions& options, const ServingBenchOptions& what, const Progress& progress)
      : what_(what), progress_(progress) {
    engine_options_.vocab = model.config.vocab;
    engine_options_.max_sequences = std::max(what.users, what.streams + 1);
    if (what.users == 1 || (what.users == 0 && what.streams == 0)) {
      Fail(ErrorCode::kInvalidArgument,
           "a shared prompt wants two users or more, and without any there must be streams");
    }
    const int stream = what.context + what.tokens * 64;  // a stream must outlast the long prompt
    const int needed = std::max(what.users > 0 ? what.shared + kOwnTokens + 2 : 0,
                                what.streams > 0 ? std::max(what.long_prompt, what.context) + 2 : 0);
    if (needed > model.config.max_context) {
      Fail(ErrorCode::kInvalidArgument, "{} positions are needed, more than the {} that the model was trained for",
           needed, model.config.max_context);
    }
    engine_options_.context = std::min(model.config.max_context, std::max(needed, stream));
    const auto pages = [](int positions) { return (positions + kPageTokens - 1) / kPageTokens; };
    engine_options_.pages = std::max(pages(engine_options_.context) * (what.streams + 1),
                                     pages(what.shared) + what.users * pages(2 * kOwnTokens + kPageTokens));
    const KvType kv = options.kv ? *options.kv : DefaultKv(model);
    engine_ = std::make_unique<Engine>(BindBackend(model, EngineLimits(engine_options_, kv), options), engine_options_);
    result_.backend = engine_->backend().Describe();
    total_ = static_cast<uint64_t>(2 * what.rounds + 2);
  }

  ServingBenchResult Run() {
    if (what_.users > 0) MeasureShared();
    if (what_.streams > 0) MeasureStreams();
    Tell("done");
    const EngineMetrics metrics = engine_->Metrics();
    result_.costs = metrics.costs;
    result_.cost_deviation = metrics.cost_deviation;
    return std::move(result_);
  }

 private:
  void Tell(const char* activity) {
    if (progress_) progress_(activity, done_++, total_);
  }

  Request MakeRequest(int seed, int length, int shared, int tokens) {
    Request request;
    for (int i = 0; i < length; ++i) {
      const auto key = static_cast<uint64_t>(i < shared ? 0 : seed);
      request.prompt.push_back(static_cast<int32_t>(Philox(key, static_cast<uint64_t>(i))[0] %
                                                    static_cast<uint32_t>(engine_options_.vocab)));
    }
    request.max_tokens = tokens;
    request.sampling.temperature = 0;
    return request;
  }

  /// Runs everything to its end: milliseconds to the first token of each.
  std::map<RequestId, double> FirstTokens() {
    std::map<RequestId, double> times;
    while (!engine_->idle()) {
      for (const Event& event : engine_->Step()) {
        if (event.finish == FinishReason::kFailed) Fail(ErrorCode::kEnvironment, "{}", engine_->failure());
        if (event.finish == FinishReason::kNone) continue;
        const RequestStatistics s = engine_->Statistics(event.request);
        times[event.request] = static_cast<double>(s.first_token - s.submitted) * 1e-6;
      }
    }
    return times;
  }

  std::vector<double> UserTimes(int from, int to) {
    const int length = what_.shared + kOwnTokens;
    for (int user = from; user < to; ++user) engine_->Submit(MakeRequest(1 + user, length, what_.shared, 1));
    std::vector<double> times;
    for (const auto& [id, milliseconds] : FirstTokens()) times.push_back(milliseconds);
    std::sort(times.begin(), times.end());
    return times;
  }

  void MeasureShared() {
    std::vector<double> first, next, median, slowest, together;
    for (int round = -1; round < what_.rounds; ++round) {  // the first warms up
      if (round >= 0) Tell("a shared prompt");
      engine_->DropCached();
      const double one = UserTimes(0, 1).front();
      double slowest_next = 0;
      for (int user = 1; user < what_.users; ++user)
        slowest_next = std::max(slowest_next, UserTimes(user, user + 1).front());
      engine_->DropCached();
      UserTimes(0, 1);
      const std::vector<double> others = UserTimes(1, what_.users);
      engine_->DropCached();
      const int64_t before = engine_->Metrics().prompt_tokens + engine_->Metrics().decoded_tokens;
      const std::vector<double> all = UserTimes(0, what_.users);
      result_.together_computed =
          static_cast<double>(engine_->Metrics().prompt_tokens + engine_->Metrics().decoded_tokens - before);
      if (round < 0) continue;
      first.push_back(one);
      next.push_back(slowest_next);
      median.push_back(others[others.size() / 2]);
      slowest.push_back(others.back());
      together.push_back(all.back());
    }
    result_.users = what_.users;
    result_.shared = what_.shared;
    result_.first_ms = SpreadOf(first);
    result_.next_slowest_ms = SpreadOf(next);
    result_.others_median_ms = SpreadOf(median);
    result_.others_slowest_ms = SpreadOf(slowest);
    result_.together_slowest_ms = SpreadOf(together);
  }

  /// Steps until `done`; the times between tokens of each stream.
  template <typename Done>
  std::vector<double> Gaps(std::map<RequestId, int64_t>& last, const Done& done) {
    std::vector<double> gaps;
    for (bool finished = false; !finished;) {
      for (const Event& event : engine_->Step()) {
        if (event.finish == FinishReason::kFailed) Fail(ErrorCode::kEnvironment, "{}", engine_->failure());
        finished = finished || done(event);
        const auto stream = last.find(event.request);
        if (stream == last.end()) continue;
        if (stream->second > 0) gaps.push_back(static_cast<double>(event.time - stream->second) * 1e-6);
        stream->second = event.time;
        if (event.finish != FinishReason::kNone) last.erase(stream);
      }
    }
    return gaps;
  }

  void MeasureStreams() {
    Tell("a long prompt alone");
    engine_->DropCached();
    engine_->Submit(MakeRequest(1000, what_.long_prompt, 0, 1));
    result_.prompt_alone_seconds = FirstTokens().begin()->second * 1e-3;

    Tell("a long prompt beside streams");
    engine_->DropCached();
    std::map<RequestId, int64_t> streams;
    for (int i = 0; i < what_.streams; ++i) {
      Request request = MakeRequest(2000 + i, what_.context, 0, -1);
      streams[engine_->Submit(std::move(request))] = 0;
    }
    size_t begun = 0;
    Gaps(streams, [&](const Event& event) {
      if (const auto stream = streams.find(event.request); stream != streams.end() && stream->second == 0) ++begun;
      return begun == streams.size();
    });
    int64_t tokens = 0;
    const auto enough = [&](const Event&) { return ++tokens >= int64_t{what_.tokens} * what_.streams; };
    result_.before_ms = PercentilesOf(Gaps(streams, enough));
    Request request = MakeRequest(3000, what_.long_prompt, 0, 1);
    const RequestId id = engine_->Submit(std::move(request));
    RequestStatistics statistics;
    const auto read = [&](const Event& event) {
      if (event.request != id) return false;
      statistics = engine_->Statistics(id);
      return true;
    };
    result_.beside_ms = PercentilesOf(Gaps(streams, read));
    if (static_cast<int>(streams.size()) < what_.streams) {
      Fail(ErrorCode::kLimit,
           "the streams reached the end of their context before the prompt of {} tokens was read: try a "
           "shorter one",
           what_.long_prompt);
    }
    tokens = 0;
    result_.after_ms = PercentilesOf(Gaps(streams, enough));
    result_.streams = what_.streams;
    result_.context = what_.context;
    result_.long_prompt = what_.long_prompt;
    result_.prompt_seconds = static_cast<double>(statistics.first_token - statistics.submitted) * 1e-9;
    for (const auto& [stream, _] : streams) engine_->Cancel(stream);
    while (!engine_->idle()) engine_->Step();
  }

  const ServingBenchOptions& what_;
  const Progress& progress_;
  EngineOptions engine_options_;
  std::unique_ptr<Engine> engine_;
  ServingBenchResult result_;
  uint64_t done_ = 0, total_ = 0;
};

}  // namespace

ServingBenchResult MeasureServing(const Model& model, const RuntimeOptions& options, const ServingBenchOptions& what,
                                  const Progress& progress) {
  return Bench(model, options, what, progress).Run();
}

}  // namespace edgellm
