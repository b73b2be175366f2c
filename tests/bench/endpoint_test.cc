// Measuring a server, against one that says what each test tells it to: both APIs, how they are told apart, counts,
// refusals, and connections that fail in every way.
#include "bench/endpoint.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tests/bench/stand_in_server.h"

namespace edgellm {
namespace {

using Json = nlohmann::json;

constexpr const char* kHead = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";

size_t CountWords(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), ' ')) + 1;
}

/// Two tokens a word; `pieces` pieces of text with a pause before each, and a tail that counts one token more than
/// that.
HttpAnswer OllamaAnswer(const HttpRequest& request, int pieces, int pause_ms) {
  if (request.path == "/api/version") return Answer(200, "{\"version\":\"0.9.9\"}");
  const Json body = Json::parse(request.body);
  const std::string prompt = body.contains("prompt") ? body["prompt"] : body["messages"][0]["content"];
  HttpAnswer answer{{kHead}, pause_ms};
  for (int i = 0; i < pieces; ++i) answer.pieces.push_back("{\"response\":\"w \",\"done\":false}\n");
  answer.pieces.push_back(
      "{\"response\":\"\",\"done\":true,\"prompt_eval_count\":" + std::to_string(2 * CountWords(prompt)) +
      ",\"eval_count\":" + std::to_string(pieces + 1) + "}\n");
  return answer;
}

HttpAnswer OpenAiAnswer(bool counts) {
  HttpAnswer answer{{kHead, "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n"}};
  for (int i = 0; i < 3; ++i) answer.pieces.push_back("data: {\"choices\":[{\"delta\":{\"content\":\"w\"}}]}\n\n");
  answer.pieces.push_back("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n");
  if (counts) {
    answer.pieces.push_back("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":70,\"completion_tokens\":5}}\n\n");
  }
  answer.pieces.push_back("data: [DONE]\n\n");
  return answer;
}

EndpointOptions Options(const std::string& url) {
  EndpointOptions options;
  options.url = url;
  options.model = "m";
  options.prompts = {64};
  options.tokens = 4;
  options.repetitions = 2;
  options.timeout = 10;
  return options;
}

Error FailureOf(const EndpointOptions& options) {
  try {
    MeasureEndpoint(options, {});
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::kInvalidArgument, "no failure");
}

TEST(Endpoint, OllamaIsFoundAndMeasured) {
  StandInServer server([](const HttpRequest& request) { return OllamaAnswer(request, 4, 5); });
  EndpointOptions options = Options(server.url());
  options.prompts = {64, 512};
  const EndpointResult result = MeasureEndpoint(options, {});
  EXPECT_EQ(result.api, "Ollama");
  EXPECT_EQ(result.server, "0.9.9");
  EXPECT_EQ(result.url, server.url() + "/api/generate");
  ASSERT_EQ(result.figures.size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    const EndpointFigure& figure = result.figures[i];
    EXPECT_EQ(figure.asked, options.prompts[i]);
    EXPECT_NEAR(figure.prompt_tokens, figure.asked, 4);  // after the words of the first request were counted
    EXPECT_EQ(figure.generated_tokens, 5);
    EXPECT_GE(figure.ttft_ms.min, 5);
    EXPECT_GT(figure.prompt_tok_s.median, 0);
    EXPECT_GT(figure.decode_tok_s.median, 0);
    EXPECT_LE(figure.decode_tok_s.max, 4 / 0.010);  // four tokens in three pauses of 5 ms, some of which may be late
  }
  EXPECT_EQ(result.pieces, 2 * 2 * 3);
  EXPECT_GT(result.itl_ms.p50, 0);

  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 1U + 2 * 3);
  const Json first = Json::parse(requests[1].body), second = Json::parse(requests[2].body);
  EXPECT_EQ(first["model"], "m");
  EXPECT_EQ(first["options"]["temperature"], 0);
  EXPECT_EQ(first["options"]["num_predict"], 4);
  EXPECT_EQ(first["options"]["num_ctx"], Json::parse(requests.back().body)["options"]["num_ctx"]);
  const std::string a = first["prompt"], b = second["prompt"];
  EXPECT_NE(a.substr(0, 20), b.substr(0, 20));  // nothing to be found in a cache
}

TEST(Endpoint, OpenAiIsFoundAndMeasured) {
  StandInServer server([](const HttpRequest& request) {
    if (request.path == "/v1/models") return Answer(200, "{\"object\":\"list\",\"data\":[]}");
    if (request.path != "/v1/chat/completions") return Answer(404, "");
    return OpenAiAnswer(true);
  });
  EndpointOptions options = Options(server.url());
  options.api_key = "secret";
  const EndpointResult result = MeasureEndpoint(options, {});
  EXPECT_EQ(result.api, "OpenAI");
  EXPECT_EQ(result.figures[0].prompt_tokens, 70);
  EXPECT_EQ(result.figures[0].generated_tokens, 5);
  const HttpRequest request = server.requests().back();
  EXPECT_NE(request.headers.find("Authorization: Bearer secret"), std::string::npos);
  const Json body = Json::parse(request.body);
  EXPECT_EQ(body["max_tokens"], 4);
  EXPECT_EQ(body["ignore_eos"], true);
  EXPECT_EQ(body["stream_options"]["include_usage"], true);
}

TEST(Endpoint, APathIsTakenAtItsWord) {
  for (const char* path :
       {"/api/generate", "/api/chat", "/v1/completions", "/v1/chat/completions", "/v1", "/proxy/v1/"}) {
    StandInServer server([](const HttpRequest& request) {
      return request.path.starts_with("/api/") ? OllamaAnswer(request, 2, 0) : OpenAiAnswer(false);
    });
    const EndpointResult result = MeasureEndpoint(Options(server.url().substr(7) + path), {});  // without "http://"
    const HttpRequest request = server.requests().front();
    const Json body = Json::parse(request.body);
    EXPECT_EQ(result.url, server.url() + request.path);
    EXPECT_TRUE(request.path.starts_with(std::string(path).substr(0, 3))) << request.path;
    EXPECT_EQ(body.contains("messages"), request.path.find("chat") != std::string::npos);
    EXPECT_GT(result.figures[0].generated_tokens, 0);
  }
}

TEST(Endpoint, CountsThePiecesWhereTheServerDoesNot) {
  StandInServer server([](const HttpRequest&) { return OpenAiAnswer(false); });
  const EndpointFigure figure = MeasureEndpoint(Options(server.url() + "/v1"), {}).figures[0];
  EXPECT_EQ(figure.prompt_tokens, 0);
  EXPECT_EQ(figure.prompt_tok_s.median, 0);
  EXPECT_EQ(figure.generated_tokens, 3);
}

TEST(Endpoint, AServerMayRefuseIgnoreEos) {
  StandInServer server([](const HttpRequest& request) {
    if (Json::parse(request.body).contains("ignore_eos"))
      return Answer(400, "{\"error\":{\"message\":\"unknown field\"}}");
    return OpenAiAnswer(true);
  });
  EXPECT_EQ(MeasureEndpoint(Options(server.url() + "/v1"), {}).figures[0].generated_tokens, 5);
  EXPECT_EQ(server.requests().size(), 1U + 3);
}

TEST(Endpoint, HttpErrorsBringTheServersWords) {
  struct Case {
    int status;
    const char* body;
    ErrorCode code;
    std::string text;
  };
  for (const Case& c :
       {Case{404, "{\"error\":\"model 'm' not found\"}", ErrorCode::kNotFound, "HTTP 404: model 'm' not found"},
        Case{400, "{\"error\":\"bad option\"}", ErrorCode::kInvalidArgument, "HTTP 400: bad option"},
        Case{401, "{\"error\":{\"message\":\"who\"}}", ErrorCode::kInvalidArgument, "HTTP 401: who"},
        Case{503, "busy\n", ErrorCode::kIo, "HTTP 503: busy"}}) {
    StandInServer server([&](const HttpRequest&) { return Answer(c.status, c.body); });
    for (const char* path : {"/api/chat", "/v1"}) {
      const Error error = FailureOf(Options(server.url() + path));
      EXPECT_EQ(error.code(), c.code);
      EXPECT_TRUE(std::string(error.what()).ends_with(": " + c.text)) << error.what();
      EXPECT_TRUE(std::string(error.what()).starts_with(server.url())) << error.what();
    }
  }
}

TEST(Endpoint, FailuresOfTheStream) {
  const auto failure = [](std::vector<std::string> pieces) {
    StandInServer server([&](const HttpRequest&) { return HttpAnswer{pieces}; });
    return std::string(FailureOf(Options(server.url() + "/api/generate")).what());
  };
  const std::string head = kHead, piece = "{\"response\":\"w\"}\n";
  EXPECT_TRUE(failure({head, piece, "{\"error\":\"gone\"}\n"}).ends_with("the server reports: gone"));
  EXPECT_TRUE(failure({head, piece}).ends_with("the stream was cut before its end"));
  EXPECT_TRUE(failure({head, "{\"done\":true}\n"}).ends_with("the server answered without any text"));
  EXPECT_NE(failure({head, "<html>\n"}).find("not valid JSON"), std::string::npos);
  // A chunked body that ends in the middle is noticed a layer below.
  const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_TRUE(failure({chunked, "ff\r\n" + piece}).starts_with("http://127.0.0.1:"));
  EXPECT_TRUE(failure({""}).starts_with("http://127.0.0.1:"));
}

TEST(Endpoint, SilenceEndsInATimeout) {
  StandInServer server([](const HttpRequest&) { return HttpAnswer{{kHead, "{\"response\":\"w\"}\n"}, 0, 1500}; });
  EndpointOptions options = Options(server.url() + "/api/generate");
  options.timeout = 0.2;
  EXPECT_TRUE(std::string(FailureOf(options).what()).ends_with("nothing came for 0.2 seconds"));
}

TEST(Endpoint, NobodyThere) {
  std::string url;
  {
    StandInServer server([](const HttpRequest&) { return Answer(404, ""); });
    url = server.url();
    const Error error = FailureOf(Options(url));
    EXPECT_NE(std::string(error.what()).find("neither Ollama's API nor OpenAI's"), std::string::npos) << error.what();
  }
  const Error error = FailureOf(Options(url));
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_NE(std::string(error.what()).find("refused"), std::string::npos) << error.what();
}

TEST(Endpoint, OptionsThatMakeNoSense) {
  for (const char* url : {"", "ftp://x", "http://", "http://x/?q=1", "http://me@x", "http://a b"}) {
    EXPECT_EQ(FailureOf(Options(url)).code(), ErrorCode::kInvalidArgument) << url;
    EXPECT_NE(std::string(FailureOf(Options(url)).what()), "no failure") << url;
  }
  EndpointOptions options = Options("http://127.0.0.1:1");
  options.tokens = 1;
  EXPECT_EQ(FailureOf(options).code(), ErrorCode::kInvalidArgument);
  options = Options("http://127.0.0.1:1");
  options.model = "";
  EXPECT_EQ(FailureOf(options).code(), ErrorCode::kInvalidArgument);
}

TEST(Endpoint, ProgressMayCancel) {
  struct Cancelled {};
  StandInServer server([](const HttpRequest& request) { return OllamaAnswer(request, 2, 0); });
  const Progress cancel = [](std::string_view, uint64_t done, uint64_t) {
    if (done == 2) throw Cancelled();
  };
  EXPECT_THROW(MeasureEndpoint(Options(server.url()), cancel), Cancelled);
}

}  // namespace
}  // namespace edgellm
