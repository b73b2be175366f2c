// Random rows to sample from, of every kind and with every parameter, for tests that hold one sampler to another.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "plan/sampling.h"

namespace edgellm {

/// A row with what it points to.
struct RowCase {
  std::vector<float> logits;
  SamplingParameters parameters;
  std::vector<int32_t> recent;
  std::vector<TokenBias> bias;
  std::vector<uint32_t> allowed;
  uint64_t draw = 0;
  int32_t given = -1;
  std::string kind;  // of the logits

  SamplingRow Row() const {
    return {
        .parameters = &parameters, .recent = recent, .bias = bias, .allowed = allowed, .draw = draw, .given = given};
  }
  std::string Text() const {
    const SamplingParameters& p = parameters;
    return fmt::format(
        "{} logits of {}, temperature {}, top_k {}, top_p {}, min_p {}, repetition {}, presence {}, frequency {}, {} "
        "recent, {} biases, "
        "{}, seed {}, draw {}, given {}, log-probability {}, likeliest {}",
        logits.size(), kind, p.temperature, p.top_k, p.top_p, p.min_p, p.repetition_penalty, p.presence_penalty,
        p.frequency_penalty, recent.size(), bias.size(), allowed.empty() ? "no mask" : "a mask", p.seed, draw, given,
        p.log_probability, p.likeliest);
  }
};

class RowMaker {
 public:
  RowMaker(int vocab, unsigned seed) : vocab_(vocab), random_(seed) {}

  template <typename T>
  T OneOf(std::initializer_list<T> values) {
    return values.begin()[random_() % values.size()];
  }
  int32_t Token() { return static_cast<int32_t>(random_() % static_cast<unsigned>(vocab_)); }
  bool Chance(unsigned one_in) { return random_() % one_in == 0; }

  std::vector<float> Logits(std::string* kind) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
    std::vector<float> logits(static_cast<size_t>(vocab_));
    std::normal_distribution<float> normal;
    *kind = OneOf<const char*>(
        {"wide", "wide", "narrow", "peaked", "level", "rounded", "equal", "zeros", "holes", "nothing", "infinite"});
    const float width = *kind == "narrow"  ? 1.0f
                        : *kind == "level" ? 0.01f
                                           : 3.5f,
                middle = OneOf({0.0f, 15.0f, -40.0f});
    for (float& logit : logits) {
      logit = middle + width * normal(random_);
      if (*kind == "rounded") logit = std::round(logit);
      if (*kind == "equal") logit = middle;
      if (*kind == "zeros") logit = OneOf({0.0f, -0.0f, -1.0f});
      if (*kind == "holes" && !Chance(4)) logit = Chance(3) ? kNan : -kInfinity;
      if (*kind == "nothing") logit = Chance(3) ? kNan : -kInfinity;
    }
    if (*kind == "peaked") logits[static_cast<size_t>(Token())] = middle + 25;
    if (*kind == "infinite") {
      for (int i = 0; i < 3; ++i) logits[static_cast<size_t>(Token())] = OneOf({kInfinity, 3e38f, -3e38f});
    }
    return logits;
  }

  std::vector<uint32_t> Mask(unsigned one_in) {
    std::vector<uint32_t> mask((static_cast<size_t>(vocab_) + 31) / 32, 0);
    for (int token = 0; token < vocab_; ++token) {
      if (Chance(one_in)) mask[static_cast<size_t>(token) / 32] |= uint32_t{1} << (token % 32);
    }
    return mask;
  }

  SamplingParameters Parameters() {
    SamplingParameters p;
    p.temperature = OneOf({0.0f, 0.0f, 0.2f, 0.7f, 0.8f, 1.0f, 1.0f, 1.5f, 10.0f, 1e6f, 1e-3f, 1e-42f});
    p.top_k = OneOf({0, 0, 0, 1, 2, 20, 40, 40, 600, 1024, 5000, vocab_, vocab_ - 1, vocab_ + 1});
    p.top_p = OneOf({1.0f, 1.0f, 0.9f, 0.95f, 0.5f, 0.99f, 0.9999f, 1e-6f});
    p.min_p = OneOf({0.0f, 0.0f, 0.0f, 0.02f, 0.05f, 0.5f, 1.0f});
    if (Chance(3)) p.repetition_penalty = OneOf({1.1f, 1.8f, 0.7f});
    if (Chance(4)) p.presence_penalty = OneOf({0.5f, -0.5f, 2.0f});
    if (Chance(4)) p.frequency_penalty = OneOf({0.1f, -0.2f, 1.0f});
    p.seed = static_cast<uint64_t>(random_()) << 32 | random_();
    p.log_probability = Chance(3);
    if (Chance(4)) p.likeliest = OneOf({1, 5, kMostLikeliest});
    return p;
  }

  RowCase Make() {
    RowCase row;
    row.logits = Logits(&row.kind);
    row.parameters = Parameters();
    row.draw = random_() % 100000;
    for (unsigned i = OneOf({0u, 3u, 64u, 700u}); i > 0; --i) row.recent.push_back(Token());
    for (unsigned i = OneOf({0u, 0u, 2u, 300u}); i > 0; --i) {
      row.bias.push_back(
          {Token(), OneOf({1.0f, -3.0f, 100.0f, -100.0f, 0.0f, -std::numeric_limits<float>::infinity()})});
    }
    if (Chance(3)) row.allowed = Mask(OneOf({1u, 2u, 5u, 1000u}));
    if (Chance(20)) row.allowed.assign((static_cast<size_t>(vocab_) + 31) / 32, 0);
    if (Chance(12)) row.given = Token();
    return row;
  }

 private:
  int vocab_;
  std::mt19937 random_;
};

}  // namespace edgellm
