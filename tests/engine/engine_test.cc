// The engine over a backend that stands in for a model: it remembers which token lies at which place of which page,
// checks every batch against what the pages hold, and answers with a function of the whole visible prefix. Whatever the
// schedule, the answers must be the same, and no page may leak.
#include "engine/engine.h"

#include <map>
#include <stdexcept>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.h"
#include "engine/page_pool.h"
#include "engine/scheduler.h"

namespace edgellm {
namespace {

constexpr int kVocab = 97;

/// The token that follows a prefix: any function will do that depends on all of it.
int32_t After(const std::vector<int32_t>& prefix) {
  uint32_t hash = 17;
  for (int32_t token : prefix) hash = hash * 31 + static_cast<uint32_t>(token) + 1;
  return static_cast<int32_t>((hash >> 7) % kVocab);
}

class Recorder final : public Backend {
 public:
  explicit Recorder(const BackendLimits& limits)
      : limits_(limits), places_(static_cast<size_t>(limits.pages) * kPageTokens, -1) {}

  void Forward(const Batch& batch) override {
    ++forwards;
    if (static_cast<int>(batch.tokens.size()) > limits_.batch_tokens) throw std::logic_error("batch too large");
    if (static_cast<int>(batch.logit_rows.size()) > limits_.logit_rows) throw std::logic_error("too many logit rows");
    largest = std::max(largest, batch.tokens.size());
    for (size_t t = 0; t < batch.tokens.size(); ++t) places_.at(Place(batch, t, batch.positions[t])) = batch.tokens[t];
    sampled_.clear();
    for (size_t row = 0; row < batch.logit_rows.size(); ++row) {
      const auto t = static_cast<size_t>(batch.logit_rows[row]);
      std::vector<int32_t> prefix;
      for (int32_t p = 0; p <= batch.positions[t]; ++p) prefix.push_back(places_.at(Place(batch, t, p)));
      if (batch.sampling[row].draw != prefix.size()) throw std::logic_error("the draw is not the position");
      sampled_.push_back({After(prefix), -1.0f});
    }
  }
  std::span<const SampledToken> Sampled() const override { return sampled_; }
  std::span<const float> LogitsOf(int) const override { return {}; }
  void CopyPages(std::span<const std::pair<int32_t, int32_t>>) override {}
  BackendInfo Describe() const override { return {}; }

  int forwards = 0;
  size_t largest = 0;

 private:
  size_t Place(const Batch& batch, size_t token, int32_t position) const {
    const auto row = static_cast<size_t>(batch.sequences[token]) * static_cast<size_t>(batch.pages_per_sequence);
    const int32_t page = batch.pages[row + static_cast<size_t>(position / kPageTokens)];
    return static_cast<size_t>(page) * kPageTokens + static_cast<size_t>(position % kPageTokens);
  }

  BackendLimits limits_;
  std::vector<int32_t> places_;  // token per page slot
  std::vector<SampledToken> sampled_;
};

struct Fixture {
  EngineOptions options;
  Recorder* recorder = nullptr;
  std::unique_ptr<Engine> engine;

  explicit Fixture(EngineOptions given) : options(given) {
    options.vocab = kVocab;
    auto backend = std::make_unique<Recorder>(EngineLimits(options, KvType::kF32));
    recorder = backend.get();
    engine = std::make_unique<Engine>(std::move(backend), options);
  }
};

Request Ask(std::vector<int32_t> prompt, int tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = tokens;
  return request;
}

std::vector<int32_t> Expected(std::vector<int32_t> prompt, int tokens) {
  std::vector<int32_t> answer;
  for (int i = 0; i < tokens; ++i) {
    answer.push_back(After(prompt));
    prompt.push_back(answer.back());
  }
  return answer;
}

std::vector<int32_t> Iota(int count, int start) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back((start + i * 7) % kVocab);
  return tokens;
}

std::map<RequestId, std::vector<int32_t>> Drain(Engine& engine, std::map<RequestId, FinishReason>* reasons = nullptr) {
  std::map<RequestId, std::vector<int32_t>> answers;
  while (!engine.idle()) {
    for (const Event& event : engine.Step()) {
      if (event.token >= 0) answers[event.request].push_back(event.token);
      if (event.finish != FinishReason::kNone && reasons != nullptr) (*reasons)[event.request] = event.finish;
    }
    engine.CheckIntegrity();
  }
  return answers;
}

TEST(Engine, AnswersOneRequest) {
  Fixture f({.context = 64, .max_sequences = 1, .batch_tokens = 16});
  const auto prompt = Iota(5, 3);
  const RequestId id = f.engine->Submit(Ask(prompt, 9));
  EXPECT_EQ(Drain(*f.engine)[id], Expected(prompt, 9));
  EXPECT_EQ(f.engine->Statistics(id).generated_tokens, 9);
  EXPECT_EQ(f.engine->Statistics(id).prompt_tokens, 5);
}

TEST(Engine, ReadsALongPromptInSlicesWhileOthersGoOn) {
  Fixture f({.context = 200, .max_sequences = 2, .batch_tokens = 8});
  const auto first = Iota(3, 1), second = Iota(100, 2);
  const RequestId a = f.engine->Submit(Ask(first, 40));
  f.engine->Step();
  const RequestId b = f.engine->Submit(Ask(second, 5));
  // While the second prompt is read (100 tokens, at most 7 a step), the first stream gets a token at every step.
  for (int step = 0; step < 10; ++step) {
    const auto events = f.engine->Step();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].request, a);
  }
  auto answers = Drain(*f.engine);
  EXPECT_EQ(answers[b], Expected(second, 5));
  EXPECT_EQ(f.recorder->largest, 8u);
}

TEST(Engine, StopTokenEndsTheAnswerAndIsNotReported) {
  Fixture f({.context = 64, .max_sequences = 1, .batch_tokens = 16});
  const auto prompt = Iota(4, 9);
  const auto expected = Expected(prompt, 12);
  Request request = Ask(prompt, -1);
  request.stop_tokens = {expected[6]};
  const auto end = std::find(expected.begin(), expected.end(), expected[6]);
  const RequestId id = f.engine->Submit(request);
  std::map<RequestId, FinishReason> reasons;
  EXPECT_EQ(Drain(*f.engine, &reasons)[id], std::vector<int32_t>(expected.begin(), end));
  EXPECT_EQ(reasons[id], FinishReason::kStop);
}

TEST(Engine, SaysWhenTheContextIsFull) {
  Fixture f({.context = 20, .max_sequences = 1, .batch_tokens = 16});
  const RequestId id = f.engine->Submit(Ask(Iota(15, 0), -1));
  std::map<RequestId, FinishReason> reasons;
  EXPECT_EQ(Drain(*f.engine, &reasons)[id].size(), 5u);
  EXPECT_EQ(reasons[id], FinishReason::kContextFull);
}

TEST(Engine, RefusesWhatCannotRun) {
  Fixture f({.context = 20, .max_sequences = 1, .batch_tokens = 16});
  const auto code = [&](Request request) {
    try {
      f.engine->Submit(std::move(request));
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kIo;
  };
  EXPECT_EQ(code(Ask({}, 1)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(Ask(Iota(20, 0), 1)), ErrorCode::kLimit);
  EXPECT_EQ(code(Ask({kVocab}, 1)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(Ask({-1}, 1)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(Ask({1}, 0)), ErrorCode::kInvalidArgument);
  Request request = Ask({1}, 1);
  request.sampling.top_p = 0;
  EXPECT_EQ(code(request), ErrorCode::kInvalidArgument);
  request.sampling.top_p = 1;
  request.bias = {{kVocab, 1.0f}};
  EXPECT_EQ(code(request), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(f.engine->idle());
}

TEST(Engine, ContinuesAConversationFromItsPages) {
  Fixture f({.context = 256, .max_sequences = 1, .batch_tokens = 64});
  auto conversation = Iota(40, 5);
  RequestId id = f.engine->Submit(Ask(conversation, 10));
  const auto answer = Drain(*f.engine)[id];
  conversation.insert(conversation.end(), answer.begin(), answer.end());
  conversation.push_back(11);
  const int before = f.recorder->forwards;
  id = f.engine->Submit(Ask(conversation, 3));
  EXPECT_EQ(Drain(*f.engine)[id], Expected(conversation, 3));
  EXPECT_EQ(f.engine->Statistics(id).cached_tokens, 48);  // 49 of 51 are computed: three whole pages
  EXPECT_EQ(f.recorder->forwards - before, 3);
  f.engine->DropRetained();
  EXPECT_EQ(f.engine->used_pages(), 0);
}

TEST(Engine, CancelGivesPagesBackAndIsReportedOnce) {
  Fixture f({.context = 64, .max_sequences = 2, .batch_tokens = 16});
  const RequestId a = f.engine->Submit(Ask(Iota(30, 0), 20));
  f.engine->Step();
  f.engine->Cancel(a);
  f.engine->Cancel(a);
  EXPECT_EQ(f.engine->used_pages(), 0);
  const auto events = f.engine->Step();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].finish, FinishReason::kCancelled);
  EXPECT_TRUE(f.engine->idle());
}

RC_GTEST_PROP(Engine, AnswersDoNotDependOnCompanyAndNothingLeaks, ()) {
  const int batch = *rc::gen::inRange(4, 40);
  Fixture f({.context = 80, .max_sequences = *rc::gen::inRange(1, 5), .batch_tokens = batch});
  std::map<RequestId, Request> requests;
  std::map<RequestId, std::vector<int32_t>> answers;
  std::map<RequestId, bool> cancelled;
  for (int round = 0; round < 60; ++round) {
    if (*rc::gen::inRange(0, 3) == 0) {
      const int length = *rc::gen::inRange(1, 60);
      // Few starts, so that prompts often share a beginning with what is retained.
      const Request request = Ask(Iota(length, *rc::gen::inRange(0, 2)), *rc::gen::inRange(1, 19));
      requests[f.engine->Submit(request)] = request;
    }
    if (!requests.empty() && *rc::gen::inRange(0, 8) == 0) {
      const auto victim = *rc::gen::inRange<RequestId>(1, static_cast<RequestId>(requests.size()) + 1);
      f.engine->Cancel(victim);
      cancelled[victim] = true;
    }
    for (const Event& event : f.engine->Step()) {
      if (event.token >= 0) answers[event.request].push_back(event.token);
    }
    f.engine->CheckIntegrity();
  }
  for (auto& [id, tokens] : Drain(*f.engine)) answers[id].insert(answers[id].end(), tokens.begin(), tokens.end());
  for (const auto& [id, request] : requests) {
    const auto expected = Expected(request.prompt, request.max_tokens);
    if (!cancelled[id]) RC_ASSERT(answers[id] == expected);
    RC_ASSERT(std::equal(answers[id].begin(), answers[id].end(), expected.begin()));
  }
  f.engine->DropRetained();
  RC_ASSERT(f.engine->used_pages() == 0);
}

TEST(Scheduler, SingleTokensGoFirstThenPromptsShareTheRest) {
  std::vector<Share> shares;
  const std::vector<Progressing> sequences = {{100, 0}, {10, 9}, {50, 20}, {8, 7}};
  Schedule(sequences, 40, shares);
  ASSERT_EQ(shares.size(), 3u);
  EXPECT_EQ(shares[0].index, 1);
  EXPECT_EQ(shares[1].index, 3);
  EXPECT_EQ(shares[2].index, 0);
  EXPECT_EQ(shares[2].count, 38);
}

TEST(PagePool, CountsHolders) {
  PagePool pool(3);
  const int32_t page = pool.Take();
  pool.Share(page);
  pool.Release(page);
  EXPECT_EQ(pool.used(), 1);
  const std::vector<int32_t> held = {page};
  pool.CheckIntegrity(held);
  EXPECT_THROW(pool.CheckIntegrity({}), std::logic_error);
  pool.Release(page);
  EXPECT_EQ(pool.free(), 3);
  EXPECT_GE(pool.Take(), 0);
  EXPECT_GE(pool.Take(), 0);
  EXPECT_GE(pool.Take(), 0);
  EXPECT_EQ(pool.Take(), -1);
}

}  // namespace
}  // namespace edgellm
