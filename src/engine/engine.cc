// See engine.h. Step is the whole story; its parts are in engine_state.cc.
#include "engine/engine.h"

#include <utility>

#include "base/error.h"
#include "engine/engine_state.h"

namespace edgellm {

Engine::Engine(std::unique_ptr<Backend> backend, const EngineOptions& options) {
  EDGELLM_CHECK(options.vocab > 0 && options.context > 0 && options.max_sequences > 0 &&
                    options.batch_tokens >= options.max_sequences,
                "engine options must be positive, and a batch must hold a token of every sequence");
  if (EngineLimits(options, KvType::kF16).pages < PagesFor(options.context)) {
    Fail(ErrorCode::kInvalidArgument, "{} pages of {} positions do not hold one sequence of {}", options.pages,
         kPageTokens, options.context);
  }
  state_ = std::make_unique<State>(std::move(backend), options);
}

Engine::~Engine() = default;

std::span<const Event> Engine::Step() {
  State& s = *state_;
  s.Begin();
  s.Admit();
  s.ShareWork();
  if (s.Schedule() && s.Forward()) s.Commit();
  return s.events;
}

RequestId Engine::Submit(Request request, RequestId id) {
  State& s = *state_;
  CheckRequest(request, s.options);
  if (s.waiting_requests >= s.options.max_waiting) {
    Fail(ErrorCode::kBusy, "{} requests are waiting already: try again later", s.waiting_requests);
  }
  if (id == 0) id = s.last_id + 1;
  EDGELLM_CHECK(id > s.last_id, "request ids must rise");
  s.last_id = id;
  s.Queue(std::make_shared<const Request>(std::move(request)), id);
  return id;
}

void Engine::Cancel(RequestId request, int sample) {
  state_->Cancel(request, sample);
}

bool Engine::idle() const {
  return state_->running.empty() && state_->waiting.empty() && state_->cancelled.empty();
}

RequestStatistics Engine::Statistics(RequestId request, int sample) const {
  const Sequence* sequence = state_->FindSequence(request, sample);
  if (sequence == nullptr) Fail(ErrorCode::kNotFound, "request {} is not known (any more)", request);
  return sequence->statistics;
}

const std::string& Engine::failure() const {
  return state_->failure;
}

EngineMetrics Engine::Metrics() const {
  const State& s = *state_;
  EngineMetrics metrics = s.counts;
  metrics.waiting = static_cast<int>(s.waiting.size());
  metrics.running = static_cast<int>(s.running.size());
  metrics.pages = EngineLimits(s.options, KvType::kF16).pages;
  metrics.pages_held = s.cache.held();
  metrics.pages_cached = s.cache.cached();
  metrics.evicted_pages = static_cast<int64_t>(s.cache.evictions());
  metrics.costs = s.time_model.costs();
  metrics.cost_deviation = s.time_model.deviation();
  return metrics;
}

const EngineOptions& Engine::options() const {
  return state_->options;
}

const Backend& Engine::backend() const {
  return *state_->backend;
}

void Engine::DropCached() {
  state_->cache.DropCached();
}

void Engine::CheckIntegrity() const {
  std::vector<const PageTable*> open;
  for (const auto& sequence : state_->running) {
    open.push_back(&sequence->table);
    if (sequence->computed > sequence->size() || sequence->computed > sequence->table.positions() ||
        sequence->table.published * kPageTokens > sequence->computed) {
      throw std::logic_error("a sequence has computed positions without pages");
    }
  }
  for (const auto& sequence : state_->waiting) {
    if (!sequence->table.pages.empty()) throw std::logic_error("a waiting sequence holds pages");
  }
  state_->cache.CheckIntegrity(open);
}

BackendLimits EngineLimits(const EngineOptions& options, KvType kv) {
  return {.batch_tokens = options.batch_tokens,
          .logit_rows = options.max_sequences + options.score_rows,
          .pages = options.pages > 0 ? options.pages : options.max_sequences * PagesFor(options.context),
          .context = options.context,
          .kv = kv};
}

}  // namespace edgellm
