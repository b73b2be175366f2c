// Who may ask what a server at an address, and what is written down about it.
#include <gtest/gtest.h>

#include "base/error.h"
#include "http/server.h"
#include "tests/http/raw_client.h"
#include "tests/http/server_fixture.h"

namespace edgellm::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_F(ServerTest, ChecksHostAndOrigin) {
  ServerOptions options = TestOptions(&observed_);
  options.hosts = {"box.lan"};
  options.origins = {"https://page.example"};
  Start(std::move(options));
  EXPECT_EQ(Ask("GET /hello HTTP/1.1\r\nHost: evil.example\r\n\r\n").status, 403);
  EXPECT_EQ(Ask("GET /hello HTTP/1.1\r\nHost: box.lan:11434\r\n\r\n").status, 200);
  EXPECT_EQ(Ask("GET http://evil.example/hello HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 403);
  EXPECT_EQ(Ask("GET http://localhost/hello HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
  EXPECT_EQ(Ask("GET /hello HTTP/1.1\r\nHost:\r\n\r\n").status, 403);
  EXPECT_EQ(Ask("GET /hello HTTP/1.0\r\nHost: evil.example\r\n\r\n").status, 403);
  const RawReply refused = Ask(PostText("/echo", "x", "Origin: https://evil.example\r\n"));
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(refused.Header("access-control-allow-origin"), "");
  for (const std::string origin : {"https://page.example", "http://localhost:3000"}) {
    const RawReply reply = Ask(PostText("/echo", "x", "Origin: " + origin + "\r\n"));
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.Header("access-control-allow-origin"), origin);
    EXPECT_EQ(reply.Header("vary"), "origin");
  }
  // Errors too: a page could not read them otherwise.
  EXPECT_EQ(Ask(GetText("/absent", "Origin: https://page.example\r\n")).Header("access-control-allow-origin"),
            "https://page.example");
}

TEST_F(ServerTest, AnswersPreflights) {
  ServerOptions options = TestOptions(&observed_);
  options.keys = {"secret"};
  Start(std::move(options));
  const auto ask = [&](const std::string& origin) {
    return Ask("OPTIONS /echo HTTP/1.1\r\nHost: localhost\r\nOrigin: " + origin +
               "\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization, x-a\r\n\r\n");
  };
  const RawReply allowed = ask("http://localhost");
  EXPECT_EQ(allowed.status, 204);
  EXPECT_EQ(allowed.Header("access-control-allow-methods"), "options, post");
  EXPECT_EQ(allowed.Header("access-control-allow-headers"), "authorization, x-a");
  EXPECT_EQ(ask("http://evil.example").status, 403);
}

TEST_F(ServerTest, WantsAKey) {
  ServerOptions options = TestOptions(&observed_);
  options.keys = {"secret", "other"};
  options.host = "0.0.0.0";
  Start(std::move(options));
  EXPECT_EQ(Ask(GetText("/models/x")).status, 401);
  EXPECT_EQ(Ask(GetText("/models/x")).Header("www-authenticate"), "bearer");
  EXPECT_EQ(Ask(GetText("/models/x", "Authorization: Bearer wrong\r\n")).status, 401);
  EXPECT_EQ(Ask(GetText("/models/x", "Authorization: Bearer secret\r\n")).status, 200);
  EXPECT_EQ(Ask(GetText("/models/x", "x-api-key: other\r\n")).status, 200);
  EXPECT_EQ(Ask(GetText("/hello")).status, 200);                                   // open to all
  EXPECT_EQ(Ask("GET /hello HTTP/1.1\r\nHost: any.example\r\n\r\n").status, 200);  // no loopback, no check
}

TEST(Server, AnAddressForOthersNeedsAKey) {
  for (const char* host : {"0.0.0.0", "::", "[::]"}) {
    ServerOptions options;
    options.host = host;
    try {
      Server server(options, Router());
      FAIL() << "it listens on " << host;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_NE(std::string(error.what()).find("key"), std::string::npos);
    }
  }
}

TEST(Server, SaysWhyItCannotListen) {
  const Server first(ServerOptions{}, Router{});
  ServerOptions options;
  options.port = first.port();
  try {
    const Server second(options, Router());
    FAIL() << "two servers have one port";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kEnvironment);
    EXPECT_NE(std::string(error.what()).find("127.0.0.1:" + std::to_string(first.port())), std::string::npos);
  }
  options.host = "no.such.host.invalid";
  EXPECT_THROW(Server(options, Router()), Error);
}

TEST_F(ServerTest, ListensOnIpv6) {
  ServerOptions options = TestOptions(&observed_);
  options.host = "::1";
  try {
    Start(std::move(options));
  } catch (const Error&) {
    GTEST_SKIP() << "this machine has no IPv6";
  }
  RawClient client(server_->port(), 0, true);
  client.Send("GET /hello HTTP/1.1\r\nHost: [::1]:" + std::to_string(server_->port()) + "\r\n\r\n");
  EXPECT_EQ(client.ReadReply().body, "hello");
  ASSERT_TRUE(observed_.logged.Wait());
  EXPECT_EQ(observed_.Log()[0].peer, "::1");
}

TEST_F(ServerTest, TellsIdsAndKeepsALog) {
  Start();
  RawClient client = Connect();
  client.Send(GetText("/hello?key=hidden", "X-Request-Id: mine-1\r\n"));
  EXPECT_EQ(client.ReadReply().Header("x-request-id"), "mine-1");
  client.Send(PostText("/absent", "body", "X-Request-Id: not so sane\r\n"));
  const std::string made = client.ReadReply().Header("x-request-id");
  EXPECT_EQ(made.size(), 16u);
  client.Send(GetText("/hello"));
  EXPECT_NE(client.ReadReply().Header("x-request-id"), made);
  ASSERT_TRUE(observed_.logged.Wait(3));
  const auto log = observed_.Log();
  EXPECT_EQ(log[0].id, "mine-1");
  EXPECT_EQ(log[0].peer, "127.0.0.1");
  EXPECT_EQ(log[0].method, "GET");
  EXPECT_EQ(log[0].path, "/hello");
  EXPECT_EQ(log[0].status, 200);
  EXPECT_GT(log[0].bytes, 100u);
  EXPECT_GT(log[0].duration.count(), 0);
  EXPECT_TRUE(log[0].complete);
  EXPECT_EQ(log[1].status, 404);
}

}  // namespace
}  // namespace edgellm::http
