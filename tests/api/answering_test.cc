// The way from a request to its answer when things do not go smoothly: clients that go, models that fail, pieces that
// come before anybody expects them. Which bytes come is the transcripts' matter.
#include "api/answering.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "api/json_input.h"
#include "api/task_pool.h"
#include "base/error.h"
#include "tests/api/fakes.h"

namespace edgellm::api {
namespace {

constexpr const char* kChat = "/v1/chat/completions";
constexpr const char* kStream = R"({"model":"m","messages":[{"role":"user","content":"Hi"}],"stream":true})";
constexpr const char* kWhole = R"({"model":"m","messages":[{"role":"user","content":"Hi"}]})";

std::shared_ptr<FakeModels> Later() {
  return std::make_shared<FakeModels>(FakeModels::When::kLater);
}

std::exception_ptr Thrown(ErrorCode code, const std::string& message) {
  return std::make_exception_ptr(Error(code, message));
}

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = 0; (at = text.find(part, at)) != text.npos; ++at) ++count;
  return count;
}

TEST(Answering, StreamsPieceByPiece) {
  const auto models = Later();
  models->Say(Says({"a", "b"}));
  const auto client = SendTo(FakeServices(models), kChat, kStream);
  EXPECT_EQ(client->received().status, 200);
  EXPECT_EQ(Count(client->received().body, "data: "), 1);  // the role
  models->Play(1);
  EXPECT_EQ(Count(client->received().body, "data: "), 2);
  EXPECT_FALSE(client->received().complete);
  EXPECT_EQ(models->in_use(), 1);
  models->Play();
  EXPECT_TRUE(client->received().complete);
  EXPECT_TRUE(client->received().body.ends_with("data: [DONE]\n\n"));
  EXPECT_EQ(models->in_use(), 0);
}

TEST(Answering, PiecesThatComeBeforeStartReturnsAreTheSame) {
  const auto early = std::make_shared<FakeModels>(FakeModels::When::kInStart), late = Later();
  for (const auto& models : {early, late}) models->Say(Says({"a", "b"}));
  const auto first = SendTo(FakeServices(early), kChat, kStream), second = SendTo(FakeServices(late), kChat, kStream);
  late->Play();
  EXPECT_EQ(first->received().body, second->received().body);
  EXPECT_EQ(early->in_use(), 0);
}

TEST(Answering, AClientThatGoesCancelsAndTheModelStaysUntilTheEnd) {
  for (const char* body : {kStream, kWhole}) {
    const auto models = Later();
    models->Say(Says({"a", "b", "c"}));
    const auto client = SendTo(FakeServices(models), kChat, body);
    models->Play(1);
    const std::string before = client->received().body;
    client->Leave();
    EXPECT_EQ(models->cancelled(), std::vector<RequestId>{1});
    EXPECT_EQ(models->in_use(), 1);
    models->Play();
    EXPECT_EQ(models->in_use(), 0);
    EXPECT_EQ(client->received().body, before);
  }
}

TEST(Answering, AClientThatDoesNotReadIsLikeOneThatGoes) {
  const auto models = Later();
  models->Say(Says({"a", "b", "c"}));
  const auto client = SendTo(FakeServices(models), kChat, kStream);
  client->StopReading();
  models->Play(1);
  EXPECT_EQ(models->cancelled(), std::vector<RequestId>{1});
  models->Play();
  EXPECT_EQ(models->in_use(), 0);
}

/// A host that is asked and does not answer yet.
class SlowModels final : public Models {
 public:
  void Acquire(LoadRequest, Ready ready) override { ready_ = std::move(ready); }
  bool Unload(const std::string&) override { return false; }
  Ready ready_;
};

TEST(Answering, AClientThatGoesWhileTheModelLoadsAsksForNothing) {
  const auto slow = std::make_shared<SlowModels>();
  const auto models = Later();
  auto services = FakeServices(models);
  services->models = slow;
  const auto client = SendTo(services, kChat, kStream);
  client->Leave();
  models->Acquire({}, std::move(slow->ready_));
  EXPECT_TRUE(models->requests().empty());
  EXPECT_EQ(models->in_use(), 0);
  EXPECT_EQ(client->received().answers, 0);
}

TEST(Answering, WhenOneOfSeveralPromptsIsRefusedNoneIsAnswered) {
  const auto models = Later();
  models->Say(Says({"a"}));
  Script refused;
  refused.refusal = Thrown(ErrorCode::kLimit, "the prompt has 9 tokens, and the context 8");
  models->Say(refused);
  const auto client =
      SendTo(FakeServices(models), "/v1/completions", R"({"model":"m","prompt":["a","b"],"stream":true})");
  EXPECT_EQ(client->received().status, 400);
  EXPECT_NE(client->received().body.find("context_length_exceeded"), std::string::npos);
  EXPECT_EQ(models->cancelled(), std::vector<RequestId>{1});
  EXPECT_EQ(models->in_use(), 1);
  models->Play();
  EXPECT_EQ(models->in_use(), 0);
  EXPECT_EQ(client->received().answers, 1);
}

TEST(Answering, AFailureInTheMiddleEndsTheStreamAndTheOtherAnswers) {
  const auto models = Later();
  Script failing = Says({"a"});
  failing.ends[0].reason = AnswerEnd::Reason::kFailed;
  failing.ends[0].failure = "the device is gone";
  models->Say(failing);
  models->Say(Says({"b", "c"}));
  const auto client =
      SendTo(FakeServices(models), "/v1/completions", R"({"model":"m","prompt":["a","b"],"stream":true})");
  models->Play(1);
  EXPECT_TRUE(client->received().complete);
  EXPECT_EQ(Count(client->received().body, "the device is gone"), 1);
  EXPECT_EQ(Count(client->received().body, "[DONE]"), 0);
  EXPECT_EQ(models->cancelled(), (std::vector<RequestId>{1, 2}));
  models->Play();
  EXPECT_EQ(models->in_use(), 0);
}

TEST(Answering, WhatTheServerItselfCancelsIsAFailure) {
  for (const char* body : {kStream, kWhole}) {
    const auto models = Later();
    models->Say(Says({"a"}, AnswerEnd::Reason::kCancelled));
    const auto client = SendTo(FakeServices(models), kChat, body);
    models->Play();
    EXPECT_NE(client->received().body.find("cancelled"), std::string::npos);
    EXPECT_EQ(client->received().status, body == kStream ? 200 : 503);
  }
}

struct Refusal {
  ErrorCode code;
  bool loading;
  int ollama, openai, anthropic;
};

class Refusals : public testing::TestWithParam<Refusal> {};

TEST_P(Refusals, HaveTheStatusAndTheBodyOfEachApi) {
  const auto run = [&](const std::string& path, const std::string& body) {
    const auto models = Later();
    const auto thrown = Thrown(GetParam().code, "so it is");
    Script script;
    script.refusal = thrown;
    models->Say(script);
    if (GetParam().loading) models->FailLoading(thrown);
    const auto client = SendTo(FakeServices(models), path, body);
    EXPECT_EQ(models->in_use(), 0);
    EXPECT_EQ(client->received().content_type, "application/json; charset=utf-8");
    return client->received();
  };
  const bool busy = GetParam().code == ErrorCode::kBusy;
  const bool missing = GetParam().loading && GetParam().code == ErrorCode::kNotFound;
  const std::string said = missing ? "model 'm' not found" : "so it is";
  const auto ollama = run("/api/chat", R"({"model":"m","messages":[{"role":"user","content":"Hi"}]})");
  EXPECT_EQ(ollama.status, GetParam().ollama);
  EXPECT_EQ(ollama.body, busy ? R"({"error":"server busy, please try again.  maximum pending requests exceeded"})"
                              : R"({"error":")" + said + "\"}");
  const auto openai = run(kChat, kStream);
  EXPECT_EQ(openai.status, GetParam().openai);
  EXPECT_TRUE(openai.body.starts_with(R"({"error":{"message":")" + said + R"(","type":")")) << openai.body;
  const auto anthropic =
      run("/v1/messages", R"({"model":"m","max_tokens":1,"messages":[{"role":"user","content":"Hi"}]})");
  EXPECT_EQ(anthropic.status, GetParam().anthropic);
  EXPECT_TRUE(anthropic.body.starts_with(R"({"type":"error","error":{"type":")")) << anthropic.body;
  for (const auto& received : {ollama, openai, anthropic}) {
    const bool retry =
        !received.headers.empty() && received.headers[0] == std::pair<std::string, std::string>("retry-after", "1");
    EXPECT_EQ(retry, busy);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Refusals,
                         testing::Values(Refusal{ErrorCode::kBusy, false, 503, 429, 529},
                                         Refusal{ErrorCode::kBusy, true, 503, 429, 529},
                                         Refusal{ErrorCode::kLimit, false, 400, 400, 400},
                                         Refusal{ErrorCode::kLimit, true, 500, 500, 500},
                                         Refusal{ErrorCode::kUnsupported, false, 400, 400, 400},
                                         Refusal{ErrorCode::kInvalidArgument, false, 400, 400, 400},
                                         Refusal{ErrorCode::kNotFound, true, 404, 404, 404},
                                         Refusal{ErrorCode::kCorrupt, true, 500, 500, 500},
                                         Refusal{ErrorCode::kEnvironment, true, 500, 500, 500}));

TEST(Answering, LoadsAndUnloadsOnRequest) {
  const auto models = Later();
  const auto services = FakeServices(models);
  SendTo(services, "/api/generate", R"({"model":"m"})");
  EXPECT_EQ(models->loads().size(), 1u);
  EXPECT_TRUE(models->unloads().empty());
  SendTo(services, "/api/chat", R"({"model":"m","keep_alive":"0s"})");
  EXPECT_EQ(models->unloads(), std::vector<std::string>{"m"});
  EXPECT_TRUE(models->requests().empty());
  models->FailLoading(Thrown(ErrorCode::kNotFound, "no"));
  EXPECT_EQ(SendTo(services, "/api/generate", R"({"model":"m"})")->received().status, 404);
}

TEST(Answering, EmbeddingsGoWhereTheyAreMade) {
  auto services = FakeServices(Later());
  EmbeddingRequest asked;
  std::exception_ptr failure;
  services->embed = [&](EmbeddingRequest request, const EmbeddingReady& ready, const CancellationPointer&) {
    asked = std::move(request);
    ready({{{0.5f, -1.0f}, {1.0f, 0.0f}}, 4, 0}, failure);
  };
  const auto ollama =
      SendTo(services, "/api/embed", R"({"model":"m","input":["a","b"],"truncate":false,"dimensions":2})");
  EXPECT_EQ(ollama->received().body,
            R"({"model":"m","embeddings":[[0.5,-1],[1,0]],"total_duration":1000000000,"prompt_eval_count":4})");
  EXPECT_EQ(asked.texts, (std::vector<std::string>{"a", "b"}));
  EXPECT_FALSE(asked.truncate);
  EXPECT_EQ(asked.dimensions, 2);
  EXPECT_EQ(SendTo(services, "/api/embeddings", R"({"model":"m","prompt":"a"})")->received().body,
            R"({"embedding":[0.5,-1]})");
  const auto openai = SendTo(services, "/v1/embeddings", R"({"model":"m","input":[[1,2],[3]]})");
  EXPECT_EQ(
      openai->received().body,
      R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,-1]},)"
      R"({"object":"embedding","index":1,"embedding":[1,0]}],"model":"m","usage":{"prompt_tokens":4,"total_tokens":4}})");
  EXPECT_EQ(asked.tokens, (std::vector<std::vector<int32_t>>{{1, 2}, {3}}));
  const auto base64 = SendTo(services, "/v1/embeddings", R"({"model":"m","input":"a","encoding_format":"base64"})");
  EXPECT_NE(base64->received().body.find(R"("embedding":"AAAAPwAAgL8=")"), std::string::npos)
      << base64->received().body;
  failure = Thrown(ErrorCode::kNotFound, "no");
  EXPECT_EQ(SendTo(services, "/v1/embeddings", R"({"model":"m","input":"a"})")->received().status, 404);
  failure = std::make_exception_ptr(RequestError(ErrorCode::kLimit, "input", "too long"));
  const auto refused = SendTo(services, "/v1/embeddings", R"({"model":"m","input":"a"})");
  EXPECT_EQ(refused->received().status, 400);
  EXPECT_NE(refused->received().body.find(R"("param":"input")"), std::string::npos);
}

TEST(Answering, AClientThatGoesCancelsItsEmbedding) {
  auto services = FakeServices(Later());
  EmbeddingReady ready;
  int cancelled = 0;
  services->embed = [&](const EmbeddingRequest&, EmbeddingReady then, const CancellationPointer& cancellation) {
    ready = std::move(then);
    EXPECT_FALSE(cancellation->cancelled());
    cancellation->OnCancel([&] { ++cancelled; });
  };
  const auto client = SendTo(services, "/api/embed", R"({"model":"m","input":"a"})");
  EXPECT_EQ(cancelled, 0);
  client->Leave();
  EXPECT_EQ(cancelled, 1);
  ready({}, Thrown(ErrorCode::kBusy, "the embedding was cancelled"));  // and nobody minds

  Cancellation before;
  before.Cancel();
  before.OnCancel([&] { ++cancelled; });
  EXPECT_EQ(cancelled, 2);
}

TEST(Answering, FormatsSayHowTheyAreKeptAlive) {
  const auto models = Later();
  const auto services = FakeServices(models);
  const auto keep_alive = [&](const std::string& path, const std::string& body) {
    models->Say(Says({"a"}));
    const auto client = SendTo(services, path, body);
    models->Play();
    return client->received().keep_alive;
  };
  const std::string chat = R"({"model":"m","stream":true,"max_tokens":5,"messages":[{"role":"user","content":"a"}]})";
  EXPECT_EQ(keep_alive("/v1/chat/completions", chat), ": keep-alive\n\n");
  EXPECT_EQ(keep_alive("/v1/completions", R"({"model":"m","stream":true,"prompt":"a"})"), ": keep-alive\n\n");
  EXPECT_EQ(keep_alive("/v1/responses", R"({"model":"m","stream":true,"input":"a"})"), ": keep-alive\n\n");
  EXPECT_EQ(keep_alive("/v1/messages", chat), "event: ping\ndata: {\"type\":\"ping\"}\n\n");
  EXPECT_EQ(keep_alive("/api/chat", chat), "");  // a line of JSON is an event
}

TEST(Answering, ManyClientsOnManyThreadsComeAndGo) {
  const auto models = Later();
  models->Say(Says({"a", "b", "c", "d"}));
  auto services = FakeServices(models);
  TaskPool pool(3);
  services->post = [&pool](std::function<void()> task) { pool.Post(std::move(task)); };
  std::vector<std::shared_ptr<FakeExchange>> clients;
  std::vector<bool> left(300, false);
  std::atomic<bool> done = false;
  std::thread player([&] {
    while (!done) models->Play(1);
  });
  for (size_t i = 0; i < left.size(); ++i) {
    clients.push_back(SendTo(services, kChat, i % 2 == 0 ? kStream : kWhole));
    if (i % 3 != 0) continue;
    left[i / 2] = true;
    clients[i / 2]->Leave();
  }
  for (size_t i = 0; i < left.size(); ++i) {
    while (!left[i] && !clients[i]->received().complete) std::this_thread::yield();
    EXPECT_LE(clients[i]->received().answers, 1);
  }
  while (models->in_use() > 0) std::this_thread::yield();
  done = true;
  player.join();
}

}  // namespace
}  // namespace edgellm::api
