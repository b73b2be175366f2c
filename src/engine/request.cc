// See request.h.
#include "engine/request.h"

#include <cmath>

#include "base/error.h"
#include "base/philox.h"
#include "engine/engine.h"

namespace edgellm {
namespace {

void Require(bool holds, const char* what) {
  if (!holds) throw Error(ErrorCode::kInvalidArgument, what);
}

void CheckSampling(const SamplingParameters& p) {
  Require(p.temperature >= 0 && p.temperature <= 1e6f, "temperature must be 0 or more");
  Require(p.top_k >= 0, "top_k must be 0 (no limit) or more");
  Require(p.top_p > 0 && p.top_p <= 1, "top_p must be above 0 and at most 1");
  Require(p.min_p >= 0 && p.min_p <= 1, "min_p must be between 0 and 1");
  Require(p.repetition_penalty > 0 && p.repetition_penalty <= 1e6f, "repetition_penalty must be above 0");
  Require(std::abs(p.presence_penalty) <= 1e6f, "presence_penalty is out of range");
  Require(std::abs(p.frequency_penalty) <= 1e6f, "frequency_penalty is out of range");
  Require(p.repeat_last_n >= -1, "repeat_last_n must be -1 (the whole context), 0 (none) or more");
  Require(p.likeliest >= 0 && p.likeliest <= kMostLikeliest, "at most 20 likeliest tokens can be reported");
}

}  // namespace

uint64_t SeedOf(uint64_t seed, int sample) {
  if (sample == 0) return seed;
  const auto words = Philox(seed, static_cast<uint64_t>(sample), 1);
  return uint64_t{words[0]} << 32 | words[1];
}

void CheckRequest(const Request& request, const EngineOptions& options) {
  Require(!request.prompt.empty(), "the prompt is empty");
  CheckSampling(request.sampling);
  Require(request.max_tokens == -1 || request.max_tokens > 0, "max_tokens must be -1 (no limit) or above 0");
  Require(request.min_tokens >= 0, "min_tokens must be 0 or more");
  Require(request.max_tokens < 0 || request.min_tokens <= request.max_tokens, "min_tokens is above max_tokens");
  Require(request.samples >= 1 && request.samples <= kMostSamples, "a request can have 1 to 128 answers");
  Require(request.deadline >= 0 && request.deadline <= 1e9, "a deadline must be 0 (none) or more seconds");
  const auto known = [&](int32_t token) { return token >= 0 && token < options.vocab; };
  for (const int32_t token : request.prompt) Require(known(token), "the prompt has an unknown token id");
  for (const TokenBias& bias : request.bias) {
    Require(known(bias.token), "logit_bias names an unknown token id");
    Require(std::abs(bias.bias) <= 1e6f, "a logit bias is out of range");
  }
  if (request.embedding != Pooling::kNone) {
    Require(request.samples == 1 && !request.filter && !request.prompt_log_probabilities,
            "an embedding has neither samples nor a filter nor log-probabilities");
    if (static_cast<int>(request.prompt.size()) > options.context) {
      Fail(ErrorCode::kLimit, "the text has {} tokens, and the context {}", request.prompt.size(), options.context);
    }
    return;
  }
  if (static_cast<int>(request.prompt.size()) >= options.context) {
    Fail(ErrorCode::kLimit, "the prompt has {} tokens, which leaves no room for an answer in a context of {}",
         request.prompt.size(), options.context);
  }
}

}  // namespace edgellm
