// What sampling means: parameters per request, and their order of application. Backends run it where the logits lie.
//
// Order: tokens that are not allowed are left out, as if the vocabulary did not have them; then repetition penalty,
// presence and frequency penalties, logit bias, (temperature 0: argmax, lowest id on ties), division by temperature,
// top-k, top-p, min-p, one draw from what remains. Candidates are ordered by falling probability, ties by rising id.
// top-p keeps the shortest prefix whose probability (renormalised after top-k) reaches top_p; min-p keeps candidates of
// at least min_p times the first one's probability. The draw inverts the cumulative distribution in that order at u =
// PhiloxUniform(seed, position): it depends on the request alone. Probabilities are integer weights
// (backend/sampling_definition.h), so that all backends draw the same token from the same logits. Sources: Holtzman et
// al. 2019 (top-p); Nguyen et al. 2024 (min-p); Keskar et al. 2019 (repetition penalty).
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace edgellm {

/// Most of the likeliest tokens that can be reported beside a drawn one: OpenAI's limit.
inline constexpr int kMostLikeliest = 20;

struct SamplingParameters {
  float temperature = 0.8f;  // 0: greedy
  int top_k = 40;            // 0: no limit
  float top_p = 0.9f;        // 1: no limit
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;  // > 1 makes tokens of the last `repeat_last_n` less likely
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  int repeat_last_n = 64;  // 0: none; -1: the whole context
  uint64_t seed = 0;
  bool log_probability = false;  // report the drawn token's: it costs an exponential for each token of the vocabulary
  int likeliest = 0;             // report so many likeliest tokens, too (up to kMostLikeliest)
};

struct TokenBias {
  int32_t token;
  float bias;
};

/// One row's sampling in one forward. Owns nothing.
struct SamplingRow {
  const SamplingParameters* parameters = nullptr;
  std::span<const int32_t> recent;  // the tokens that penalties look at, oldest first (already cut to repeat_last_n)
  std::span<const TokenBias> bias;  // several of one token are added up
  // Which tokens may be drawn, a bit each: token t is bit t % 32 of word t / 32, for the whole vocabulary. Empty: all.
  std::span<const uint32_t> allowed = {};
  uint64_t draw = 0;   // the counter of the random draw: the position of the token to be drawn
  int32_t given = -1;  // 0 or more: nothing is drawn, this token takes the place of the drawn one (a prompt's next)
};

struct TokenLogProbability {
  int32_t token = -1;
  float log_probability = 0;
  bool operator==(const TokenLogProbability&) const = default;
};

/// Log-probabilities are those of softmax of the logits as the model gave them, before penalties and bias.
struct SampledToken {
  int32_t token = -1;         // -1: no token was allowed
  float log_probability = 0;  // of `token`; 0 unless asked for
  int likeliest_count = 0;    // as asked for, or as many as have a probability where those are fewer
  std::array<TokenLogProbability, kMostLikeliest> likeliest{};  // by falling probability, ties by rising id

  std::span<const TokenLogProbability> Likeliest() const {
    return {likeliest.data(), static_cast<size_t>(likeliest_count)};
  }
};

}  // namespace edgellm
