// The engine: requests in, tokens out. It owns sequences, KV pages and the schedule, deals in ids only, and knows no
// tensor. Single-threaded: whoever drives it calls Step until nothing is left. Context is never cut silently: a request
// that does not fit is refused with the numbers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "plan/sampling.h"

namespace edgellm {

enum class FinishReason : uint8_t { kNone, kStop, kLength, kContextFull, kCancelled };

struct Request {
  std::vector<int32_t> prompt;  // at least one token
  int max_tokens = -1;          // -1: until a stop token or the end of the context
  SamplingParameters sampling;
  std::vector<TokenBias> bias;
  std::vector<int32_t> stop_tokens;  // the stop token itself is not reported
};

using RequestId = int64_t;

/// What happened to one request in one step.
struct Event {
  RequestId request = 0;
  int32_t token = -1;  // -1: none (the request only finished)
  float log_probability = 0;
  FinishReason finish = FinishReason::kNone;
};

/// Times in nanoseconds of a steady clock; counts of tokens.
struct RequestStatistics {
  int prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;
  int64_t submitted = 0, first_scheduled = 0, first_token = 0, finished = 0;
};

struct EngineOptions {
  int vocab = 0;           // token ids are below this
  int context = 0;         // longest sequence
  int max_sequences = 1;   // running together
  int batch_tokens = 512;  // most tokens in a forward: a longer prompt is read in slices
};

class Engine {
 public:
  /// `backend` must have been made with EngineLimits(options, …).
  Engine(std::unique_ptr<Backend> backend, const EngineOptions& options);
  ~Engine();

  /// Queues a request. Throws Error: kInvalidArgument (empty prompt, parameter out of range), kLimit (prompt longer
  /// than the context, with both numbers).
  RequestId Submit(Request request);
  /// Ends a request at once and gives its pages back; the next Step reports kCancelled. Unknown ids are ignored.
  void Cancel(RequestId request);
  /// Runs one forward if there is work. Events stay valid until the next call.
  std::span<const Event> Step();
  bool idle() const;

  /// Of a request that has finished in the last Step or is still running.
  RequestStatistics Statistics(RequestId request) const;
  /// The keys and values of the last finished sequence stay until their pages are needed: a next request that begins
  /// with the same tokens (a conversation) continues from them. This gives them back.
  void DropRetained();
  /// Pages in use, retained ones included.
  int used_pages() const;
  const Backend& backend() const;
  /// Throws if reference counts, free list and page tables contradict each other.
  void CheckIntegrity() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The backend limits that an engine with these options needs.
BackendLimits EngineLimits(const EngineOptions& options, KvType kv);

}  // namespace edgellm
