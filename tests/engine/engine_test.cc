// The engine over a backend that stands in for a model (recorder.h): what each field of a request does, who shares with
// whom, who gives way, and what happens when something fails. engine_property_test.cc has the random ones.
#include "engine/engine.h"

#include <map>
#include <set>
#include <stdexcept>

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/engine/recorder.h"

namespace edgellm {
namespace {

using Answers = std::map<std::pair<RequestId, int>, std::vector<int32_t>>;
using Reasons = std::map<std::pair<RequestId, int>, FinishReason>;

Answers Drain(Bench& bench, Reasons* reasons = nullptr) {
  Answers answers;
  while (!bench.engine->idle()) {
    for (const Event& event : bench.Step()) {
      const auto key = std::pair(event.request, event.sample);
      if (event.token >= 0 && !event.prompt) answers[key].push_back(event.token);
      if (event.finish != FinishReason::kNone && reasons != nullptr) (*reasons)[key] = event.finish;
    }
  }
  return answers;
}

ErrorCode CodeOf(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kIo;
}

TEST(Engine, AnswersOneRequest) {
  Bench b({.context = 64, .max_sequences = 1, .batch_tokens = 16});
  const auto prompt = Iota(5, 3);
  const RequestId id = b.engine->Submit(Ask(prompt, 9));
  EXPECT_EQ((Drain(b)[{id, 0}]), Expected(prompt, 9));
  const RequestStatistics statistics = b.engine->Statistics(id);
  EXPECT_EQ(statistics.generated_tokens, 9);
  EXPECT_EQ(statistics.prompt_tokens, 5);
  EXPECT_LT(0, statistics.submitted);
  EXPECT_LE(statistics.submitted, statistics.first_scheduled);
  EXPECT_LE(statistics.first_scheduled, statistics.first_token);
  EXPECT_EQ(statistics.last_token - statistics.first_token, 8'000'000);
  EXPECT_EQ(statistics.longest_gap, 1'000'000);
  EXPECT_EQ(CodeOf([&] { b.engine->Statistics(99); }), ErrorCode::kNotFound);
}

/// Allows one token at a time, from a list; complete after the last.
class OneByOne final : public TokenFilter {
 public:
  OneByOne(std::vector<int32_t> tokens, bool complete_at_end)
      : tokens_(std::move(tokens)), complete_(complete_at_end) {}

  std::shared_ptr<TokenFilter> Copy() const override { return std::make_shared<OneByOne>(*this); }
  bool Allowed(std::span<uint32_t> words) override {
    std::fill(words.begin(), words.end(), 0);
    if (accepted.size() >= tokens_.size()) return false;
    const auto token = static_cast<size_t>(tokens_[accepted.size()]);
    words[token / 32] = uint32_t{1} << (token % 32);
    return true;
  }
  void Accept(int32_t token) override { accepted.push_back(token); }
  bool Complete() const override { return complete_ && accepted.size() == tokens_.size(); }

  std::vector<int32_t> accepted;

 private:
  std::vector<int32_t> tokens_;
  bool complete_;
};

TEST(Engine, AFilterDecidesWhatIsDrawn) {
  Bench bench({.context = 64, .max_sequences = 3, .batch_tokens = 8});
  const std::vector<int32_t> wanted = {5, 96, 5, 31, 32};
  const auto stopping = std::make_shared<OneByOne>(wanted, false), complete = std::make_shared<OneByOne>(wanted, true),
             dead_end = std::make_shared<OneByOne>(wanted, false);
  Reasons reasons;
  Request request = Ask(Iota(20, 4), -1);
  request.filter = stopping;
  request.stop_tokens = {32};
  const RequestId a = bench.engine->Submit(request);
  request.filter = complete;
  request.stop_tokens = {};
  request.samples = 2;
  const RequestId b = bench.engine->Submit(request);
  request.filter = dead_end;
  request.samples = 1;
  const RequestId c = bench.engine->Submit(request);
  const RequestId free = bench.engine->Submit(Ask(Iota(20, 4), 5));
  Answers answers = Drain(bench, &reasons);
  EXPECT_EQ((answers[{a, 0}]), (std::vector<int32_t>{5, 96, 5, 31}));
  EXPECT_EQ(stopping->accepted, wanted) << "the stop token is accepted too";
  EXPECT_EQ((reasons[{a, 0}]), FinishReason::kStop);
  for (int sample : {0, 1}) {
    EXPECT_EQ((answers[{b, sample}]), wanted) << "each sample has a filter of its own";
    EXPECT_EQ((reasons[{b, sample}]), FinishReason::kStop);
  }
  EXPECT_EQ((answers[{c, 0}]), wanted);
  EXPECT_EQ((reasons[{c, 0}]), FinishReason::kDeadEnd);
  EXPECT_EQ((answers[{free, 0}]), Expected(Iota(20, 4), 5)) << "others are not concerned";
}

TEST(Engine, ReadsALongPromptInSlicesWhileOthersGoOn) {
  Bench b({.context = 200, .max_sequences = 2, .batch_tokens = 8});
  const auto first = Iota(3, 1), second = Iota(100, 2);
  const RequestId a = b.engine->Submit(Ask(first, 60));
  b.Step();
  const RequestId id = b.engine->Submit(Ask(second, 5));
  // While the second prompt is read (100 tokens, at most 7 a step), the first stream gets a token at every step.
  for (int step = 0; step < 10; ++step) {
    const auto events = b.Step();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].request, a);
  }
  EXPECT_EQ((Drain(b)[{id, 0}]), Expected(second, 5));
  EXPECT_LE(b.recorder->largest, 8u);
}

TEST(Engine, StopTokenEndsTheAnswerAndIsNotReported) {
  Bench b({.context = 64, .max_sequences = 1, .batch_tokens = 16});
  const auto prompt = Iota(4, 9);
  const auto expected = Expected(prompt, 12);
  Request request = Ask(prompt, -1);
  request.stop_tokens = {expected[6]};
  const auto end = std::find(expected.begin(), expected.end(), expected[6]);
  const RequestId id = b.engine->Submit(request);
  Reasons reasons;
  EXPECT_EQ((Drain(b, &reasons)[{id, 0}]), std::vector<int32_t>(expected.begin(), end));
  EXPECT_EQ((reasons[{id, 0}]), FinishReason::kStop);

  request.ignore_eos = true;
  request.max_tokens = 12;
  const RequestId deaf = b.engine->Submit(request);
  EXPECT_EQ((Drain(b, &reasons)[{deaf, 0}]), expected);
  EXPECT_EQ((reasons[{deaf, 0}]), FinishReason::kLength);
}

TEST(Engine, NoStopTokenBeforeTheLeastLength) {
  Bench b({.context = 64, .max_sequences = 1, .batch_tokens = 16});
  const auto prompt = Iota(4, 9);
  Request request = Ask(prompt, 20);
  request.stop_tokens = {Expected(prompt, 3)[2]};
  request.min_tokens = 8;
  const RequestId id = b.engine->Submit(request);
  const auto answer = Drain(b)[{id, 0}];
  EXPECT_GE(answer.size(), 8u);
  EXPECT_EQ(std::count(answer.begin(), answer.end(), request.stop_tokens[0]), 0);
}

TEST(Engine, SaysWhenTheContextIsFull) {
  Bench b({.context = 20, .max_sequences = 1, .batch_tokens = 16});
  const RequestId id = b.engine->Submit(Ask(Iota(15, 0), -1));
  Reasons reasons;
  EXPECT_EQ((Drain(b, &reasons)[{id, 0}].size()), 5u);
  EXPECT_EQ((reasons[{id, 0}]), FinishReason::kContextFull);
}

TEST(Engine, RefusesWhatCannotRun) {
  Bench b({.context = 20, .max_sequences = 1, .batch_tokens = 16, .max_waiting = 2});
  const auto code = [&](const Request& request) { return CodeOf([&] { b.engine->Submit(request); }); };
  EXPECT_EQ(code(Ask({}, 1)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(Ask(Iota(20, 0), 1)), ErrorCode::kLimit);
  EXPECT_EQ(code(Ask({kVocab}, 1)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(Ask({-1}, 1)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(Ask({1}, 0)), ErrorCode::kInvalidArgument);
  const auto changed = [&](const std::function<void(Request&)>& change) {
    Request request = Ask({1}, 1);
    change(request);
    return code(request);
  };
  EXPECT_EQ(changed([](Request& r) { r.sampling.top_p = 0; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(changed([](Request& r) { r.sampling.likeliest = 21; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(changed([](Request& r) { r.bias = {{kVocab, 1.0f}}; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(changed([](Request& r) { r.samples = 0; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(changed([](Request& r) { r.samples = 129; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(changed([](Request& r) { r.min_tokens = 2; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(changed([](Request& r) { r.deadline = std::nan(""); }), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(b.engine->idle());
  b.engine->Submit(Ask({1}, 1));
  b.engine->Submit(Ask({1}, 1));
  EXPECT_EQ(code(Ask({1}, 1)), ErrorCode::kBusy);
  b.Step();  // one of them runs now
  EXPECT_NO_THROW(b.engine->Submit(Ask({1}, 1)));
  EXPECT_EQ(CodeOf([] { Bench({.context = 64, .max_sequences = 4, .batch_tokens = 16, .pages = 3}); }),
            ErrorCode::kInvalidArgument);
}

TEST(Engine, ContinuesAConversationFromAnyToken) {
  Bench b({.context = 256, .max_sequences = 1, .batch_tokens = 64});
  auto conversation = Iota(40, 5);
  RequestId id = b.engine->Submit(Ask(conversation, 10));
  const auto answer = Drain(b)[{id, 0}];
  conversation.insert(conversation.end(), answer.begin(), answer.end());
  conversation.push_back(11);
  const int64_t before = b.recorder->tokens;
  id = b.engine->Submit(Ask(conversation, 3));
  EXPECT_EQ((Drain(b)[{id, 0}]), Expected(conversation, 3));
  EXPECT_EQ(b.engine->Statistics(id).cached_tokens, 49);  // of 51: the answer's last token was never computed
  EXPECT_EQ(b.recorder->tokens - before, 2 + 2);
  // Another turn instead of the last one, from the middle of a page.
  conversation.resize(37);
  conversation.push_back(90);
  id = b.engine->Submit(Ask(conversation, 3));
  EXPECT_EQ((Drain(b)[{id, 0}]), Expected(conversation, 3));
  EXPECT_EQ(b.engine->Statistics(id).cached_tokens, 37);
  // The same prompt again: all but its last token.
  id = b.engine->Submit(Ask(conversation, 3));
  EXPECT_EQ((Drain(b)[{id, 0}]), Expected(conversation, 3));
  EXPECT_EQ(b.engine->Statistics(id).cached_tokens, 37);
  b.engine->DropCached();
  EXPECT_EQ(b.engine->Metrics().pages_held + b.engine->Metrics().pages_cached, 0);
}

TEST(Engine, CacheCanBeSwitchedOff) {
  Bench b({.context = 64, .max_sequences = 2, .batch_tokens = 16, .prefix_cache = false});
  const auto prompt = Iota(40, 5);
  for (int i = 0; i < 2; ++i) {
    const RequestId id = b.engine->Submit(Ask(prompt, 4));
    EXPECT_EQ((Drain(b)[{id, 0}]), Expected(prompt, 4));
    EXPECT_EQ(b.engine->Statistics(id).cached_tokens, 0);
    EXPECT_EQ(b.engine->Metrics().pages_cached, 0);
  }
}

TEST(Engine, OtherSaltsShareNothing) {
  Bench b({.context = 128, .max_sequences = 4, .batch_tokens = 64});
  const auto prompt = Iota(60, 5);
  const auto cached = [&](const std::string& salt) {
    Request request = Ask(prompt, 4);
    request.cache_salt = salt;
    const RequestId id = b.engine->Submit(request);
    EXPECT_EQ((Drain(b)[{id, 0}]), Expected(prompt, 4));
    return b.engine->Statistics(id).cached_tokens;
  };
  EXPECT_EQ(cached("anna"), 0);
  EXPECT_EQ(cached("bert"), 0);
  EXPECT_EQ(cached(""), 0);
  EXPECT_EQ(cached("anna"), 59);
  EXPECT_EQ(cached(""), 59);
}

TEST(Engine, ManyAtOnceComputeASharedPromptOnce) {
  constexpr int kUsers = 32, kShared = 200;
  Bench b({.context = 256, .max_sequences = kUsers, .batch_tokens = 512});  // room for two prompts in a forward
  std::map<RequestId, std::vector<int32_t>> prompts;
  for (int i = 0; i < kUsers; ++i) {
    auto prompt = Iota(kShared, 3);
    for (int t = 0; t < 5; ++t) prompt.push_back((i * 11 + t * 5) % kVocab);
    prompts[b.engine->Submit(Ask(prompt, 1))] = prompt;
  }
  auto answers = Drain(b);
  for (const auto& [id, prompt] : prompts) EXPECT_EQ((answers[{id, 0}]), Expected(prompt, 1));
  // 200 = 12 pages and 8 tokens. The first reads all; the others those 8 at worst, and their own 5.
  EXPECT_LE(b.recorder->tokens, kShared + 5 + (kUsers - 1) * (8 + 5));
}

TEST(Engine, AnswersToOnePromptShareItsPages) {
  for (const bool cache : {true, false}) {
    Bench b({.context = 128, .max_sequences = 8, .batch_tokens = 64, .prefix_cache = cache});
    const auto prompt = Iota(39, 3);
    Request request = Ask(prompt, 6);
    request.samples = 8;
    request.sampling.temperature = 1;
    request.sampling.seed = 5;
    const RequestId id = b.engine->Submit(request);
    auto answers = Drain(b);
    EXPECT_EQ((answers[{id, 0}]), Expected(prompt, 6, request.sampling));
    std::set<std::vector<int32_t>> different;
    for (int sample = 0; sample < 8; ++sample) {
      EXPECT_EQ((answers[{id, sample}].size()), 6u);
      different.insert(answers[{id, sample}]);
    }
    EXPECT_EQ(different.size(), 8u);
    // The prompt once, its last token for each other answer again, and the answers but for their last tokens.
    EXPECT_EQ(b.recorder->tokens, 39 + 7 + 8 * 5);
    EXPECT_EQ(b.recorder->copies, 7);
  }
}

TEST(Engine, ScoresThePrompt) {
  for (const int spare : {0, 6}) {
    Bench b({.context = 64, .max_sequences = 2, .batch_tokens = 16, .score_rows = spare});
    const auto prompt = Iota(21, 4);
    const RequestId first = b.engine->Submit(Ask(prompt, 3));
    Drain(b);
    Request request = Ask(prompt, 2);
    request.prompt_log_probabilities = true;
    request.samples = 2;
    const RequestId id = b.engine->Submit(request);
    std::vector<int32_t> scored;
    while (!b.engine->idle()) {
      for (const Event& event : b.Step()) {
        EXPECT_NE(event.request, first);
        if (!event.prompt) continue;
        EXPECT_EQ(event.request, id);
        EXPECT_EQ(event.sample, 0);
        scored.push_back(event.token);
      }
    }
    EXPECT_EQ(scored, std::vector<int32_t>(prompt.begin() + 1, prompt.end()));
  }
}

/// The pooled hidden states of a prompt, by the definition alone.
std::vector<float> Pooled(const std::vector<int32_t>& prompt, Pooling pooling) {
  uint64_t chain = 0;
  std::array<double, 2> sum{};
  for (const int32_t token : prompt) {
    chain = Chain(chain, token);
    if (pooling == Pooling::kLast) sum = {};
    for (size_t i = 0; i < 2; ++i) sum[i] += static_cast<double>(Hidden(chain)[i]);
  }
  const double count = pooling == Pooling::kMean ? static_cast<double>(prompt.size()) : 1;
  return {static_cast<float>(sum[0] / count), static_cast<float>(sum[1] / count)};
}

TEST(Engine, EmbeddingsPoolWholePromptsInSlicesAndBesideAnswers) {
  // Few pages: some give way in the middle and go on.
  Bench b({.context = 64, .max_sequences = 4, .batch_tokens = 16, .pages = 8});
  std::map<RequestId, std::vector<float>> expected, pooled;
  std::vector<RequestId> answers;
  for (int i = 0; i < 12; ++i) {
    // They begin alike, one fills the context, one is a single token.
    Request request = Ask(Iota(i == 0 ? 64 : i == 1 ? 1 : 20 + i, 3), 1);
    request.embedding = i % 2 == 0 ? Pooling::kMean : Pooling::kLast;
    request.priority = static_cast<Priority>(i % 3);
    const RequestId id = b.engine->Submit(request);
    expected[id] = Pooled(request.prompt, request.embedding);
    if (i % 3 == 0) answers.push_back(b.engine->Submit(Ask(Iota(30, i), 20)));
  }
  std::map<RequestId, std::vector<int32_t>> tokens;
  while (!b.engine->idle()) {
    for (const Event& event : b.Step()) {
      if (event.token >= 0) tokens[event.request].push_back(event.token);
      if (event.embedding.empty()) continue;
      EXPECT_EQ(event.finish, FinishReason::kStop);
      EXPECT_FALSE(pooled.contains(event.request));
      pooled[event.request].assign(event.embedding.begin(), event.embedding.end());
      EXPECT_EQ(b.engine->Statistics(event.request).generated_tokens, 0);
    }
  }
  EXPECT_EQ(pooled, expected);
  for (size_t i = 0; i < answers.size(); ++i) {
    EXPECT_EQ(tokens[answers[i]], Expected(Iota(30, static_cast<int>(3 * i)), 20));
  }
  Request request = Ask(Iota(65, 3), 1);
  request.embedding = Pooling::kMean;
  EXPECT_EQ(CodeOf([&] { b.engine->Submit(request); }), ErrorCode::kLimit);
  request.prompt.resize(5);
  request.samples = 2;
  EXPECT_EQ(CodeOf([&] { b.engine->Submit(request); }), ErrorCode::kInvalidArgument);
}

TEST(Engine, CancelGivesPagesBackAndIsReportedOnce) {
  Bench b({.context = 64, .max_sequences = 2, .batch_tokens = 16});
  Request request = Ask(Iota(30, 0), 20);
  request.samples = 3;
  const RequestId a = b.engine->Submit(request);
  b.Step();
  b.engine->Cancel(a);
  b.engine->Cancel(a);
  EXPECT_EQ(b.engine->Metrics().pages_held, 0);
  EXPECT_FALSE(b.engine->idle());
  const auto events = b.Step();
  ASSERT_EQ(events.size(), 3u);
  for (const Event& event : events) EXPECT_EQ(event.finish, FinishReason::kCancelled);
  EXPECT_TRUE(b.engine->idle());
}

TEST(Engine, OneAnswerOfSeveralIsCancelledAndTheOthersGoOn) {
  for (const int sample : {0, 1, 2}) {
    Bench b({.context = 128, .max_sequences = 2, .batch_tokens = 32});
    const auto prompt = Iota(20, 3);
    Request request = Ask(prompt, 12);
    request.samples = 3;
    request.sampling.temperature = 1;
    request.sampling.seed = 5;
    const RequestId id = b.engine->Submit(request);
    for (int step = 0; step < 4; ++step) b.Step();
    b.engine->Cancel(id, sample);
    Reasons reasons;
    const Answers answers = Drain(b, &reasons);
    EXPECT_EQ(reasons.size(), 3u);
    for (int other = 0; other < 3; ++other) {
      const bool cancelled = other == sample;
      EXPECT_EQ((reasons[{id, other}]), cancelled ? FinishReason::kCancelled : FinishReason::kLength)
          << sample << other;
    }
    EXPECT_EQ(b.engine->Metrics().pages_held, 0);
    EXPECT_EQ(b.engine->Metrics().waiting, 0);
    EXPECT_NO_THROW(b.engine->Submit(request));
  }
}

TEST(Engine, AHigherClassTakesThePlaceOfALowerOneWhichThenGoesOn) {
  Bench b({.context = 64, .max_sequences = 1, .batch_tokens = 16});
  const auto slow = Iota(20, 1), quick = Iota(10, 2);
  Request batch = Ask(slow, 20);
  batch.priority = Priority::kBatch;
  const RequestId a = b.engine->Submit(batch);
  Answers answers;
  const auto step = [&] {
    for (const Event& event : b.Step()) {
      if (event.token >= 0) answers[{event.request, 0}].push_back(event.token);
    }
  };
  for (int i = 0; i < 6; ++i) step();
  Request urgent = Ask(quick, 3);
  urgent.priority = Priority::kInteractive;
  const RequestId c = b.engine->Submit(urgent);
  for (int i = 0; i < 3; ++i) step();
  EXPECT_EQ((answers[{c, 0}]), Expected(quick, 3));
  EXPECT_EQ(b.engine->Statistics(a).preemptions, 1);
  while (!b.engine->idle()) step();
  EXPECT_EQ((answers[{a, 0}]), Expected(slow, 20));
}

TEST(Engine, TheYoungestGivesWayWhenPagesRunOut) {
  // Both fit at first; grown, they do not: 2 x 4 pages of 6.
  Bench b({.context = 64, .max_sequences = 2, .batch_tokens = 32, .pages = 6});
  const auto first = Iota(20, 1), second = Iota(20, 50);
  const RequestId a = b.engine->Submit(Ask(first, 40)), c = b.engine->Submit(Ask(second, 40));
  int preempted = 0, preempted_first = 0;
  Answers answers;
  while (!b.engine->idle()) {
    for (const Event& event : b.Step()) {
      if (event.token >= 0) answers[{event.request, 0}].push_back(event.token);
      if (event.finish == FinishReason::kNone) continue;
      (event.request == a ? preempted_first : preempted) += b.engine->Statistics(event.request).preemptions;
    }
  }
  EXPECT_GE(preempted, 1);
  EXPECT_EQ(preempted_first, 0);
  EXPECT_EQ((answers[{a, 0}]), Expected(first, 40));
  EXPECT_EQ((answers[{c, 0}]), Expected(second, 40));
}

TEST(Engine, AFailingBackendFailsItsRequestsAndNoOthers) {
  Bench b({.context = 64, .max_sequences = 2, .batch_tokens = 32});
  const auto prompt = Iota(20, 1);
  const RequestId a = b.engine->Submit(Ask(prompt, 9)), c = b.engine->Submit(Ask(Iota(5, 2), 9));
  const RequestId waiting = b.engine->Submit(Ask(prompt, 4));
  b.Step();
  b.recorder->fail_next = true;
  const auto events = b.Step();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(std::set<RequestId>({events[0].request, events[1].request}), std::set<RequestId>({a, c}));
  for (const Event& event : events) EXPECT_EQ(event.finish, FinishReason::kFailed);
  EXPECT_EQ(b.engine->failure(), "the device fell over");
  EXPECT_EQ(b.engine->Metrics().pages_held + b.engine->Metrics().pages_cached, 0);
  EXPECT_EQ((Drain(b)[{waiting, 0}]), Expected(prompt, 4));
}

}  // namespace
}  // namespace edgellm
