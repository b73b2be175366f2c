// Measuring a server as many users meet it, against one that says what each test tells it to: what is asked, what is
// counted, and who is lost.
#include "bench/endpoint_users.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tests/bench/stand_in_server.h"

namespace edgellm {
namespace {

using Json = nlohmann::json;

constexpr const char* kHead = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";

std::string Event(const Json& json) {
  return "data: " + json.dump() + "\n\n";
}

/// `tokens` pieces of text, then an end that counts them.
HttpAnswer Stream(int tokens, int pause_ms) {
  HttpAnswer answer{{kHead}, pause_ms};
  for (int i = 0; i < tokens; ++i)
    answer.pieces.push_back(Event({{"choices", {{{"index", 0}, {"text", "w"}, {"finish_reason", nullptr}}}}}));
  answer.pieces.push_back(Event({{"choices", {{{"index", 0}, {"text", ""}, {"finish_reason", "length"}}}}}));
  answer.pieces.push_back(
      Event({{"choices", Json::array()}, {"usage", {{"prompt_tokens", 1}, {"completion_tokens", tokens}}}}));
  answer.pieces.push_back("data: [DONE]\n\n");
  return answer;
}

std::vector<int> PromptOf(const HttpRequest& request) {
  return Json::parse(request.body)["prompt"].get<std::vector<int>>();
}

int TokensOf(const HttpRequest& request) {
  return Json::parse(request.body)["max_tokens"];
}

/// Nothing is measured but what a test adds.
EndpointUsersOptions Options(const std::string& url) {
  EndpointUsersOptions options;
  options.url = url;
  options.model = "m";
  options.what.streams = options.what.users = options.clients = 0;
  options.what.rounds = 1;
  options.client_prompt = 5;
  options.timeout = 10;
  return options;
}

Error FailureOf(const EndpointUsersOptions& options) {
  try {
    MeasureEndpointUsers(options, {});
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::kInvalidArgument, "no failure");
}

TEST(EndpointUsers, StreamsBesideALongPrompt) {
  constexpr int kLong = 300, kContext = 20;
  StandInServer server([](const HttpRequest& request) {
    const size_t length = PromptOf(request).size();
    if (length == kContext) return Stream(200, 10);
    return Stream(1, length == kLong ? 60 : 0);  // while which the streams go on
  });
  EndpointUsersOptions options = Options(server.url() + "/v1");
  options.api_key = "secret";
  options.what.streams = 3;
  options.what.context = kContext;
  options.what.long_prompt = kLong;
  options.what.tokens = 5;
  const EndpointUsersResult result = MeasureEndpointUsers(options, {});
  EXPECT_EQ(result.url, server.url() + "/v1/completions");
  EXPECT_EQ(result.streams, 3);
  for (const Percentiles* times : {&result.before_ms, &result.beside_ms, &result.after_ms}) {
    EXPECT_GT(times->max, 0);
    EXPECT_GE(times->max, times->p99);
  }
  EXPECT_GT(result.p99_ratio.median, 0);
  EXPECT_GE(result.prompt_ms.median, 60);
  EXPECT_GE(result.prompt_alone_ms.median, 60);

  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 1U + 1 + 3 + 1);  // warming up, the prompt alone, the streams, the prompt beside them
  std::set<std::vector<int>> prompts;
  for (const HttpRequest& request : requests) prompts.insert(PromptOf(request));
  EXPECT_EQ(prompts.size(), requests.size());  // nothing to be found in a cache
  const Json body = Json::parse(requests.back().body);
  EXPECT_EQ(body["prompt"].size(), static_cast<size_t>(kLong));
  EXPECT_EQ(body["max_tokens"], 1);
  EXPECT_EQ(body["temperature"], 0);
  EXPECT_EQ(body["stream"], true);
  EXPECT_EQ(body["ignore_eos"], true);
  EXPECT_NE(requests.back().headers.find("Authorization: Bearer secret"), std::string::npos);
}

TEST(EndpointUsers, StreamsThatEndTooEarlyAreNoMeasurement) {
  StandInServer server([](const HttpRequest& request) { return Stream(PromptOf(request).size() == 20 ? 12 : 1, 1); });
  EndpointUsersOptions options = Options(server.url());
  options.what.streams = 2;
  options.what.context = 20;
  options.what.long_prompt = 30;
  options.what.tokens = 50;
  options.turn = 0;
  const Error failure = FailureOf(options);
  EXPECT_EQ(failure.code(), ErrorCode::kLimit);
  EXPECT_NE(std::string(failure.what()).find("a stream ended after 12 tokens"), std::string::npos) << failure.what();
}

TEST(EndpointUsers, StreamsBeginAnewWhereTheyStood) {
  StandInServer server([](const HttpRequest& request) {
    return Stream(TokensOf(request), PromptOf(request).size() == 30 ? 30 : 1);  // the long prompt takes its time
  });
  EndpointUsersOptions options = Options(server.url());
  options.what.streams = 2;
  options.what.context = 20;
  options.what.long_prompt = 30;
  options.what.tokens = 20;
  options.turn = 10;
  EXPECT_GT(MeasureEndpointUsers(options, {}).beside_ms.max, 0);
  std::map<std::vector<int>, int> turns;
  for (const HttpRequest& request : server.requests()) {
    if (PromptOf(request).size() != 20) continue;
    EXPECT_EQ(TokensOf(request), 10);
    ++turns[PromptOf(request)];
  }
  ASSERT_EQ(turns.size(), 2U);
  for (const auto& [prompt, count] : turns) EXPECT_GT(count, 3);
}

TEST(EndpointUsers, LostClientsAreCounted) {
  std::atomic<int> count{0};
  StandInServer server([&](const HttpRequest& request) {
    const int number = count++;
    if (number == 0) return Stream(TokensOf(request), 0);  // warming up
    if (number % 10 == 3) return Answer(503, "{\"error\":\"too many\"}");
    if (number % 10 == 5) return HttpAnswer{{kHead, Event({{"choices", {{{"text", "w"}}}}})}};  // cut
    if (number % 10 == 7) return Stream(TokensOf(request) - 1, 0);
    return Stream(TokensOf(request), 1);
  });
  EndpointUsersOptions options = Options(server.url() + "/v1/completions");
  options.clients = 40;
  options.client_tokens = 4;
  const EndpointUsersResult result = MeasureEndpointUsers(options, {});
  EXPECT_EQ(result.asked, 40);
  EXPECT_EQ(result.whole, 28);
  int lost = 0;
  for (const auto& [cause, number] : result.failures) lost += number;
  EXPECT_EQ(lost, 12);
  EXPECT_EQ(result.failures.at("HTTP 503: too many"), 4);
  EXPECT_EQ(result.failures.at("fewer tokens than asked for"), 4);
  EXPECT_GT(result.ttft_ms.p50, 0);
  EXPECT_GT(result.itl_ms.max, 0);
  EXPECT_GT(result.tok_s.median, 0);
}

TEST(EndpointUsers, ASharedPrompt) {
  StandInServer server([](const HttpRequest&) { return Stream(1, 1); });
  EndpointUsersOptions options = Options(server.url());
  options.what.users = 4;
  options.what.shared = 50;
  const EndpointUsersResult result = MeasureEndpointUsers(options, {});
  EXPECT_EQ(result.users, 4);
  for (const Spread* spread : {&result.first_ms, &result.one_by_one_ratio, &result.at_once_slowest})
    EXPECT_GT(spread->min, 0);
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 1U + 2 * 4);
  const auto shared = [&](size_t i) {
    std::vector<int> prompt = PromptOf(requests[i]);
    prompt.resize(50);
    return prompt;
  };
  std::set<std::vector<int>> whole;
  for (size_t i = 1; i <= 8; ++i) {
    EXPECT_EQ(shared(i), shared(i <= 4 ? 1 : 5)) << i;
    whole.insert(PromptOf(requests[i]));
  }
  EXPECT_EQ(whole.size(), 8U);
  EXPECT_NE(shared(1), shared(5));
}

TEST(EndpointUsers, AServerThatRefusesIgnoreEosIsAskedWithoutIt) {
  StandInServer server([](const HttpRequest& request) {
    if (Json::parse(request.body).contains("ignore_eos"))
      return Answer(400, "{\"error\":{\"message\":\"what is that\"}}");
    return Stream(2, 0);
  });
  EndpointUsersOptions options = Options(server.url());
  options.clients = 2;
  options.client_tokens = 9;  // the model ends earlier: which is whole then
  const EndpointUsersResult result = MeasureEndpointUsers(options, {});
  EXPECT_EQ(result.whole, 2);
}

TEST(EndpointUsers, WhatMakesNoSenseIsRefused) {
  EndpointUsersOptions options = Options("http://127.0.0.1:9/api/chat");
  EXPECT_NE(std::string(FailureOf(options).what()).find("/v1/completions"), std::string::npos);
  options = Options("http://127.0.0.1:9");
  options.model.clear();
  EXPECT_EQ(FailureOf(options).code(), ErrorCode::kInvalidArgument);
  options.model = "m";
  options.what.users = 1;
  EXPECT_EQ(FailureOf(options).code(), ErrorCode::kInvalidArgument);
  options.what.users = 0;
  EXPECT_EQ(FailureOf(options).code(), ErrorCode::kIo);  // nobody listens there
  StandInServer server([](const HttpRequest&) { return Answer(404, "{\"error\":\"no such model\"}"); });
  options.url = server.url();
  EXPECT_EQ(FailureOf(options).code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace edgellm
