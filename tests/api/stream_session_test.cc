// Conversations over the WebSocket.
#include "api/stream_session.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tests/api/fakes.h"

namespace edgellm::api {
namespace {

struct Client {
  explicit Client(FakeModels::When when = FakeModels::When::kInStart) : models(std::make_shared<FakeModels>(when)) {
    models->Say(Says({"Hel", "lo"}));
    listener = MakeStreamSession(FakeServices(models), socket);
  }
  std::vector<std::string> Send(const std::string& text) {
    listener->OnMessage(text);
    return socket->Take();
  }
  std::vector<ChatMessage> MessagesOf(size_t request) const {
    return std::get<ChatInput>(models->requests()[request].input).messages;
  }
  std::vector<std::string> SaidTo(size_t request) const {
    std::vector<std::string> said;
    for (const ChatMessage& message : MessagesOf(request)) {
      said.push_back(message.role + ":" + message.content);
    }
    return said;
  }

  std::shared_ptr<FakeModels> models;
  std::shared_ptr<FakeSocket> socket = std::make_shared<FakeSocket>();
  std::unique_ptr<http::WebSocketListener> listener;
};

using Texts = std::vector<std::string>;

constexpr const char* kFirst = R"({"type":"generate","id":"1","model":"m","messages":[{"role":"user","content":"A"}]})";
constexpr const char* kNext = R"({"type":"generate","messages":[{"role":"user","content":"B"}]})";

TEST(StreamSession, AnswersInMessages) {
  Client client;
  EXPECT_EQ(client.Send(kFirst),
            (Texts{R"({"type":"start","id":"1","prompt_tokens":7,"context":4096})",
                   R"({"type":"delta","id":"1","content":"Hel"})", R"({"type":"delta","id":"1","content":"lo"})",
                   R"({"type":"end","id":"1","finish_reason":"stop","usage":{"prompt_tokens":7,"completion_tokens":3,)"
                   R"("total_tokens":10,"prompt_tokens_details":{"cached_tokens":2}},"statistics":{)"
                   R"("total_duration":1000000000,"load_duration":5000000,"queue_duration":1000000,)"
                   R"("prompt_duration":20000000,"decode_duration":30000000,"longest_gap":11000000,"seed":42}})"}));
  EXPECT_EQ(client.models->in_use(), 0);
}

TEST(StreamSession, KeepsTheConversationUntilItIsReset) {
  Client client;
  client.Send(kFirst);
  client.Send(kNext);
  EXPECT_EQ(client.SaidTo(1), (Texts{"user:A", "assistant:Hello", "user:B"}));
  EXPECT_EQ(client.models->loads()[1].model, "m");
  client.Send(R"({"type":"generate","reset":true,"messages":[{"role":"user","content":"C"}]})");
  EXPECT_EQ(client.SaidTo(2), Texts{"user:C"});
}

TEST(StreamSession, CallsAndTheirResultsArePartOfIt) {
  Client client;
  Script script = Says({}, AnswerEnd::Reason::kToolCalls);
  script.pieces.emplace_back();
  script.pieces[0].tool_calls = {{0, "call_1", "f", "{}"}};
  script.pieces[0].thinking = "Hm";
  client.models->Say(script);
  client.Send(kFirst);
  const Texts said = client.Send(kNext);
  EXPECT_EQ(said[1],
            R"({"type":"delta","reasoning_content":"Hm","tool_calls":[{"index":0,"id":"call_1","type":"function",)"
            R"("function":{"name":"f","arguments":"{}"}}]})");
  client.Send(R"({"type":"generate","messages":[{"role":"tool","tool_call_id":"call_1","content":"5"}]})");
  const std::vector<ChatMessage> messages = client.MessagesOf(2);
  EXPECT_EQ(messages[3].tool_calls[0].id, "call_1");
  EXPECT_EQ(messages[3].thinking, "Hm");
  EXPECT_EQ(messages[4].tool_name, "f");
}

TEST(StreamSession, OneAnswerAtATime) {
  Client client(FakeModels::When::kLater);
  EXPECT_EQ(client.Send(kFirst).size(), 1u);
  EXPECT_NE(client.Send(kNext)[0].find("an answer is being made"), std::string::npos);
  client.models->Play();
  EXPECT_EQ(client.socket->Take().size(), 3u);
  EXPECT_EQ(client.Send(kNext).size(), 1u);
  client.models->Play();
}

TEST(StreamSession, ACancelledAnswerEndsAndIsKeptAsFarAsItWent) {
  Client client(FakeModels::When::kLater);
  client.Send(kFirst);
  client.models->Play(1);
  client.Send(R"({"type":"cancel"})");
  client.models->Play();
  const Texts said = client.socket->Take();
  EXPECT_NE(said.back().find(R"("finish_reason":"cancelled")"), std::string::npos);
  EXPECT_EQ(client.models->in_use(), 0);
  client.Send(kNext);
  EXPECT_EQ(client.SaidTo(1), (Texts{"user:A", "assistant:Hel", "user:B"}));
  client.models->Play();
  EXPECT_TRUE(Client().Send(R"({"type":"cancel"})").empty());  // nothing to cancel
}

TEST(StreamSession, ErrorsLeaveTheSessionAsItWas) {
  Client client;
  Script refused;
  refused.refusal = std::make_exception_ptr(Error(ErrorCode::kLimit, "too long"));
  client.models->Say(refused);
  Script failing = Says({"x"}, AnswerEnd::Reason::kFailed);
  failing.ends[0].failure = "the device is gone";
  client.models->Say(failing);
  client.models->Say(Says({"fine"}));
  client.Send(kFirst);
  EXPECT_EQ(client.Send(kNext), Texts{R"({"type":"error","error":{"message":"too long","type":"invalid_request_error",)"
                                      R"("param":null,"code":"context_length_exceeded"}})"});
  EXPECT_NE(client.Send(kNext).back().find("the device is gone"), std::string::npos);
  for (const char* bad : {"", "{", "[]", "{}", R"({"type":"sing"})", R"({"type":"generate","messages":5})",
                          R"({"type":"generate","n":2,"messages":[{"role":"user","content":"B"}]})"}) {
    const Texts said = client.Send(bad);
    ASSERT_EQ(said.size(), 1u) << bad;
    EXPECT_TRUE(said[0].starts_with(R"({"type":"error","error":{"message":")")) << said[0];
  }
  client.Send(kNext);
  EXPECT_EQ(client.SaidTo(3), (Texts{"user:A", "assistant:Hello", "user:B"}));
}

TEST(StreamSession, AModelMustBeNamedOnce) {
  EXPECT_NE(Client().Send(kNext)[0].find(R"("param":"model")"), std::string::npos);
}

TEST(StreamSession, WhoGoesCancels) {
  Client client(FakeModels::When::kLater);
  client.Send(kFirst);
  client.listener->OnGone();
  client.listener.reset();
  EXPECT_EQ(client.models->cancelled(), std::vector<RequestId>{1});
  client.models->Play();
  EXPECT_EQ(client.models->in_use(), 0);
}

}  // namespace
}  // namespace edgellm::api
