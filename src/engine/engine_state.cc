// See engine_state.h.
#include "engine/engine_state.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "base/error.h"
#include "base/sha256.h"
#include "base/steady_now.h"

namespace edgellm {
namespace {

/// A name space that cannot be guessed into from another salt: a part of its SHA-256.
NameSpace NameSpaceOf(const std::string& salt) {
  if (salt.empty()) return {};
  const std::string digest = Sha256Hex(std::as_bytes(std::span(salt)));
  return {std::stoull(digest.substr(0, 16), nullptr, 16), std::stoull(digest.substr(16, 16), nullptr, 16)};
}

std::vector<TokenBias> EarlyBias(const Request& request, int vocab) {
  std::vector<TokenBias> bias;
  if (request.min_tokens == 0 || request.ignore_eos) return bias;
  bias = request.bias;
  for (const int32_t token : request.stop_tokens) {
    if (token >= 0 && token < vocab) bias.push_back({token, -std::numeric_limits<float>::infinity()});
  }
  return bias;
}

}  // namespace

Engine::State::State(std::unique_ptr<Backend> made, const EngineOptions& given)
    : backend(std::move(made)),
      options(given),
      cache(EngineLimits(given, KvType::kF16).pages, given.max_sequences, given.prefix_cache),
      columns(given.batch_tokens, given.max_sequences, given.max_sequences + given.score_rows,
              PagesFor(given.context)) {
  if (!options.clock) options.clock = SteadyNow;
  const auto sequences = static_cast<size_t>(options.max_sequences);
  const size_t most_rows = sequences + static_cast<size_t>(options.score_rows);
  for (auto* list : {&running, &finished, &cancelled}) list->reserve(sequences);
  running_views.reserve(sequences);
  claims.reserve(sequences);
  composition.shares.reserve(sequences);
  rows.reserve(most_rows);
  hidden_rows.reserve(static_cast<size_t>(options.batch_tokens));
  events.reserve(most_rows + sequences);
}

void Engine::State::Queue(const std::shared_ptr<const Request>& request, RequestId id) {
  const int64_t now = options.clock();
  const double reading = time_model.costs().prefill * static_cast<double>(request->prompt.size());
  const NameSpace name_space = NameSpaceOf(request->cache_salt);
  const std::vector<TokenBias> early_bias = EarlyBias(*request, options.vocab);
  for (int sample = 0; sample < request->samples; ++sample) {
    auto sequence = std::make_unique<Sequence>();
    sequence->id = id;
    sequence->sample = sample;
    sequence->request = request;
    sequence->sampling = request->sampling;
    sequence->sampling.seed = SeedOf(request->sampling.seed, sample);
    sequence->early_bias = early_bias;
    if (request->filter) {
      sequence->filter = sample == 0 ? request->filter : request->filter->Copy();
      sequence->allowed.resize((static_cast<size_t>(options.vocab) + 31) / 32);
    }
    sequence->name_space = name_space;
    sequence->rank = {.level = static_cast<int>(request->priority),
                      .deadline = DeadlineOf(now, request->deadline, reading, options.rules),
                      .order = id * kMostSamples + sample};
    sequence->queued_since = now;
    sequence->statistics.prompt_tokens = sequence->prompt_size();
    sequence->statistics.submitted = now;
    waiting.push_back(std::move(sequence));
  }
  ++waiting_requests;
}

void Engine::State::Cancel(RequestId id, int sample) {
  const int64_t now = options.clock();
  const auto take = [&](std::vector<Owned>& list) {
    for (Owned& owner : list) {
      if (owner->id != id || (sample != kAllSamples && owner->sample != sample)) continue;
      if (owner->table.root >= 0 || !owner->table.pages.empty()) {
        cache.Close(owner->table, owner->tokens, owner->computed, /*keep=*/true);
      } else if (owner->sample == 0 && owner->tokens.empty()) {
        --waiting_requests;
      }
      owner->statistics.finished = now;
      cancelled.push_back(std::move(owner));
    }
    std::erase(list, nullptr);
  };
  take(running);
  take(waiting);
}

void Engine::State::Begin() {
  events.clear();
  finished.clear();
  std::swap(finished, cancelled);
  for (const Owned& sequence : finished) {
    events.push_back({.request = sequence->id,
                      .sample = sequence->sample,
                      .finish = FinishReason::kCancelled,
                      .time = sequence->statistics.finished});
  }
}

Rank Engine::State::RankOf(const Sequence& sequence, int64_t now) const {
  Rank rank = sequence.rank;
  rank.level = LevelOf(sequence.request->priority, sequence.waited + now - sequence.queued_since, options.rules);
  return rank;
}

void Engine::State::Admit() {
  while (!waiting.empty()) {
    const int64_t now = options.clock();
    waiting_views.clear();
    for (const Owned& sequence : waiting)
      waiting_views.push_back({RankOf(*sequence, now), PagesFor(sequence->size() + 1)});
    const auto first = static_cast<size_t>(
        std::min_element(waiting_views.begin(), waiting_views.end(),
                         [](const WaitingView& a, const WaitingView& b) { return a.rank < b.rank; }) -
        waiting_views.begin());
    const Sequence& candidate = *waiting[first];
    waiting_views[first].pages -=
        cache.HeldPages(candidate.name_space, candidate.tokens.empty() ? candidate.request->prompt : candidate.tokens);
    GatherRunning();
    const Admission move = NextAdmission(waiting_views, running_views,
                                         {.places = options.max_sequences, .pages = cache.available(), .tokens = 0});
    if (move.preempt >= 0) {
      Preempt(static_cast<size_t>(move.preempt));
    } else if (move.admit >= 0) {
      Start(static_cast<size_t>(move.admit), now);
    } else {
      break;
    }
  }
}

void Engine::State::Start(size_t waiting_index, int64_t now) {
  Owned owner = std::move(waiting[waiting_index]);
  waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(waiting_index));
  Sequence& sequence = *owner;
  sequence.rank = RankOf(sequence, now);
  sequence.waited += now - sequence.queued_since;
  if (sequence.tokens.empty()) {
    const Request& request = *sequence.request;
    const auto longest = static_cast<size_t>(options.context), known = request.prompt.size();
    const size_t most =
        request.max_tokens < 0 ? longest : std::min(longest, known + static_cast<size_t>(request.max_tokens));
    sequence.tokens.reserve(most + 1);
    sequence.tokens = request.prompt;
    sequence.table.pages.reserve(static_cast<size_t>(PagesFor(static_cast<int>(most) + 1)));
    sequence.statistics.first_scheduled = now;
    if (sequence.sample == 0) --waiting_requests;
  }
  cache.Open(sequence.table, sequence.name_space);
  const auto place =
      std::find_if(running.begin(), running.end(), [&](const Owned& other) { return sequence.rank < other->rank; });
  running.insert(place, std::move(owner));
}

void Engine::State::Preempt(size_t running_index) {
  Owned owner = std::move(running[running_index]);
  running.erase(running.begin() + static_cast<std::ptrdiff_t>(running_index));
  cache.Close(owner->table, owner->tokens, owner->computed, /*keep=*/true);
  owner->computed = 0;
  owner->waits = false;
  owner->queued_since = options.clock();
  ++owner->statistics.preemptions;
  ++counts.preemptions;
  waiting.push_back(std::move(owner));
}

void Engine::State::GatherRunning() {
  running_views.clear();
  for (const Owned& owner : running) {
    const Sequence& sequence = *owner;
    running_views.push_back(
        {.rank = sequence.rank,
         .tokens = sequence.size(),
         .computed = sequence.computed,
         .room = sequence.table.positions() - sequence.computed,
         .pages = static_cast<int>(sequence.table.pages.size()),
         .paced = sequence.statistics.generated_tokens > 0 && sequence.request->priority != Priority::kBatch,
         .waits = sequence.waits,
         .scored = sequence.scores()});
  }
}

const Sequence* Engine::State::LeaderOf(const Sequence& sequence) const {
  if (sequence.sample == 0) return nullptr;
  for (const Owned& other : running) {
    if (other->id == sequence.id && other->sample == 0) return other.get();
  }
  return nullptr;
}

void Engine::State::TakeOver(Sequence& sequence, int computed) {
  const int gained = computed - sequence.computed;
  sequence.computed = computed;
  counts.shared_tokens += gained;
  if (sequence.statistics.generated_tokens == 0) sequence.statistics.cached_tokens += gained;
}

bool Engine::State::Claim(const Sequence& sequence) {
  const int from = sequence.table.published * kPageTokens;
  if (from + kPageTokens > sequence.size()) return true;
  const WantedPage wanted = {cache.Tip(sequence.table),
                             std::span(sequence.tokens).subspan(static_cast<size_t>(from), kPageTokens)};
  const bool taken = std::any_of(claims.begin(), claims.end(), [&](const WantedPage& other) {
    return other.parent == wanted.parent && std::equal(other.tokens.begin(), other.tokens.end(), wanted.tokens.begin());
  });
  if (!taken) claims.push_back(wanted);
  return !taken;
}

void Engine::State::FollowLeader(Sequence& sequence, const Sequence& leader) {
  const int wanted = sequence.prompt_size() - 1;
  if (leader.computed < wanted) {
    sequence.waits = true;
  } else {
    TakeOver(sequence, cache.Fork(sequence.table, leader.table, wanted));
  }
}

void Engine::State::ShareWork() {
  claims.clear();
  for (const Owned& owner : running) {
    Sequence& sequence = *owner;
    sequence.waits = false;
    if (sequence.missing() == 1) continue;
    const bool border = sequence.at_border();
    if (border && cache.shares_prefixes()) {
      TakeOver(sequence, cache.TakeShared(sequence.table, sequence.tokens, sequence.usable()));
    }
    if (border && sequence.computed < sequence.prompt_size() - 1) {
      if (const Sequence* leader = LeaderOf(sequence)) {
        FollowLeader(sequence, *leader);
        continue;
      }
    }
    if (!cache.shares_prefixes()) continue;
    // What is claimed is computed by one in front, who gets its share of the batch before this one does.
    const bool first = Claim(sequence);
    if (!border) continue;
    sequence.waits = !first && sequence.computed + kPageTokens <= sequence.usable();
    if (!sequence.waits) TakeOver(sequence, cache.CopyShared(sequence.table, sequence.tokens, sequence.usable()));
  }
}

bool Engine::State::Schedule() {
  do {
    GatherRunning();
    const int spare_rows = options.max_sequences + options.score_rows - static_cast<int>(running.size());
    Compose(running_views,
            {.places = options.max_sequences,
             .pages = cache.available(),
             .tokens = options.batch_tokens,
             .spare_rows = spare_rows},
            time_model.costs(), options.rules, &composition);
    if (composition.preempt >= 0) Preempt(static_cast<size_t>(composition.preempt));
  } while (composition.preempt >= 0);
  columns.Clear();
  rows.clear();
  hidden_rows.clear();
  load = {};
  for (const Share& share : composition.shares) AddToBatch(share);
  return !composition.shares.empty();
}

SamplingRow Engine::State::RowOf(Sequence& sequence) const {
  // Where nothing is allowed the backend draws -1, and CommitRow ends the answer.
  if (sequence.filter) sequence.filter->Allowed(sequence.allowed);
  const int window = sequence.sampling.repeat_last_n;
  const size_t known = sequence.tokens.size();
  const size_t recent = window < 0 ? known : std::min(known, static_cast<size_t>(window));
  const bool early = sequence.statistics.generated_tokens < sequence.request->min_tokens;
  return {.parameters = &sequence.sampling,
          .recent = {sequence.tokens.data() + known - recent, recent},
          .bias = early && !sequence.early_bias.empty() ? sequence.early_bias : sequence.request->bias,
          .allowed = sequence.allowed,
          .draw = known};
}

void Engine::State::AddToBatch(const Share& share) {
  Sequence& sequence = *running[static_cast<size_t>(share.index)];
  const bool room = cache.Reserve(sequence.table, sequence.computed + share.count);
  EDGELLM_CHECK(room, "the schedule gives out pages that are there");
  columns.BeginSequence(sequence.table.pages);
  const bool decodes = sequence.missing() == 1;
  (decodes ? load.decode : load.prefill) += share.count;
  for (int position = sequence.computed; position < sequence.computed + share.count; ++position) {
    columns.AddToken(sequence.tokens[static_cast<size_t>(position)], position);
    (decodes ? load.attended : load.prompt_attended) += position + 1;
    if (sequence.pooling() != Pooling::kNone) {
      if (!sequence.pools(position)) continue;
      columns.WantHidden();
      hidden_rows.push_back(share.index);
    } else if (position + 1 == sequence.size()) {
      columns.WantLogits(RowOf(sequence));
      rows.push_back({share.index, /*prompt=*/false});
    } else if (sequence.scores() && position >= sequence.scored) {
      columns.WantLogits({.parameters = &sequence.sampling,
                          .recent = {},
                          .bias = {},
                          .allowed = {},
                          .draw = 0,
                          .given = sequence.tokens[static_cast<size_t>(position) + 1]});
      rows.push_back({share.index, /*prompt=*/true});
    }
  }
}

bool Engine::State::Forward() {
  try {
    if (!cache.copies().empty()) backend->CopyPages(cache.copies());
    cache.ClearCopies();
    const int64_t before = options.clock();
    backend->Forward(columns.View());
    if (!hidden_rows.empty()) backend->HiddenOf(0);  // a backend that has none says so here
    time_model.Observe(load, static_cast<double>(options.clock() - before) * 1e-9);
  } catch (const std::exception& error) {
    FailRunning(error.what());
    return false;
  }
  ++counts.steps;
  counts.decoded_tokens += load.decode;
  counts.prompt_tokens += load.prefill;
  return true;
}

void Engine::State::Commit() {
  for (const Share& share : composition.shares) {
    Sequence& sequence = *running[static_cast<size_t>(share.index)];
    sequence.computed += share.count;
    cache.Publish(sequence.table, sequence.tokens, sequence.computed);
  }
  const int64_t now = options.clock();
  for (size_t row = 0; row < rows.size(); ++row) CommitRow(row, now);
  for (size_t row = 0; row < hidden_rows.size(); ++row) CommitHidden(row, now);
  std::erase(running, nullptr);
}

void Engine::State::CommitRow(size_t row, int64_t now) {
  Owned& owner = running[static_cast<size_t>(rows[row].index)];
  Sequence& sequence = *owner;
  const SampledToken& sampled = backend->Sampled()[row];
  Event event = {.request = sequence.id,
                 .sample = sequence.sample,
                 .token = sampled.token,
                 .prompt = rows[row].prompt,
                 .log_probability = sampled.log_probability,
                 .time = now,
                 .likeliest = sampled.Likeliest()};
  if (event.prompt) {
    ++sequence.scored;
    events.push_back(event);
    return;
  }
  if (sampled.token < 0) {
    event.finish = sequence.filter && sequence.filter->Complete() ? FinishReason::kStop : FinishReason::kDeadEnd;
    events.push_back(event);
    return Finish(owner, /*keep=*/true, now);
  }
  if (sequence.filter) sequence.filter->Accept(sampled.token);
  RequestStatistics& statistics = sequence.statistics;
  if (statistics.generated_tokens++ == 0) {
    statistics.first_token = now;
  } else {
    statistics.longest_gap = std::max(statistics.longest_gap, now - statistics.last_token);
  }
  statistics.last_token = now;
  sequence.tokens.push_back(sampled.token);
  event.finish = FinishOf(sequence, sampled.token);
  if (event.finish == FinishReason::kStop) event.token = -1;
  events.push_back(event);
  if (event.finish != FinishReason::kNone) Finish(owner, /*keep=*/true, now);
}

/// Adds a hidden state to its pool. With the prompt's last one the request is answered.
void Engine::State::CommitHidden(size_t row, int64_t now) {
  Owned& owner = running[static_cast<size_t>(hidden_rows[row])];
  Sequence& sequence = *owner;
  const std::span<const float> hidden = backend->HiddenOf(static_cast<int>(row));
  if (sequence.pool.empty()) sequence.pool.resize(hidden.size());
  for (size_t i = 0; i < hidden.size(); ++i) sequence.pool[i] += static_cast<double>(hidden[i]);
  const int wanted = sequence.pooling() == Pooling::kMean ? sequence.prompt_size() : 1;
  if (++sequence.pooled < wanted) return;
  for (const double sum : sequence.pool) sequence.embedding.push_back(static_cast<float>(sum / wanted));
  events.push_back({.request = sequence.id,
                    .sample = sequence.sample,
                    .finish = FinishReason::kStop,
                    .time = now,
                    .embedding = sequence.embedding});
  Finish(owner, /*keep=*/true, now);
}

FinishReason Engine::State::FinishOf(const Sequence& sequence, int32_t token) const {
  const Request& request = *sequence.request;
  const auto& stops = request.stop_tokens;
  if (!request.ignore_eos && std::find(stops.begin(), stops.end(), token) != stops.end()) return FinishReason::kStop;
  if (request.max_tokens >= 0 && sequence.statistics.generated_tokens >= request.max_tokens) {
    return FinishReason::kLength;
  }
  return sequence.size() >= options.context ? FinishReason::kContextFull : FinishReason::kNone;
}

void Engine::State::Finish(Owned& owner, bool keep, int64_t now) {
  owner->statistics.finished = now;
  cache.Close(owner->table, owner->tokens, owner->computed, keep);
  finished.push_back(std::move(owner));
}

void Engine::State::FailRunning(const char* what) {
  failure = what;
  ++counts.failures;
  const int64_t now = options.clock();
  for (Owned& owner : running) {
    events.push_back({.request = owner->id, .sample = owner->sample, .finish = FinishReason::kFailed, .time = now});
    Finish(owner, /*keep=*/false, now);
  }
  running.clear();
  cache.ClearCopies();
  cache.DropCached();  // nobody knows what a device that failed has left in its pages
}

const Sequence* Engine::State::FindSequence(RequestId id, int sample) const {
  for (const auto* list : {&running, &finished, &cancelled, &waiting}) {
    for (const Owned& owner : *list) {
      if (owner->id == id && owner->sample == sample) return owner.get();
    }
  }
  return nullptr;
}

}  // namespace edgellm
