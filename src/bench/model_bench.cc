// See model_bench.h.
#include "bench/model_bench.h"

#include <algorithm>
#include <chrono>
#include <sys/resource.h>

#include "base/error.h"
#include "base/memory_use.h"
#include "base/philox.h"
#include "bench/allocation_count.h"
#include "engine/engine.h"
#include "model/lower.h"

namespace edgellm {
namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

rusage Usage() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage;
}

/// The longest sequence that any of the figures needs.
int ContextFor(const ModelBenchOptions& what) {
  int context = 1;
  for (const int filled : what.contexts) context = std::max(context, filled + what.tokens + 1);
  for (const int tokens : what.prefills) context = std::max(context, tokens + 1);
  return context;
}

class Bench {
 public:
  Bench(const Model& model, const RuntimeOptions& options, const ModelBenchOptions& what, const Progress& progress)
      : what_(what),
        progress_(progress),
        plan_(Lower(model.config)),
        weights_(model.weights.Bind(plan_, model.Label())) {
    const int needed = ContextFor(what);
    if (needed > model.config.max_context) {
      Fail(ErrorCode::kInvalidArgument, "{} positions are asked for, more than the {} that the model was trained for",
           needed, model.config.max_context);
    }
    engine_options_.vocab = model.config.vocab;
    engine_options_.context = std::min(model.config.max_context, std::max(needed, kItlPrompt + what.itl_tokens + 1));
    kv_ = options.kv ? *options.kv : DefaultKv(model);
    const auto start = Clock::now();
    auto backend = BindBackend(model, EngineLimits(engine_options_, kv_), options);
    result_.load_seconds = Seconds(start, Clock::now());
    result_.backend = backend->Describe();
    result_.weight_bytes_per_token = WeightBytesPerToken(plan_, weights_, result_.backend.ternary_share);
    backend_ = backend.get();
    engine_ = std::make_unique<Engine>(std::move(backend), engine_options_);
    total_ = what.contexts.size() + what.prefills.size() + (what.itl_tokens > 0 ? 1 : 0);
  }

  ModelBenchResult Run() {
    for (const int tokens : what_.prefills) MeasurePrefill(tokens);
    for (const int context : what_.contexts) MeasureDecode(context);
    if (what_.itl_tokens > 0) MeasureInterToken();
    Tell("done");
    result_.peak_resident_bytes = PeakResidentBytes();
    return std::move(result_);
  }

 private:
  static constexpr int kItlPrompt = 32;

  void Tell(const char* activity) {
    if (progress_) progress_(activity, done_, total_);
  }

  RequestId Submit(int prompt, int tokens) {
    Request request;
    request.prompt.resize(static_cast<size_t>(prompt));
    for (size_t i = 0; i < request.prompt.size(); ++i) {
      request.prompt[i] = static_cast<int32_t>(Philox(7, i)[0] % static_cast<uint32_t>(engine_options_.vocab));
    }
    request.max_tokens = tokens;
    request.sampling.temperature = 0;
    return engine_->Submit(std::move(request));
  }

  /// Steps until a token comes; true when it was the request's last.
  bool NextToken() {
    for (;;) {
      for (const Event& event : engine_->Step()) {
        if (event.finish != FinishReason::kNone) return true;
        if (event.token >= 0) return false;
      }
    }
  }

  void MeasurePrefill(int tokens) {
    Tell("reading prompts");
    std::vector<double> rates, seconds;
    StepTimes times;
    for (int round = 0; round <= what_.rounds; ++round) {
      engine_->DropCached();
      backend_->SetStepTimes(round == 0 ? nullptr : &times);
      const auto start = Clock::now();
      Submit(tokens, 1);
      NextToken();
      const double took = Seconds(start, Clock::now());
      if (round == 0) continue;  // warm-up
      seconds.push_back(took);
      rates.push_back(tokens / took);
    }
    if (result_.prefill.empty()) {
      result_.ttft_prompt = tokens;
      result_.ttft_ms = SpreadOf(seconds).median * 1e3;
    }
    backend_->SetStepTimes(nullptr);
    result_.prefill_steps = StepsOf(times, static_cast<double>(tokens) * what_.rounds, 0);
    result_.prefill.push_back({tokens, SpreadOf(rates)});
    ++done_;
  }

  void MeasureDecode(int context) {
    Tell("decoding");
    StepTimes times;
    std::vector<double> rates;
    for (int round = 0; round <= what_.rounds; ++round) {
      Submit(context, what_.tokens + 1);  // from the second round on its keys and values are there already
      NextToken();
      backend_->SetStepTimes(round == 0 ? nullptr : &times);
      const auto start = Clock::now();
      while (!NextToken()) {
      }
      if (round > 0) rates.push_back(what_.tokens / Seconds(start, Clock::now()));
      backend_->SetStepTimes(nullptr);
    }
    const size_t element = kv_ == KvType::kF16 ? 2 : 4;
    const uint64_t kv_bytes = KvBytesRead(plan_, context + what_.tokens / 2, element);
    const Spread rate = SpreadOf(rates);
    const auto bytes = static_cast<double>(result_.weight_bytes_per_token + kv_bytes);
    if (result_.steps.empty())
      result_.steps = StepsOf(times, static_cast<double>(what_.tokens) * what_.rounds, kv_bytes);
    result_.decode.push_back({context, rate, bytes * rate.median / 1e9});
    ++done_;
  }

  std::vector<StepFigure> StepsOf(const StepTimes& times, double tokens, uint64_t kv_bytes) const {
    std::array<uint64_t, kStepKinds> bytes{};
    for (const Step& step : plan_.steps) {
      bytes[static_cast<size_t>(KindOf(step))] += WeightBytes(step, weights_, result_.backend.ternary_share);
    }
    bytes[static_cast<size_t>(StepKind::kAttend)] += kv_bytes;
    std::vector<StepFigure> steps;
    for (size_t i = 0; i < kStepKinds; ++i) {
      steps.push_back({static_cast<StepKind>(i), static_cast<double>(times.nanoseconds[i]) / tokens / 1e6, bytes[i]});
    }
    return steps;
  }

  void MeasureInterToken() {
    Tell("times between tokens");
    std::vector<double> milliseconds;
    milliseconds.reserve(static_cast<size_t>(what_.itl_tokens));
    const int most = engine_options_.context - kItlPrompt;
    while (static_cast<int>(milliseconds.size()) < what_.itl_tokens) {
      engine_->DropCached();
      Submit(kItlPrompt, std::min(what_.itl_tokens - static_cast<int>(milliseconds.size()) + 1, most));
      NextToken();
      const uint64_t allocations = AllocationCount();
      const rusage before = Usage();
      auto last = Clock::now();
      bool finished = false;
      while (!finished) {
        finished = NextToken();
        const auto now = Clock::now();
        milliseconds.push_back(Seconds(last, now) * 1e3);
        last = now;
      }
      const rusage after = Usage();
      result_.allocations += AllocationCount() - allocations;
      result_.minor_faults += static_cast<uint64_t>(after.ru_minflt - before.ru_minflt);
      result_.major_faults += static_cast<uint64_t>(after.ru_majflt - before.ru_majflt);
    }
    result_.itl_tokens = static_cast<int>(milliseconds.size());
    result_.itl_ms = PercentilesOf(std::move(milliseconds));
    ++done_;
  }

  const ModelBenchOptions& what_;
  const Progress& progress_;
  Plan plan_;
  std::vector<WeightView> weights_;
  EngineOptions engine_options_;
  KvType kv_{};
  Backend* backend_ = nullptr;  // the engine's
  std::unique_ptr<Engine> engine_;
  ModelBenchResult result_;
  uint64_t done_ = 0, total_ = 0;
};

}  // namespace

ModelBenchResult MeasureModel(const Model& model, const RuntimeOptions& options, const ModelBenchOptions& what,
                              const Progress& progress) {
  return Bench(model, options, what, progress).Run();
}

}  // namespace edgellm
