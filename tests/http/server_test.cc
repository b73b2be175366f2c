// Requests and answers over sockets: what proper clients send, and what others do.
#include "http/server.h"

#include <thread>

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/base/temporary_folder.h"
#include "tests/http/raw_client.h"
#include "tests/http/server_fixture.h"

namespace edgellm::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_F(ServerTest, Answers) {
  Start();
  const RawReply reply = Ask(GetText("/hello?x=1"));
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, "hello");
  EXPECT_EQ(reply.Header("content-type"), "text/plain");
  EXPECT_EQ(reply.Header("content-length"), "5");
  EXPECT_FALSE(reply.Header("date").empty());
  EXPECT_EQ(reply.Header("connection"), "");
  EXPECT_EQ(Ask(GetText("/models/a/b%20c")).body, "GET /models/a/b c [a/b c]");
}

TEST_F(ServerTest, KeepsConnections) {
  Start();
  RawClient client = Connect();
  for (int i = 0; i < 3; ++i) {
    client.Send(PostText("/echo", "number " + std::to_string(i)));
    EXPECT_EQ(client.ReadReply().body, "number " + std::to_string(i));
  }
  client.Send(GetText("/hello", "Connection: close\r\n"));
  EXPECT_EQ(client.ReadReply().Header("connection"), "close");
  EXPECT_TRUE(client.WaitForEnd());
}

TEST_F(ServerTest, AnswersPipelinedRequestsInOrder) {
  Start();
  RawClient client = Connect();
  std::string all;
  for (int i = 0; i < 50; ++i) {
    all += PostText("/echo", std::to_string(i)) + (i % 7 == 0 ? "\r\n" : "") + GetText("/stream");
  }
  client.Send(all);
  client.EndOutput();
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(client.ReadReply().body, std::to_string(i));
    EXPECT_EQ(client.ReadReply().body, "one two");
  }
  EXPECT_TRUE(client.WaitForEnd());
}

TEST_F(ServerTest, APipelinedRequestWaitsForTheAnswerBefore) {
  Start();
  RawClient client = Connect();
  client.Send(GetText("/keep") + GetText("/hello"));
  ASSERT_TRUE(observed_.kept.Wait());
  auto exchange = observed_.TakeExchange();
  client.Send(GetText("/models/m"));  // comes while the first one is at work
  exchange->Send({200, "first", "text/plain"});
  exchange.reset();
  EXPECT_EQ(client.ReadReply().body, "first");
  EXPECT_EQ(client.ReadReply().body, "hello");
  EXPECT_EQ(client.ReadReply().body, "GET /models/m [m]");
  EXPECT_EQ(observed_.gone.count(), 0);
}

TEST_F(ServerTest, RequestsMayComeByteByByte) {
  Start();
  RawClient client = Connect();
  client.SendSlowly(PostText("/echo", "abc") +
                        "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "3;name=value\r\nabc\r\n0A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n",
                    1, milliseconds(0));
  EXPECT_EQ(client.ReadReply().body, "abc");
  EXPECT_EQ(client.ReadReply().body, "abc0123456789");
}

TEST_F(ServerTest, HeadAndOptions) {
  Start();
  RawClient client = Connect();
  client.Send("HEAD /hello HTTP/1.1\r\nHost: localhost\r\n\r\n");
  RawReply reply = client.ReadReply(true);
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.Header("content-length"), "5");
  client.Send("HEAD /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(client.ReadReply(true).status, 200);
  client.Send("OPTIONS /models/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
  reply = client.ReadReply();
  EXPECT_EQ(reply.status, 204);
  EXPECT_EQ(reply.Header("allow"), "get, head, options");
  client.Send("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(client.ReadReply().status, 204);
  EXPECT_TRUE(client.received().empty());
  client.Send(PostText("/hello", "a body that nobody reads"));
  reply = client.ReadReply();
  EXPECT_EQ(reply.status, 405);
  EXPECT_EQ(reply.Header("allow"), "get, head, options");
  client.Send(GetText("/absent"));
  EXPECT_EQ(client.ReadReply().status, 404);
  client.Send(GetText("/hello"));  // still the same connection
  EXPECT_EQ(client.ReadReply().body, "hello");
}

TEST_F(ServerTest, Http10) {
  Start();
  RawReply reply = Ask("GET /hello HTTP/1.0\r\n\r\n");
  EXPECT_EQ(reply.body, "hello");
  EXPECT_EQ(reply.Header("connection"), "close");
  reply = Ask("GET /stream HTTP/1.0\r\n\r\n");
  EXPECT_EQ(reply.Header("transfer-encoding"), "");
  EXPECT_EQ(reply.body, "one two");
  EXPECT_TRUE(reply.complete);
  RawClient client = Connect();
  client.Send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(client.ReadReply().Header("connection"), "keep-alive");
  client.Send("GET /hello HTTP/1.0\r\n\r\n");
  EXPECT_EQ(client.ReadReply().body, "hello");
}

TEST_F(ServerTest, ContinuesWhenAsked) {
  Start();
  RawClient client = Connect();
  client.Send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.ReadReply().status, 100);
  client.Send("abc");
  EXPECT_EQ(client.ReadReply().body, "abc");
  // A body that would be refused is refused before it is sent.
  client.Send("POST /small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.ReadReply().status, 413);
  EXPECT_TRUE(client.WaitForEnd());
  EXPECT_EQ(Ask(PostText("/echo", "x", "Expect: a miracle\r\n")).status, 417);
}

TEST_F(ServerTest, BodiesHaveALimit) {
  Start();
  RawClient client = Connect();
  client.Send(PostText("/small", "0123456789"));
  EXPECT_EQ(client.ReadReply().status, 200);
  client.Send(PostText("/small", "0123456789a"));  // short enough to be read and thrown away
  EXPECT_EQ(client.ReadReply().status, 413);
  client.Send(GetText("/hello"));
  EXPECT_EQ(client.ReadReply().status, 200);
  client.Send(
      "POST /small HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: "
      "chunked\r\n\r\n8\r\n01234567\r\n3\r\n012\r\n0\r\n\r\n");
  EXPECT_EQ(client.ReadReply().status, 413);
  EXPECT_TRUE(client.WaitForEnd());
  EXPECT_EQ(Ask("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n").status, 413);
}

TEST_F(ServerTest, BodiesTogetherHaveALimit) {
  ServerOptions options = TestOptions(&observed_);
  options.limits.bodies_bytes = 300'000;
  Start(std::move(options));
  const std::string large(200'000, 'x'), small(1000, 'x');
  RawClient first = Connect();
  first.Send(PostText("/keep", large));
  ASSERT_TRUE(observed_.kept.Wait());
  const RawReply refused = Ask(PostText("/echo", large));
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.Header("retry-after"), "1");
  EXPECT_NE(refused.body.find("no room for another large request"), std::string::npos) << refused.body;
  // What says nothing of its length is stopped on the way.
  std::string chunks;
  for (int i = 0; i < 10; ++i) chunks += "4e20\r\n" + large.substr(0, 20'000) + "\r\n";
  EXPECT_EQ(
      Ask("POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + "0\r\n\r\n").status,
      503);
  EXPECT_EQ(Ask(PostText("/echo", small)).status, 200);
  observed_.TakeExchange()->Send({200, "kept", "text/plain"});
  EXPECT_EQ(first.ReadReply().status, 200);
  // The room comes back when the last of the request has gone, a moment after its answer.
  int status = 503;
  for (int i = 0; i < 200 && status == 503; ++i) {
    status = Ask(PostText("/echo", large)).status;
    if (status == 503) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(status, 200);
}

TEST_F(ServerTest, AnEarlyAnswerReachesAClientThatStillSends) {
  Start();
  RawClient client = Connect();
  client.Send("POST /absent HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000000\r\n\r\n");
  for (int i = 0; i < 100 && client.Send(std::string(10000, 'x')); ++i) {
  }
  EXPECT_EQ(client.ReadReply().status, 404);
}

TEST_F(ServerTest, HeadsHaveALimit) {
  ServerOptions options = TestOptions(&observed_);
  options.limits.header_bytes = 2000;
  Start(std::move(options));
  EXPECT_EQ(Ask(GetText("/hello", "x: " + std::string(1500, 'x') + "\r\n")).status, 200);
  EXPECT_EQ(Ask(GetText("/hello", "x: " + std::string(2500, 'x') + "\r\n")).status, 431);
  EXPECT_EQ(Ask("GET /" + std::string(100000, 'x')).status, 431);
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "a: b\r\n";
  EXPECT_EQ(Ask(GetText("/hello", many)).status, 431);
}

TEST_F(ServerTest, MalformedRequests) {
  Start();
  const std::pair<std::string, int> cases[] = {
      {"garbage\r\n\r\n", 400},
      {"GET /hello\r\n\r\n", 400},
      {"GET /hello HTTP/2.0\r\n\r\n", 505},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client hello \r\n\r\n", 400},
      {"GET /hello HTTP/1.1\r\n\r\n", 400},
      {"GET /hello HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400},
      {"GET /hello HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n", 400},
      {"GET /hello HTTP/1.1\r\nHost: localhost\r\nname : v\r\n\r\n", 400},
      {"GET hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       400},
      {"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
       400},
      {"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\nabc", 501},
      {"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
      {"POST /echo HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400},
  };
  for (const auto& [text, status] : cases) {
    RawClient client = Connect();
    client.Send(text);
    const RawReply reply = client.ReadReply(false, seconds(3));
    EXPECT_EQ(reply.status, status) << text;
    EXPECT_TRUE(reply.body.starts_with("{\"error\":\"")) << reply.body;
    EXPECT_EQ(reply.Header("connection"), "close") << text;
  }
  EXPECT_EQ(Ask(GetText("/hello")).status, 200);
}

TEST_F(ServerTest, WhatHandlersThrowBecomesTheAnswer) {
  Start();
  RawClient client = Connect();
  const std::pair<const char*, int> cases[] = {
      {"busy", 503}, {"argument", 400}, {"absent", 404}, {"int", 500}, {"after", 200}};
  for (const auto& [what, status] : cases) {
    client.Send(GetText(std::string("/throw/") + what));
    const RawReply reply = client.ReadReply();
    EXPECT_EQ(reply.status, status) << what;
    EXPECT_EQ(reply.Header("retry-after"), status == 503 ? "1" : "");
  }
  client.Send(GetText("/let-go"));
  EXPECT_EQ(client.ReadReply().status, 500);
  client.Send(GetText("/let-go-later"));
  const RawReply reply = client.ReadReply();
  EXPECT_EQ(reply.status, 200);
  EXPECT_FALSE(reply.complete);
}

TEST_F(ServerTest, ErrorsHaveTheFormOfTheirApi) {
  ServerOptions options = TestOptions(&observed_);
  options.error_body = [](const ErrorReport& report) {
    if (report.path.starts_with("/v1")) return Reply{200, "v1 " + std::string(report.message), "text/plain"};
    throw std::runtime_error("no form");
  };
  Start(std::move(options));
  EXPECT_EQ(Ask(GetText("/v1/absent")).body, "v1 there is nothing at '/v1/absent'");
  EXPECT_EQ(Ask(GetText("/v1/absent")).status, 404);
  EXPECT_EQ(Ask(GetText("/absent")).body, "{\"error\":\"there is nothing at '/absent'\"}");
}

TEST_F(ServerTest, BodiesGoToFiles) {
  const TemporaryFolder folder;
  ServerOptions options = TestOptions(&observed_);
  options.body_folder = folder / "uploads";
  Start(std::move(options));
  RawClient client = Connect();
  const std::string body(3000001, 'b');
  client.Send(PostText("/file", body));
  const RawReply reply = client.ReadReply();
  EXPECT_TRUE(reply.body.starts_with((folder / "uploads").string())) << reply.body;
  EXPECT_TRUE(reply.body.ends_with(" 3000001")) << reply.body;
  client.Send(PostText("/file", ""));
  EXPECT_TRUE(client.ReadReply().body.ends_with(" 0"));
  client.Send("POST /file HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\nhalf");
  client.Close();
  server_->Stop(seconds(5));
  EXPECT_TRUE(std::filesystem::is_empty(folder / "uploads"));
}

}  // namespace
}  // namespace edgellm::http
