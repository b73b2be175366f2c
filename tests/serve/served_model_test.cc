// A served model, the bundled one: many at once who each get what they would get alone, and every way to end.
#include "serve/served_model.h"

#include <cmath>
#include <condition_variable>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "base/error.h"
#include "convert/import.h"
#include "model/model_file.h"
#include "tests/serve/refusal.h"
#include "tests/serve/small_models.h"
#include "tests/source_dir.h"

namespace edgellm {
namespace {

using std::chrono::hours;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using Reason = AnswerEnd::Reason;

// Sanitizers make the model and the masks of grammars ten times slower.
#ifdef EDGELLM_SANITIZED
constexpr bool kSlow = true;
#else
constexpr bool kSlow = false;
#endif

Model Demo() {
  return ReadModelFile(SourceDir() / "models" / "demo" / "demo.edgellm");
}

ServedModelOptions Options(int parallel = 8, int context = 512) {
  ServedModelOptions options;
  options.runtime.backend = "cpu";
  options.runtime.backend_options.threads = 1;
  options.runtime.context = context;
  options.parallel = parallel;
  return options;
}

/// What one listener has heard, of all samples.
class Heard {
 public:
  struct One {
    std::string content, thinking;
    std::vector<constrain::ToolCall> calls;
    std::vector<TokenFacts> facts;
    std::optional<AnswerEnd> end;
  };

  explicit Heard(int samples = 1) : answers_(static_cast<size_t>(samples)) {}

  AnswerListener Listener() {
    return {.piece =
                [this](const AnswerPiece& piece) {
                  const std::lock_guard lock(mutex_);
                  One& one = answers_[static_cast<size_t>(piece.sample)];
                  EXPECT_FALSE(one.end.has_value()) << "a piece after the end";
                  if (piece.prompt) {
                    prompt_.insert(prompt_.end(), piece.tokens.begin(), piece.tokens.end());
                    EXPECT_TRUE(one.content.empty());
                    return;
                  }
                  one.content += piece.content;
                  one.thinking += piece.thinking;
                  one.calls.insert(one.calls.end(), piece.tool_calls.begin(), piece.tool_calls.end());
                  one.facts.insert(one.facts.end(), piece.tokens.begin(), piece.tokens.end());
                  ++pieces_;
                  heard_.notify_all();
                },
            .ended =
                [this](const AnswerEnd& end) {
                  const std::lock_guard lock(mutex_);
                  One& one = answers_[static_cast<size_t>(end.sample)];
                  EXPECT_FALSE(one.end.has_value()) << "two ends";
                  one.end = end;
                  ++ended_;
                  heard_.notify_all();
                }};
  }
  const One& Wait(size_t sample = 0) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(heard_.wait_for(lock, seconds(120), [&] { return ended_ == answers_.size(); }));
    return answers_[sample];
  }
  void WaitForPieces(int count) {
    std::unique_lock lock(mutex_);
    heard_.wait_for(lock, seconds(120), [&] { return pieces_ >= count || ended_ > 0; });
  }
  const std::vector<TokenFacts>& prompt() const { return prompt_; }

 private:
  std::mutex mutex_;
  std::condition_variable heard_;
  std::vector<One> answers_;
  std::vector<TokenFacts> prompt_;
  size_t ended_ = 0;
  int pieces_ = 0;
};

GenerateRequest Ask(const std::string& text, int tokens, uint64_t seed = 1) {
  GenerateRequest request;
  request.input = ChatInput{.messages = {{.role = "user", .content = text}}};
  request.options.max_tokens = tokens;
  request.options.temperature = 0.9f;
  request.options.seed = seed;
  return request;
}

Heard::One Answer(ServedModel& model, const GenerateRequest& request) {
  Heard heard(request.options.samples);
  model.Start(request, heard.Listener());
  return heard.Wait();
}

TEST(ServedModel, ManyAtOnceEachAnsweredAsAlone) {
  constexpr int kThreads = kSlow ? 4 : 8, kEach = kSlow ? 3 : 4, kTokens = kSlow ? 12 : 24;
  ServedModel model(Demo(), Options(6, 256));  // fewer places than requests
  const auto request = [&](int i) {
    GenerateRequest made = Ask("Tell me about number " + std::to_string(i) + ".", kTokens, static_cast<uint64_t>(i));
    made.priority = static_cast<Priority>(i % 3);
    if (i % 4 == 0) made.options.stop = {" the", "."};
    if (i % 4 == 1) made.options.temperature = 0;
    if (i % 4 == 2) made.options.likeliest = 2;
    if (i % 8 == 3) made.options.format = AnswerFormat::FromOption("json");
    return made;
  };
  std::vector<Heard::One> alone;
  for (int i = 0; i < kThreads * kEach; ++i) alone.push_back(Answer(model, request(i)));
  std::vector<Heard> together(kThreads * kEach);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int k = 0; k < kEach; ++k) {
        const int i = t * kEach + k;
        model.Start(request(i), together[static_cast<size_t>(i)].Listener());
      }
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<std::string> different;
  for (size_t i = 0; i < together.size(); ++i) {
    const Heard::One& one = together[i].Wait();
    EXPECT_EQ(one.content, alone[i].content) << i;
    EXPECT_EQ(one.end->tokens, alone[i].end->tokens) << i;
    EXPECT_EQ(one.end->reason, alone[i].end->reason) << i;
    EXPECT_EQ(one.end->stop_string, alone[i].end->stop_string) << i;
    EXPECT_EQ(one.facts.size(), alone[i].facts.size()) << i;
    different.insert(one.content);
  }
  EXPECT_GT(different.size(), together.size() / 2);
  EXPECT_EQ(model.open_requests(), 0);
  EXPECT_GT(model.Metrics().decoded_tokens, 0);
}

TEST(ServedModel, TheSameAsTheCommandLine) {
  Runtime runtime(Demo(), Options().runtime);
  ServedModel model(Demo(), Options());
  GenerateRequest request = Ask("What do you like?", 30, 7);
  const std::vector<Message> messages = {{"user", "What do you like?"}};
  std::string text;
  const Generation generation =
      runtime.Generate(runtime.EncodeChat(messages), request.options,
                       {.text = [&](std::string_view piece) { text += piece; }, .cancelled = nullptr});
  const Heard::One one = Answer(model, request);
  EXPECT_EQ(one.content, text);
  EXPECT_EQ(one.end->tokens, generation.tokens);
  EXPECT_EQ(one.end->seed, 7u);
  EXPECT_EQ(model.Encode(request), runtime.EncodeChat(messages).tokens);
  EXPECT_EQ(model.Render(request), runtime.RenderChat(messages));
}

TEST(ServedModel, StopStringsEndAnAnswerAndOnlyThatOne) {
  ServedModel model(Demo(), Options());
  GenerateRequest request = Ask("Tell me a story.", kSlow ? 16 : 60);
  request.options.ignore_eos = true;
  const std::string whole = Answer(model, request).content;
  ASSERT_GT(whole.size(), 40u);
  const std::string stop = whole.substr(20, 3);
  request.options.stop = {stop};
  const Heard::One one = Answer(model, request);
  EXPECT_EQ(one.content, whole.substr(0, whole.find(stop)));
  EXPECT_EQ(one.end->reason, Reason::kStop);
  EXPECT_EQ(one.end->stop_string, stop);
  EXPECT_EQ(one.end->statistics.generated_tokens, static_cast<int>(one.end->tokens.size()));
  // Of four samples one has it; the others go on.
  request.options.samples = 4;
  Heard heard(4);
  model.Start(request, heard.Listener());
  EXPECT_EQ(heard.Wait(0).content, one.content);
  for (size_t sample = 1; sample < 4; ++sample) {
    GenerateRequest single = request;
    single.options.samples = 1;
    single.options.seed = heard.Wait(sample).end->seed;
    const Heard::One alone = Answer(model, single);
    EXPECT_EQ(heard.Wait(sample).content, alone.content);
    EXPECT_EQ(heard.Wait(sample).end->tokens, alone.end->tokens);
  }
}

TEST(ServedModel, CancelledFromOutsideAndByListeners) {
  ServedModel model(Demo(), Options());
  GenerateRequest request = Ask("Tell me a story.", -1);
  request.options.ignore_eos = true;
  Heard outside;
  const auto ticket = model.Start(request, outside.Listener());
  outside.WaitForPieces(3);
  model.Cancel(ticket.id);
  EXPECT_EQ(outside.Wait().end->reason, Reason::kCancelled);
  EXPECT_LT(outside.Wait().end->tokens.size(), 400u);
  model.Cancel(ticket.id);
  model.Cancel(12345);

  Heard inside;
  AnswerListener listener = inside.Listener();
  std::mutex mutex;
  RequestId id = 0;
  int pieces = 0;
  listener.piece = [&, piece = listener.piece](const AnswerPiece& p) {
    piece(p);
    const std::lock_guard lock(mutex);
    if (++pieces >= 3) model.Cancel(id);
  };
  {
    const std::lock_guard lock(mutex);
    id = model.Start(request, listener).id;
  }
  EXPECT_EQ(inside.Wait().end->reason, Reason::kCancelled);
}

TEST(ServedModel, AListenerThatThrowsIsNotCalledAgain) {
  ServedModel model(Demo(), Options(2));
  GenerateRequest request = Ask("Tell me a story.", -1);
  request.options.ignore_eos = true;
  std::atomic<int> calls{0};
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watched = held;
  model.Start(request, {.piece =
                            [&calls, held](const AnswerPiece&) {
                              ++calls;
                              throw std::runtime_error("gone");
                            },
                        .ended = [&calls](const AnswerEnd&) { ++calls; }});
  held.reset();
  const Heard::One other = Answer(model, Ask("Hi", 5));
  EXPECT_TRUE(other.end.has_value());
  for (int i = 0; i < 1000 && model.open_requests() > 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(model.open_requests(), 0);
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(watched.expired());
}

TEST(ServedModel, AListenerMayAskAgain) {
  ServedModel model(Demo(), Options(1));
  Heard second;
  Heard first;
  AnswerListener listener = first.Listener();
  listener.ended = [&, ended = listener.ended](const AnswerEnd& end) {
    EXPECT_EQ(model.open_requests(), 0);
    GenerateRequest again = Ask("And you?", 5);
    again.options.ignore_eos = true;
    model.Start(again, second.Listener());
    ended(end);
  };
  model.Start(Ask("Hi", 5), listener);
  first.Wait();
  EXPECT_EQ(second.Wait().end->statistics.generated_tokens, 5);
}

TEST(ServedModel, FullQueuesAndStoppedModelsRefuse) {
  ServedModelOptions options = Options(1);
  options.max_queue = 2;
  ServedModel model(Demo(), options);
  GenerateRequest request = Ask("Tell me a story.", -1);
  request.options.ignore_eos = true;
  Heard first, second, third;
  const auto ticket = model.Start(request, first.Listener());
  model.Start(request, second.Listener());
  EXPECT_EQ(Refusal([&] { model.Start(request, third.Listener()); }).first, ErrorCode::kBusy);
  EXPECT_EQ(model.open_requests(), 2);
  model.Cancel(ticket.id);
  first.Wait();
  model.Start(Ask("Hi", 3), third.Listener());
  model.Stop(nanoseconds(0));
  EXPECT_EQ(second.Wait().end->reason, Reason::kCancelled);
  third.Wait();
  EXPECT_EQ(Refusal([&] { model.Start(request, third.Listener()); }).first, ErrorCode::kBusy);
  model.Stop(nanoseconds(0));
  EXPECT_EQ(model.open_requests(), 0);
}

TEST(ServedModel, StopLetsAnswersFinish) {
  ServedModel model(Demo(), Options());
  Heard heard;
  GenerateRequest request = Ask("Tell me a story.", 20);
  request.options.ignore_eos = true;
  model.Start(request, heard.Listener());
  model.Stop(hours(1));
  EXPECT_EQ(heard.Wait().end->reason, Reason::kLength);
  EXPECT_EQ(heard.Wait().end->tokens.size(), 20u);
}

TEST(ServedModel, DestroyedWithOpenRequests) {
  Heard heard;
  {
    ServedModel model(Demo(), Options());
    GenerateRequest request = Ask("Tell me a story.", -1);
    request.options.ignore_eos = true;
    model.Start(request, heard.Listener());
    heard.WaitForPieces(2);
  }
  EXPECT_EQ(heard.Wait().end->reason, Reason::kCancelled);
}

TEST(ServedModel, LogProbabilities) {
  ServedModel model(Demo(), Options());
  GenerateRequest request = Ask("Hello!", 12);
  request.options.temperature = 0;
  request.options.likeliest = 5;
  request.options.prompt_log_probabilities = true;
  Heard heard;
  const auto ticket = model.Start(request, heard.Listener());
  const Heard::One& one = heard.Wait();
  EXPECT_EQ(heard.prompt().size(), static_cast<size_t>(ticket.prompt.tokens - 1));
  ASSERT_EQ(one.facts.size(), one.end->tokens.size());
  for (size_t i = 0; i < one.facts.size(); ++i) {
    const TokenFacts& facts = one.facts[i];
    EXPECT_EQ(facts.id, one.end->tokens[i]);
    ASSERT_EQ(facts.likeliest.size(), 5u);
    double sum = 0;
    for (size_t k = 0; k < 5; ++k) {
      sum += std::exp(facts.likeliest[k].log_probability);
      EXPECT_LE(facts.likeliest[k].log_probability, facts.likeliest[k == 0 ? 0 : k - 1].log_probability);
    }
    EXPECT_LE(sum, 1.0001);
    EXPECT_GT(sum, 0);
    EXPECT_LE(facts.log_probability, facts.likeliest[0].log_probability);
  }
  // What was drawn scores as a prompt's token the same.
  GenerateRequest scored;
  TokenInput input{model.Encode(Ask("Hello!", 1))};
  const size_t prompt = input.tokens.size();
  input.tokens.insert(input.tokens.end(), one.end->tokens.begin(), one.end->tokens.end());
  scored.input = input;
  scored.options.max_tokens = 1;
  scored.options.prompt_log_probabilities = true;
  Heard again;
  model.Start(scored, again.Listener());
  again.Wait();
  ASSERT_EQ(again.prompt().size(), input.tokens.size() - 1);
  for (size_t i = 0; i < one.facts.size(); ++i) {
    EXPECT_EQ(again.prompt()[prompt - 1 + i].log_probability, one.facts[i].log_probability) << i;
  }
}

nlohmann::ordered_json Weather() {
  return nlohmann::ordered_json::parse(R"([{"type": "function", "function": {"name": "weather",
      "parameters": {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}}, "required": ["city"]}}},
      {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {}}}}])");
}

TEST(ServedModel, CallsThatMustBeMade) {
  ServedModel model(Demo(), Options());
  EXPECT_FALSE(model.supports_tools());
  GenerateRequest request = Ask("How is the weather?", 200);
  ChatInput& chat = std::get<ChatInput>(request.input);
  chat.tools = Weather();
  EXPECT_EQ(Refusal([&] { model.Start(request, {}); }).first, ErrorCode::kUnsupported);
  chat.chat_template = kThinkingToolTemplate;
  chat.think = false;
  chat.tool_choice = {ToolChoice::Kind::kNamed, "weather"};
  chat.parallel_tool_calls = false;
  std::set<std::string> ids;
  constexpr uint64_t kAnswers = kSlow ? 2 : 5;
  for (uint64_t seed = 0; seed < kAnswers; ++seed) {
    request.options.seed = seed;
    const Heard::One one = Answer(model, request);
    EXPECT_EQ(one.end->reason, Reason::kToolCalls);
    EXPECT_EQ(one.content, "");
    ASSERT_EQ(one.calls.size(), 1u);
    EXPECT_EQ(one.calls[0].name, "weather");
    const auto arguments = nlohmann::json::parse(one.calls[0].arguments);
    EXPECT_TRUE(arguments.at("city").is_string());
    ids.insert(one.calls[0].id);
  }
  EXPECT_EQ(ids.size(), kAnswers);
  chat.tool_choice = {ToolChoice::Kind::kRequired, ""};
  chat.parallel_tool_calls = true;
  request.options.max_tokens = kSlow ? 80 : 120;
  const Heard::One several = Answer(model, request);
  EXPECT_TRUE(several.end->reason == Reason::kToolCalls || several.end->reason == Reason::kLength);
  EXPECT_GE(several.calls.size(), 1u);
}

TEST(ServedModel, AFormBeginsAfterTheThinking) {
  ServedModel model(Demo(), Options());
  GenerateRequest request = Ask("How old are you?", 250);
  ChatInput& chat = std::get<ChatInput>(request.input);
  chat.chat_template = "{{ messages[0].content }}\n<think>\n{# </think> #}";
  request.options.format = AnswerFormat::FromOption(
      R"({"type": "object", "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 99}}, "required": ["age"]})");
  request.options.max_tokens = kSlow ? 40 : 60;
  Heard heard;
  EXPECT_TRUE(model.Start(request, heard.Listener()).thinks);
  // The demo model does not know how to end the part: it cannot stop before it has.
  EXPECT_EQ(heard.Wait().end->reason, Reason::kLength);
  EXPECT_EQ(heard.Wait().content, "");
  EXPECT_GT(heard.Wait().thinking.size(), 20u);
  // When the prompt has ended it, the form is all there is.
  chat.think = false;
  const Heard::One one = Answer(model, request);
  EXPECT_EQ(one.end->reason, Reason::kStop);
  EXPECT_EQ(one.thinking, "");
  EXPECT_TRUE(nlohmann::json::parse(one.content).at("age").is_number_integer()) << one.content;
}

TEST(ServedModel, AFormOrACall) {
  ServedModel model(Demo(), Options());
  GenerateRequest request = Ask("How is the weather?", 200);
  ChatInput& chat = std::get<ChatInput>(request.input);
  chat.tools = Weather();
  chat.chat_template = kThinkingToolTemplate;
  chat.think = false;
  request.options.temperature = 1.5f;
  request.options.format = {AnswerFormat::Kind::kGrammar, "root ::= \"yes\" | \"no\""};
  std::set<Reason> reasons;
  for (uint64_t seed = 0; seed < (kSlow ? 3 : 20); ++seed) {
    request.options.seed = seed;
    const Heard::One one = Answer(model, request);
    reasons.insert(one.end->reason);
    const bool form = one.content == "yes" || one.content == "no";
    EXPECT_TRUE(one.end->reason != Reason::kStop || form) << one.content;
    EXPECT_TRUE(one.end->reason != Reason::kToolCalls || !one.calls.empty());
  }
  EXPECT_TRUE(reasons.contains(Reason::kStop) || reasons.contains(Reason::kToolCalls));
}

class HeardVectors {
 public:
  EmbedListener Listener() {
    return [this](Embeddings embeddings, std::exception_ptr failure) {
      const std::lock_guard lock(mutex_);
      EXPECT_FALSE(told_);
      told_ = true;
      embeddings_ = std::move(embeddings);
      failure_ = failure;
      heard_.notify_all();
    };
  }
  const Embeddings& Wait() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(heard_.wait_for(lock, seconds(120), [&] { return told_; }));
    if (failure_) std::rethrow_exception(failure_);
    return embeddings_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable heard_;
  bool told_ = false;
  Embeddings embeddings_;
  std::exception_ptr failure_;
};

/// By the plainest of backends: the final hidden states of a text, pooled and of length one.
std::vector<float> ReferenceEmbedding(const Model& model, const std::vector<int32_t>& ids, Pooling pooling) {
  const int count = static_cast<int>(ids.size());
  RuntimeOptions options;
  options.backend = "reference";
  const int pages = (count + kPageTokens - 1) / kPageTokens;
  const auto backend = BindBackend(
      model, {.batch_tokens = count, .logit_rows = 1, .pages = pages, .context = count, .kv = KvType::kF32}, options);
  std::vector<int32_t> positions(ids.size()), sequences(ids.size(), 0), table(static_cast<size_t>(pages));
  std::iota(positions.begin(), positions.end(), 0);
  std::iota(table.begin(), table.end(), 0);
  Batch batch;
  batch.tokens = ids;
  batch.positions = positions;
  batch.sequences = sequences;
  batch.pages = table;
  batch.pages_per_sequence = pages;
  batch.hidden_rows = positions;
  backend->Forward(batch);
  std::vector<double> sum(static_cast<size_t>(model.config.hidden));
  for (int t = pooling == Pooling::kMean ? 0 : count - 1; t < count; ++t) {
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += static_cast<double>(backend->HiddenOf(t)[i]);
  }
  double length = 0;
  for (const double value : sum) length += value * value;
  std::vector<float> result;
  for (const double value : sum) result.push_back(static_cast<float>(value / std::sqrt(length)));
  return result;
}

TEST(ServedModel, EmbeddingsAreTheReferences) {
  for (const char* name : {"llama-tied", "llama-bias-head-dim", "qwen2-sharded", "qwen3-untied"}) {
    const Model reference = ImportHuggingFace(SourceDir() / "tests" / "golden" / name, {});
    ServedModelOptions options = Options(2, 64);
    options.runtime.kv = KvType::kF32;
    ServedModel model(ImportHuggingFace(SourceDir() / "tests" / "golden" / name, {}), options);
    for (const Pooling pooling : {Pooling::kMean, Pooling::kLast}) {
      EmbedRequest request;
      request.pooling = pooling;
      for (const int count : {1, 23, 64}) {
        std::vector<int32_t> ids;
        for (int i = 0; i < count; ++i) ids.push_back((count + i * 7) % reference.config.vocab);
        request.inputs.emplace_back(std::move(ids));
      }
      HeardVectors heard;
      model.Embed(request, heard.Listener());
      const Embeddings& embeddings = heard.Wait();
      EXPECT_EQ(embeddings.prompt_tokens, 1 + 23 + 64);
      for (size_t k = 0; k < request.inputs.size(); ++k) {
        const auto& ids = std::get<std::vector<int32_t>>(request.inputs[k]);
        const std::vector<float> expected = ReferenceEmbedding(reference, ids, pooling);
        ASSERT_EQ(embeddings.vectors[k].size(), expected.size());
        for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(embeddings.vectors[k][i], expected[i], 1e-5) << name;
      }
    }
  }
}

TEST(ServedModel, ManyEmbeddingsBesideAnswers) {
  ServedModelOptions options = Options(4);
  options.max_queue = 6;  // fewer than the inputs: they wait for one another
  ServedModel model(Demo(), options);
  EmbedRequest request;
  constexpr size_t kInputs = kSlow ? 20 : 40, kDifferent = kInputs / 2;
  for (size_t i = 0; i < kInputs; ++i) {
    request.inputs.push_back("Text number " + std::to_string(i % kDifferent) + " of many.");
  }
  Heard answer;
  model.Start(Ask("Hi", 10), answer.Listener());
  HeardVectors heard;
  model.Embed(request, heard.Listener());
  const Embeddings& embeddings = heard.Wait();
  for (size_t i = 0; i < kInputs; ++i) {
    double length = 0;
    for (const float value : embeddings.vectors[i]) length += static_cast<double>(value) * static_cast<double>(value);
    EXPECT_NEAR(length, 1, 1e-5);
    EXPECT_EQ(embeddings.vectors[i], embeddings.vectors[i % kDifferent]);  // to the bit, whatever ran beside
    EXPECT_NE(embeddings.vectors[i], embeddings.vectors[(i + 1) % kDifferent]);
  }
  answer.Wait();
  request.inputs.resize(1);
  request.dimensions = 16;
  HeardVectors shorter;
  model.Embed(request, shorter.Listener());
  ASSERT_EQ(shorter.Wait().vectors[0].size(), 16u);
  EXPECT_GT(shorter.Wait().vectors[0][0] / embeddings.vectors[0][0], 1);
}

TEST(ServedModel, EmbeddingsThatCannotBe) {
  auto model = std::make_unique<ServedModel>(Demo(), Options(2, 64));
  const auto refuse = [&](const std::function<void(EmbedRequest&)>& change) {
    EmbedRequest request;
    request.inputs = {std::string("Hi")};
    change(request);
    return Refusal([&] { model->Embed(request, {}); }).first;
  };
  EXPECT_EQ(refuse([](auto& r) { r.inputs.clear(); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refuse([](auto& r) { r.inputs = {std::vector<int32_t>{}}; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refuse([](auto& r) { r.inputs = {std::vector<int32_t>{1 << 30}}; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refuse([](auto& r) { r.dimensions = 100'000; }), ErrorCode::kInvalidArgument);
  const std::string large(4000, 'x');
  EXPECT_EQ(refuse([&](auto& r) {
              r.inputs = {large};
              r.truncate = false;
            }),
            ErrorCode::kLimit);
  EmbedRequest request;
  request.inputs = {large};
  HeardVectors cut;
  model->Embed(request, cut.Listener());
  EXPECT_EQ(cut.Wait().prompt_tokens, 64);
  EXPECT_GT(cut.Wait().dropped_tokens, 0);
  request.inputs.assign(200, large);
  HeardVectors cancelled, stopped;
  model->Embed(request, cancelled.Listener())();
  EXPECT_EQ(Refusal([&] { cancelled.Wait(); }).first, ErrorCode::kBusy);
  model->Embed(request, stopped.Listener());
  model.reset();
  EXPECT_EQ(Refusal([&] { stopped.Wait(); }).first, ErrorCode::kBusy);
}

TEST(ServedModel, RequestsThatMakeNoSense) {
  ServedModel model(Demo(), Options(2, 64));
  const auto refuse = [&](const std::function<void(GenerateRequest&)>& change) {
    GenerateRequest request = Ask("Hi", 5);
    change(request);
    return Refusal([&] { model.Start(request, {}); }).first;
  };
  EXPECT_EQ(refuse([](auto& r) { r.options.temperature = -1; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refuse([](auto& r) { r.options.samples = 0; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refuse([](auto& r) { r.options.samples = 1000; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refuse([](auto& r) { r.options.likeliest = 21; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refuse([](auto& r) { r.options.stop = {""}; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refuse([](auto& r) { r.options.logit_bias = {{1 << 30, 1}}; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refuse([](auto& r) {
              r.options.format = {AnswerFormat::Kind::kJsonSchema, "{\"not\": {}}"};
            }),
            ErrorCode::kUnsupported);
  EXPECT_EQ(refuse([](auto& r) { r.input = TextInput{.text = std::string(4000, 'x')}; }), ErrorCode::kLimit);
  EXPECT_EQ(refuse([](auto& r) { r.input = TokenInput{{-1}}; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(model.open_requests(), 0);
}

TEST(ServedModel, SaysWhatTheModelSaysBeforeEveryConversation) {
  Model with = Demo();
  with.preamble = {.system = "Be brief.", .messages = {{"user", "Hi"}, {"assistant", "Hello."}}};
  const ServedModel model(std::move(with), Options(1, 64)), plain(Demo(), Options(1, 64));
  const auto chat = [](std::vector<ChatMessage> messages) {
    GenerateRequest request;
    request.input = ChatInput{.messages = std::move(messages)};
    return request;
  };
  const ChatMessage question{.role = "user", .content = "And you?"};
  EXPECT_EQ(model.Render(chat({question})),
            plain.Render(chat({{.role = "system", .content = "Be brief."}, {.role = "user", .content = "Hi"},
                               {.role = "assistant", .content = "Hello."}, question})));
  EXPECT_EQ(model.Encode(chat({question})).size(), plain.Encode(chat({{.role = "system", .content = "Be brief."},
            {.role = "user", .content = "Hi"}, {.role = "assistant", .content = "Hello."}, question})).size());
}

TEST(ServedModel, TellsWhatItIs) {
  ServedModelOptions options = Options(0);
  ServedModel model(Demo(), options);
  EXPECT_EQ(model.parallel(), 8);
  EXPECT_EQ(model.context(), 512);
  EXPECT_EQ(model.backend().name, "cpu");
  EXPECT_GT(model.memory_bytes(), 1'000'000u);
  EXPECT_EQ(model.Metrics().running, 0);
  options.runtime.context = 1 << 20;
  EXPECT_EQ(Refusal([&] { ServedModel(Demo(), options); }).first, ErrorCode::kInvalidArgument);
  options = Options(-1);
  EXPECT_EQ(Refusal([&] { ServedModel(Demo(), options); }).first, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace edgellm
