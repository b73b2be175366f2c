// What is asked of the engine, and what it answers: in ids, stamps and counts.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/scheduler.h"
#include "engine/token_filter.h"
#include "plan/sampling.h"

namespace edgellm {

struct EngineOptions;

/// kDeadEnd: the request's filter allowed no token, and the answer was not complete.
enum class FinishReason : uint8_t { kNone, kStop, kLength, kContextFull, kCancelled, kFailed, kDeadEnd };

/// Most answers to one request.
inline constexpr int kMostSamples = 128;
inline constexpr int kAllSamples = -1;

/// What a prompt's last hidden states (after the final norm) become: their mean over all tokens, or the last token's.
enum class Pooling : uint8_t { kNone, kMean, kLast };

struct Request {
  std::vector<int32_t> prompt;  // at least one token
  int max_tokens = -1;          // -1: until a stop token or the end of the context
  int min_tokens = 0;           // no stop token is drawn before so many
  SamplingParameters sampling;
  std::vector<TokenBias> bias;
  std::vector<int32_t> stop_tokens;     // the stop token itself is not reported
  std::shared_ptr<TokenFilter> filter;  // none: every token is allowed. Further samples have copies
  bool ignore_eos = false;              // stop tokens are tokens like others
  int samples = 1;                      // answers to the same prompt; all but the first draw with seeds of their own
  bool prompt_log_probabilities =
      false;  // events for the prompt's tokens from its second on, with what `sampling` asks
              // for; the prompt is then computed whole, nothing of it is taken from others

  /// Not kNone: nothing is generated; the answer's one event has the pooled hidden state. The prompt may fill the whole
  /// context. For a mean it is computed whole, nothing of it is taken from others.
  Pooling embedding = Pooling::kNone;

  Priority priority = Priority::kNormal;
  double deadline = 0;     // seconds in which the first token is wanted: orders requests of a class; 0: none
  std::string cache_salt;  // only requests with the same one share what was computed
};

using RequestId = int64_t;

/// What happened to one answer in one step.
struct Event {
  RequestId request = 0;
  int sample = 0;
  int32_t token = -1;   // -1: none (the answer only finished)
  bool prompt = false;  // the token is one of the prompt's
  float log_probability = 0;
  FinishReason finish = FinishReason::kNone;
  int64_t time = 0;                                     // of the step's end, on the clock of the statistics
  std::span<const TokenLogProbability> likeliest = {};  // valid as long as the event
  std::span<const float> embedding = {};                // [hidden]; as long as the event
};

/// Of one answer. Times in nanoseconds of a steady clock, 0 where it did not come to that; counts of tokens.
struct RequestStatistics {
  int prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;
  int preemptions = 0;
  int64_t submitted = 0, first_scheduled = 0, first_token = 0, last_token = 0, finished = 0;
  int64_t longest_gap = 0;  // between two tokens
};

/// What the sample-th answer draws with. The first one has the request's own seed: alone or first of several, it is the
/// same answer.
uint64_t SeedOf(uint64_t seed, int sample);

/// Throws Error: kInvalidArgument (empty prompt, parameter out of range), kLimit (prompt longer than the context, with
/// both numbers). Looks at nothing but its arguments.
void CheckRequest(const Request& request, const EngineOptions& options);

}  // namespace edgellm
