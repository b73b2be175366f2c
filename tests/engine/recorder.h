// A backend that stands in for a model: each slot of a page remembers a hash of the token there and of everything
// before it, as keys and values do, and an answer's next token is a function of all slots that it looks at. A wrong
// page, a missing copy, a slot that was written over: each changes what comes out.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/philox.h"
#include "engine/engine.h"

namespace edgellm {

inline constexpr int kVocab = 97;

inline uint64_t Chain(uint64_t before, int32_t token) {
  return (before ^ static_cast<uint64_t>(token + 1)) * 0x9E3779B97F4A7C15u + (before >> 31);
}

/// The token that follows a prefix whose slots hold `chain`, drawn as `row` asks.
inline SampledToken Answer(std::span<const uint64_t> chain, const SamplingRow& row) {
  uint64_t hash = 17;
  for (const uint64_t slot : chain) hash = hash * 31 + slot;
  SampledToken sampled;
  sampled.log_probability = -static_cast<float>((hash >> 20) % 100);
  if (row.given >= 0) {
    sampled.token = row.given;
    return sampled;
  }
  if (row.parameters->temperature > 0) hash += Philox(row.parameters->seed, row.draw)[0];
  const auto forbidden = [&](int32_t token) {
    const auto bit = static_cast<size_t>(token);
    if (!row.allowed.empty() && (row.allowed[bit / 32] >> (bit % 32) & 1u) == 0) return true;
    return std::any_of(row.bias.begin(), row.bias.end(),
                       [&](const TokenBias& b) { return b.token == token && std::isinf(b.bias); });
  };
  sampled.token = static_cast<int32_t>((hash >> 7) % kVocab);
  for (int tried = 0; forbidden(sampled.token); ++tried) {
    if (tried == kVocab) return {};
    sampled.token = (sampled.token + 1) % kVocab;
  }
  return sampled;
}

/// The hidden state at a slot that holds `chain`.
inline std::array<float, 2> Hidden(uint64_t chain) {
  return {static_cast<float>(chain % 1000), static_cast<float>(chain / 1000 % 1000)};
}

class Recorder final : public Backend {
 public:
  explicit Recorder(const BackendLimits& limits)
      : limits_(limits), slots_(static_cast<size_t>(limits.pages) * kPageTokens, 0) {}

  void Forward(const Batch& batch) override {
    ++forwards;
    if (fail_next) {
      fail_next = false;
      throw std::runtime_error("the device fell over");
    }
    Require(static_cast<int>(batch.tokens.size()) <= limits_.batch_tokens, "batch too large");
    Require(static_cast<int>(batch.logit_rows.size()) <= limits_.logit_rows, "too many logit rows");
    Require(batch.sampling.size() == batch.logit_rows.size(), "rows without sampling");
    largest = std::max(largest, batch.tokens.size());
    tokens += static_cast<int64_t>(batch.tokens.size());
    if (clock != nullptr) *clock += fixed_time + token_time * static_cast<int64_t>(batch.tokens.size());
    for (size_t t = 0; t < batch.tokens.size(); ++t) {
      const int32_t position = batch.positions[t];
      const uint64_t before = position == 0 ? 0 : slots_.at(Place(batch, t, position - 1));
      slots_.at(Place(batch, t, position)) = Chain(before, batch.tokens[t]);
    }
    hidden_.clear();
    for (const int32_t t : batch.hidden_rows) {
      const auto token = static_cast<size_t>(t);
      hidden_.push_back(Hidden(slots_.at(Place(batch, token, batch.positions[token]))));
    }
    sampled_.clear();
    std::vector<uint64_t> chain;
    for (size_t row = 0; row < batch.logit_rows.size(); ++row) {
      const auto t = static_cast<size_t>(batch.logit_rows[row]);
      chain.clear();
      for (int32_t p = 0; p <= batch.positions[t]; ++p) chain.push_back(slots_.at(Place(batch, t, p)));
      const SamplingRow& sampling = batch.sampling[row];
      Require(sampling.given >= 0 || sampling.draw == chain.size(), "the draw is not the position");
      sampled_.push_back(Answer(chain, sampling));
    }
  }
  std::span<const SampledToken> Sampled() const override { return sampled_; }
  std::span<const float> LogitsOf(int) const override { return {}; }
  std::span<const float> HiddenOf(int row) const override { return hidden_.at(static_cast<size_t>(row)); }
  void CopyPages(std::span<const std::pair<int32_t, int32_t>> pages) override {
    for (const auto& [from, to] : pages) {
      Require(from != to, "a page is copied onto itself");
      std::copy_n(slots_.begin() + from * kPageTokens, kPageTokens, slots_.begin() + to * kPageTokens);
      ++copies;
    }
  }
  BackendInfo Describe() const override { return {}; }

  int forwards = 0, copies = 0;
  int64_t tokens = 0;
  size_t largest = 0;
  bool fail_next = false;
  int64_t* clock = nullptr;  // turned by each forward, in nanoseconds:
  int64_t fixed_time = 0, token_time = 0;

 private:
  static void Require(bool holds, const char* what) {
    if (!holds) throw std::logic_error(what);
  }
  size_t Place(const Batch& batch, size_t token, int32_t position) const {
    const auto row = static_cast<size_t>(batch.sequences[token]) * static_cast<size_t>(batch.pages_per_sequence);
    const int32_t page = batch.pages[row + static_cast<size_t>(position / kPageTokens)];
    return static_cast<size_t>(page) * kPageTokens + static_cast<size_t>(position % kPageTokens);
  }

  BackendLimits limits_;
  std::vector<uint64_t> slots_;
  std::vector<SampledToken> sampled_;
  std::vector<std::array<float, 2>> hidden_;
};

/// An engine over a Recorder, on a clock that the test turns.
struct Bench {
  EngineOptions options;
  int64_t now = 1;  // nanoseconds
  Recorder* recorder = nullptr;
  std::unique_ptr<Engine> engine;

  explicit Bench(EngineOptions given) : options(std::move(given)) {
    options.vocab = kVocab;
    options.clock = [this] { return now; };
    auto backend = std::make_unique<Recorder>(EngineLimits(options, KvType::kF32));
    recorder = backend.get();
    engine = std::make_unique<Engine>(std::move(backend), options);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  std::span<const Event> Step(int64_t took = 1'000'000) {
    now += took;
    const auto events = engine->Step();
    engine->CheckIntegrity();
    return events;
  }
};

inline Request Ask(std::vector<int32_t> prompt, int tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = tokens;
  request.sampling.temperature = 0;
  return request;
}

/// What the request's first answer must be, by the definition alone.
inline std::vector<int32_t> Expected(std::vector<int32_t> prompt, int count,
                                     const SamplingParameters& sampling = {.temperature = 0}) {
  std::vector<uint64_t> chain;
  for (const int32_t token : prompt) chain.push_back(Chain(chain.empty() ? 0 : chain.back(), token));
  std::vector<int32_t> answer;
  for (int i = 0; i < count; ++i) {
    answer.push_back(Answer(chain, {.parameters = &sampling, .recent = {}, .bias = {}, .draw = chain.size()}).token);
    chain.push_back(Chain(chain.back(), answer.back()));
  }
  return answer;
}

inline std::vector<int32_t> Iota(int count, int start) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back((start + i * 7) % kVocab);
  return tokens;
}

}  // namespace edgellm
