// The engine: requests in, tokens out, for many users at once. It owns sequences, KV pages and the schedule, deals in
// ids only, and knows no tensor. Single-threaded: whoever drives it calls Step until nothing is left; engine_thread.h
// puts a thread under it. Context is never cut silently: a request that does not fit is refused with the numbers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "backend/backend.h"
#include "engine/request.h"
#include "engine/scheduler.h"

namespace edgellm {

struct EngineOptions {
  int vocab = 0;           // token ids are below this
  int context = 0;         // longest sequence
  int max_sequences = 1;   // running together
  int batch_tokens = 512;  // most tokens in a forward: a longer prompt is read in slices
  int pages = 0;           // KV pages; 0: enough for every running sequence at its longest
  int max_waiting = 1024;  // requests in the queue
  int score_rows = 0;      // logit rows beyond one a sequence: so many tokens faster are prompts scored
  bool prefix_cache = true;
  SchedulingRules rules = {};
  std::function<int64_t()> clock = {};  // nanoseconds; empty: the steady clock
};

/// A moment's picture. Counts since the beginning where nothing else is said.
struct EngineMetrics {
  int waiting = 0, running = 0;                     // now
  int pages = 0, pages_held = 0, pages_cached = 0;  // now: in all, by sequences, by nobody but the cache
  int64_t steps = 0, failures = 0;                  // forwards; those that threw
  int64_t decoded_tokens = 0, prompt_tokens = 0;    // computed
  int64_t shared_tokens = 0;                        // taken over from what others computed
  int64_t preemptions = 0, evicted_pages = 0;
  StepCosts costs;            // the estimate of now, in seconds
  double cost_deviation = 0;  // how far measurements are from it, as a share
};

class Engine {
 public:
  /// `backend` must have been made with EngineLimits(options, …). Throws Error(kInvalidArgument) when `options.pages`
  /// cannot hold one sequence at its longest.
  Engine(std::unique_ptr<Backend> backend, const EngineOptions& options);
  ~Engine();

  /// Queues a request. Throws Error as CheckRequest does, and kBusy when the queue is full. `id`: the caller's own,
  /// above all before it; 0: the next.
  RequestId Submit(Request request, RequestId id = 0);
  /// Ends a request at once, all its answers or the sample-th; the next Step reports kCancelled. Unknown ids are
  /// ignored.
  void Cancel(RequestId request, int sample = kAllSamples);
  /// Runs one forward if there is work. Events stay valid until the next call. What the backend throws ends the running
  /// requests with kFailed, and is said by failure().
  std::span<const Event> Step();
  bool idle() const;

  /// Of a request that has finished in the last Step or is still known. Throws Error(kNotFound).
  RequestStatistics Statistics(RequestId request, int sample = 0) const;
  /// What the backend said when it last failed.
  const std::string& failure() const;
  EngineMetrics Metrics() const;
  const EngineOptions& options() const;
  const Backend& backend() const;

  /// Keys and values of finished sequences stay until their pages are needed: a request that begins with the same
  /// tokens (a conversation, a system prompt) continues from them. This gives them back.
  void DropCached();
  /// Throws std::logic_error if reference counts, free list, prefix tree and page tables contradict each other.
  void CheckIntegrity() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The backend limits that an engine with these options needs.
BackendLimits EngineLimits(const EngineOptions& options, KvType kv);

}  // namespace edgellm
