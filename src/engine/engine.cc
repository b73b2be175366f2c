// See engine.h. Step is the whole story: admit, schedule, forward, commit.
#include "engine/engine.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <stdexcept>

#include "base/error.h"
#include "engine/page_pool.h"
#include "engine/scheduler.h"

namespace edgellm {
namespace {

int64_t Now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

int PagesFor(int positions) {
  return (positions + kPageTokens - 1) / kPageTokens;
}

struct Sequence {
  RequestId id = 0;
  Request request;
  std::vector<int32_t> tokens;  // prompt and answer
  std::vector<int32_t> pages;
  int computed = 0;  // positions with keys and values
  RequestStatistics statistics;
};

void CheckParameters(const Request& request, const EngineOptions& options) {
  const auto require = [](bool holds, const char* what) {
    if (!holds) throw Error(ErrorCode::kInvalidArgument, what);
  };
  const SamplingParameters& p = request.sampling;
  require(!request.prompt.empty(), "the prompt is empty");
  require(p.temperature >= 0 && p.temperature <= 1e6f, "temperature must be 0 or more");
  require(p.top_k >= 0, "top_k must be 0 (no limit) or more");
  require(p.top_p > 0 && p.top_p <= 1, "top_p must be above 0 and at most 1");
  require(p.min_p >= 0 && p.min_p <= 1, "min_p must be between 0 and 1");
  require(p.repetition_penalty > 0 && p.repetition_penalty <= 1e6f, "repetition_penalty must be above 0");
  require(std::abs(p.presence_penalty) <= 1e6f, "presence_penalty is out of range");
  require(std::abs(p.frequency_penalty) <= 1e6f, "frequency_penalty is out of range");
  require(p.repeat_last_n >= -1, "repeat_last_n must be -1 (the whole context), 0 (none) or more");
  require(request.max_tokens == -1 || request.max_tokens > 0, "max_tokens must be -1 (no limit) or above 0");
  for (int32_t token : request.prompt)
    require(token >= 0 && token < options.vocab, "the prompt has an unknown token id");
  for (const TokenBias& bias : request.bias) {
    require(bias.token >= 0 && bias.token < options.vocab, "logit_bias names an unknown token id");
    require(std::abs(bias.bias) <= 1e6f, "a logit bias is out of range");
  }
  if (static_cast<int>(request.prompt.size()) >= options.context) {
    Fail(ErrorCode::kLimit, "the prompt has {} tokens, which leaves no room for an answer in a context of {}",
         request.prompt.size(), options.context);
  }
}

}  // namespace

struct Engine::State {
  State(std::unique_ptr<Backend> made, const EngineOptions& given)
      : backend(std::move(made)), options(given), pool(EngineLimits(given, KvType::kF16).pages) {
    const auto tokens = static_cast<size_t>(options.batch_tokens), rows = static_cast<size_t>(options.max_sequences);
    for (auto* column : {&batch_tokens, &positions, &sequences}) column->reserve(tokens);
    logit_rows.reserve(rows);
    sampling.reserve(rows);
    for (auto* list : {&running, &finished}) list->reserve(rows);
    progress.reserve(rows);
    shares.reserve(rows);
    sampled_sequences.reserve(rows);
    events.reserve(2 * rows);
    pages_per_sequence = PagesFor(options.context);
    pages.resize(rows * static_cast<size_t>(pages_per_sequence));
  }

  void Admit();
  void TakePages(Sequence& sequence, int positions);
  void BuildBatch();
  void AddToBatch(const Share& share, int row);
  void Commit();
  FinishReason FinishOf(const Sequence& sequence, int32_t token) const;
  void Retire(Sequence& sequence, bool retain);
  void ReuseRetained(Sequence& sequence);
  void DropRetained();
  void Report(RequestId id, int32_t token, float log_probability, FinishReason finish) {
    events.push_back({id, token, log_probability, finish});
  }

  std::unique_ptr<Backend> backend;
  EngineOptions options;
  PagePool pool;
  RequestId last_id = 0;
  std::deque<std::unique_ptr<Sequence>> waiting;
  std::vector<std::unique_ptr<Sequence>> running;
  std::vector<std::unique_ptr<Sequence>> finished;  // of the last Step: their statistics can be asked for
  std::vector<RequestId> cancelled;                 // to be reported by the next Step
  std::vector<Event> events;

  std::vector<int32_t> retained_tokens;  // whose keys and values lie in retained_pages
  std::vector<int32_t> retained_pages;

  // The batch of the current Step: columns that Batch looks at.
  std::vector<Progressing> progress;
  std::vector<Share> shares;
  std::vector<int32_t> batch_tokens, positions, sequences, logit_rows, pages;
  std::vector<SamplingRow> sampling;
  std::vector<int> sampled_sequences;  // index into running, one per logit row
  int pages_per_sequence = 0;
};

void Engine::State::DropRetained() {
  for (int32_t page : retained_pages) pool.Release(page);
  retained_pages.clear();
  retained_tokens.clear();
}

void Engine::State::ReuseRetained(Sequence& sequence) {
  const auto& prompt = sequence.tokens;
  const size_t limit = std::min(retained_tokens.size(), prompt.size() - 1);  // at least one token must be computed
  const auto [end, _] =
      std::mismatch(prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>(limit), retained_tokens.begin());
  // Whole pages only: the rest of a shared page would be written by the new sequence.
  const int shared = static_cast<int>(end - prompt.begin()) / kPageTokens;
  for (int i = 0; i < shared; ++i) {
    sequence.pages.push_back(retained_pages[static_cast<size_t>(i)]);
    pool.Share(sequence.pages.back());
  }
  sequence.computed = shared * kPageTokens;
  sequence.statistics.cached_tokens = sequence.computed;
}

void Engine::State::Admit() {
  while (!waiting.empty() && running.size() < static_cast<size_t>(options.max_sequences)) {
    running.push_back(std::move(waiting.front()));
    waiting.pop_front();
    running.back()->statistics.first_scheduled = Now();
    ReuseRetained(*running.back());
  }
}

void Engine::State::TakePages(Sequence& sequence, int positions_needed) {
  while (static_cast<int>(sequence.pages.size()) < PagesFor(positions_needed)) {
    int32_t page = pool.Take();
    if (page < 0) {
      DropRetained();
      page = pool.Take();
    }
    EDGELLM_CHECK(page >= 0, "the pool holds every running sequence at its longest");
    sequence.pages.push_back(page);
  }
}

void Engine::State::AddToBatch(const Share& share, int row) {
  Sequence& sequence = *running[static_cast<size_t>(share.index)];
  TakePages(sequence, sequence.computed + share.count);
  std::copy(sequence.pages.begin(), sequence.pages.end(), pages.begin() + row * pages_per_sequence);
  for (int i = 0; i < share.count; ++i) {
    batch_tokens.push_back(sequence.tokens[static_cast<size_t>(sequence.computed + i)]);
    positions.push_back(sequence.computed + i);
    sequences.push_back(row);
  }
  sequence.computed += share.count;
  if (sequence.computed < static_cast<int>(sequence.tokens.size())) return;  // the prompt goes on in the next Step
  logit_rows.push_back(static_cast<int32_t>(batch_tokens.size()) - 1);
  const int window = sequence.request.sampling.repeat_last_n;
  const size_t known = sequence.tokens.size();
  const size_t recent = window < 0 ? known : std::min(known, static_cast<size_t>(window));
  sampling.push_back({.parameters = &sequence.request.sampling,
                      .recent = {sequence.tokens.data() + known - recent, recent},
                      .bias = sequence.request.bias,
                      .draw = known});
  sampled_sequences.push_back(share.index);
}

void Engine::State::BuildBatch() {
  progress.clear();
  for (const auto& sequence : running) {
    progress.push_back({static_cast<int>(sequence->tokens.size()), sequence->computed});
  }
  Schedule(progress, options.batch_tokens, shares);
  for (auto* column : {&batch_tokens, &positions, &sequences, &logit_rows}) column->clear();
  sampling.clear();
  sampled_sequences.clear();
  for (size_t row = 0; row < shares.size(); ++row) AddToBatch(shares[row], static_cast<int>(row));
}

FinishReason Engine::State::FinishOf(const Sequence& sequence, int32_t token) const {
  const auto& stops = sequence.request.stop_tokens;
  if (std::find(stops.begin(), stops.end(), token) != stops.end()) return FinishReason::kStop;
  if (sequence.request.max_tokens >= 0 && sequence.statistics.generated_tokens >= sequence.request.max_tokens) {
    return FinishReason::kLength;
  }
  if (static_cast<int>(sequence.tokens.size()) >= options.context) return FinishReason::kContextFull;
  return FinishReason::kNone;
}

void Engine::State::Retire(Sequence& sequence, bool retain) {
  sequence.statistics.finished = Now();
  if (retain) {
    DropRetained();
    retained_pages = std::move(sequence.pages);
    retained_tokens = std::move(sequence.tokens);
    retained_tokens.resize(static_cast<size_t>(sequence.computed));
  } else {
    for (int32_t page : sequence.pages) pool.Release(page);
  }
  sequence.pages.clear();
}

void Engine::State::Commit() {
  const std::span<const SampledToken> sampled = backend->Sampled();
  for (size_t row = 0; row < sampled_sequences.size(); ++row) {
    auto& owner = running[static_cast<size_t>(sampled_sequences[row])];
    Sequence& sequence = *owner;
    const int32_t token = sampled[row].token;
    if (sequence.statistics.generated_tokens++ == 0) sequence.statistics.first_token = Now();
    sequence.tokens.push_back(token);
    const FinishReason finish = FinishOf(sequence, token);
    Report(sequence.id, finish == FinishReason::kStop ? -1 : token, sampled[row].log_probability, finish);
    if (finish == FinishReason::kNone) continue;
    Retire(sequence, /*retain=*/true);
    finished.push_back(std::move(owner));
  }
  std::erase(running, nullptr);
}

Engine::Engine(std::unique_ptr<Backend> backend, const EngineOptions& options)
    : state_(std::make_unique<State>(std::move(backend), options)) {
  EDGELLM_CHECK(options.vocab > 0 && options.context > 0 && options.max_sequences > 0 &&
                    options.batch_tokens >= options.max_sequences,
                "engine options must be positive, and a batch must hold a token of every sequence");
}

Engine::~Engine() = default;

RequestId Engine::Submit(Request request) {
  CheckParameters(request, state_->options);
  auto sequence = std::make_unique<Sequence>();
  sequence->id = ++state_->last_id;
  sequence->tokens.reserve(static_cast<size_t>(state_->options.context));
  sequence->tokens = request.prompt;
  sequence->pages.reserve(static_cast<size_t>(state_->pages_per_sequence));
  sequence->statistics.prompt_tokens = static_cast<int>(request.prompt.size());
  sequence->statistics.submitted = Now();
  sequence->request = std::move(request);
  state_->waiting.push_back(std::move(sequence));
  return state_->last_id;
}

void Engine::Cancel(RequestId request) {
  State& s = *state_;
  const auto is_it = [request](const auto& sequence) { return sequence->id == request; };
  if (auto it = std::find_if(s.running.begin(), s.running.end(), is_it); it != s.running.end()) {
    s.Retire(**it, /*retain=*/false);
    s.finished.push_back(std::move(*it));
    s.running.erase(it);
  } else if (auto queued = std::find_if(s.waiting.begin(), s.waiting.end(), is_it); queued != s.waiting.end()) {
    s.finished.push_back(std::move(*queued));
    s.waiting.erase(queued);
  } else {
    return;
  }
  s.cancelled.push_back(request);
}

std::span<const Event> Engine::Step() {
  State& s = *state_;
  s.events.clear();
  std::erase_if(s.finished, [&](const auto& sequence) {
    return std::find(s.cancelled.begin(), s.cancelled.end(), sequence->id) == s.cancelled.end();
  });
  for (RequestId id : s.cancelled) s.Report(id, -1, 0, FinishReason::kCancelled);
  s.cancelled.clear();
  s.Admit();
  if (s.running.empty()) return s.events;
  s.BuildBatch();
  s.backend->Forward({.tokens = s.batch_tokens,
                      .positions = s.positions,
                      .sequences = s.sequences,
                      .pages = s.pages,
                      .pages_per_sequence = s.pages_per_sequence,
                      .logit_rows = s.logit_rows,
                      .sampling = s.sampling});
  s.Commit();
  return s.events;
}

bool Engine::idle() const {
  return state_->running.empty() && state_->waiting.empty() && state_->cancelled.empty();
}

RequestStatistics Engine::Statistics(RequestId request) const {
  for (const auto* group : {&state_->running, &state_->finished}) {
    for (const auto& sequence : *group) {
      if (sequence->id == request) return sequence->statistics;
    }
  }
  for (const auto& sequence : state_->waiting) {
    if (sequence->id == request) return sequence->statistics;
  }
  Fail(ErrorCode::kNotFound, "request {} is not known (any more)", request);
}

void Engine::DropRetained() {
  state_->DropRetained();
}

int Engine::used_pages() const {
  return state_->pool.used();
}

const Backend& Engine::backend() const {
  return *state_->backend;
}

void Engine::CheckIntegrity() const {
  const State& s = *state_;
  std::vector<int32_t> held = s.retained_pages;
  for (const auto& sequence : s.running) held.insert(held.end(), sequence->pages.begin(), sequence->pages.end());
  s.pool.CheckIntegrity(held);
  if (PagesFor(static_cast<int>(s.retained_tokens.size())) > static_cast<int>(s.retained_pages.size())) {
    throw std::logic_error("retained tokens without pages");
  }
  for (const auto& sequence : s.running) {
    if (sequence->computed > static_cast<int>(sequence->tokens.size()) ||
        PagesFor(sequence->computed) > static_cast<int>(sequence->pages.size())) {
      throw std::logic_error("a sequence has computed positions without pages");
    }
  }
}

BackendLimits EngineLimits(const EngineOptions& options, KvType kv) {
  return {.batch_tokens = options.batch_tokens,
          .logit_rows = options.max_sequences,
          .pages = options.max_sequences * PagesFor(options.context),
          .context = options.context,
          .kv = kv};
}

}  // namespace edgellm
