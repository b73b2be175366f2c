// Connections over time: streams, clients that vanish, stall or crowd, and the end of the server.
#include <sys/socket.h>
#include <thread>

#include <gtest/gtest.h>

#include "base/error.h"
#include "http/server.h"
#include "tests/http/raw_client.h"
#include "tests/http/server_fixture.h"

namespace edgellm::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_F(ServerTest, StreamsAsItIsWritten) {
  Start();
  RawClient client = Connect();
  client.Send(GetText("/keep"));
  ASSERT_TRUE(observed_.kept.Wait());
  auto exchange = observed_.TakeExchange();
  exchange->Begin(200, "application/x-ndjson", {{"x-more", "yes"}});
  EXPECT_TRUE(client.ReadUntil("x-more: yes\r\n\r\n"));  // before there is a body
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(exchange->Write("line " + std::to_string(i) + "\n"));
    EXPECT_TRUE(client.ReadUntil("7\r\nline " + std::to_string(i) + "\n\r\n"));
  }
  exchange->End();
  exchange->End();
  EXPECT_FALSE(exchange->Write("more"));
  EXPECT_TRUE(client.ReadUntil("0\r\n\r\n"));
  client.Send(GetText("/hello"));
  EXPECT_EQ(client.ReadReply().body, "hello");
  EXPECT_EQ(observed_.gone.count(), 0);
}

TEST_F(ServerTest, NoticesAVanishedClientWhileThinking) {
  Start();
  for (const bool reset : {false, true}) {
    const int before = observed_.gone.count();
    RawClient client = Connect();
    client.Send(GetText("/keep"));
    ASSERT_TRUE(observed_.kept.Wait(before + 1));
    reset ? client.Reset() : client.Close();
    EXPECT_TRUE(observed_.gone.Wait(before + 1));
    auto exchange = observed_.TakeExchange();
    Signal late;
    exchange->OnGone([&] { late.Set(); });
    EXPECT_EQ(late.count(), 1);  // at once
    exchange->Begin(200, "text/plain");
    const auto end = std::chrono::steady_clock::now() + seconds(5);
    while (exchange->Write("x") && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(milliseconds(1));
    EXPECT_FALSE(exchange->Write("x"));
    exchange->End();
    exchange->Send({});
  }
}

TEST_F(ServerTest, NoticesAVanishedClientWithARequestInThePipe) {
  Start();
  RawClient client = Connect();
  client.Send(GetText("/keep") + GetText("/hello"));
  ASSERT_TRUE(observed_.kept.Wait());
  client.Reset();
  EXPECT_TRUE(observed_.gone.Wait());
}

TEST_F(ServerTest, NoticesAVanishedClientWhileStreaming) {
  Start();
  RawClient client = Connect();
  client.Send(GetText("/keep"));
  ASSERT_TRUE(observed_.kept.Wait());
  auto exchange = observed_.TakeExchange();
  exchange->Begin(200, "text/plain");
  exchange->Write("a");
  ASSERT_TRUE(client.ReadUntil("a\r\n"));
  client.Close();
  EXPECT_TRUE(observed_.gone.Wait());
}

TEST_F(ServerTest, AHalfClosedClientHasItsAnswer) {
  Start();
  RawClient client = Connect();
  client.Send(GetText("/hello"));
  client.EndOutput();
  EXPECT_EQ(client.ReadReply().body, "hello");
  EXPECT_TRUE(client.WaitForEnd());
  // A stream is told that the client has most likely gone, and may still end properly.
  RawClient streaming = Connect();
  streaming.Send(GetText("/keep"));
  streaming.EndOutput();
  EXPECT_TRUE(observed_.gone.Wait());
  auto exchange = observed_.TakeExchange();
  exchange->Begin(200, "text/plain");
  EXPECT_TRUE(exchange->Write("the end"));
  exchange->End();
  const RawReply reply = streaming.ReadReply();
  EXPECT_EQ(reply.body, "the end");
  EXPECT_TRUE(reply.complete);
  // Half a request, and no more.
  RawClient half = Connect();
  half.Send("GET /hello HT");
  half.EndOutput();
  EXPECT_TRUE(half.WaitForEnd(seconds(2)));
  EXPECT_EQ(half.received(), "");
}

TEST_F(ServerTest, DisconnectsAClientThatDoesNotRead) {
  ServerOptions options = TestOptions(&observed_);
  options.limits.waiting_bytes = 200000;
  Start(std::move(options));
  RawClient client(server_->port(), 4096);
  client.Send(GetText("/flood"));
  EXPECT_TRUE(observed_.kept.Wait());  // Write has said false
  EXPECT_TRUE(observed_.gone.Wait());
  EXPECT_TRUE(client.WaitForEnd());
  EXPECT_TRUE(observed_.logged.Wait());
  EXPECT_FALSE(observed_.Log()[0].complete);
}

TEST_F(ServerTest, TooManyConnectionsAreToldSo) {
  ServerOptions options = TestOptions(&observed_);
  options.limits.connections = 2;
  Start(std::move(options));
  RawClient first = Connect(), second = Connect();
  first.Send(GetText("/keep"));
  second.Send(GetText("/keep"));
  ASSERT_TRUE(observed_.kept.Wait(2));
  const RawReply reply = Ask(PostText("/echo", "x"));
  EXPECT_EQ(reply.status, 503);
  EXPECT_EQ(reply.Header("retry-after"), "1");
  for (int i = 0; i < 2; ++i) observed_.TakeExchange()->Send({200, "kept", "text/plain"});
  EXPECT_EQ(first.ReadReply().status, 200);
  EXPECT_EQ(second.ReadReply().status, 200);
}

TEST_F(ServerTest, TheLongestIdleConnectionMakesRoom) {
  ServerOptions options = TestOptions(&observed_);
  options.limits.connections = 3;
  Start(std::move(options));
  RawClient older = Connect(), newer = Connect(), busy = Connect();
  for (RawClient* client : {&older, &newer}) {
    client->Send(GetText("/hello"));
    EXPECT_EQ(client->ReadReply().status, 200);
  }
  busy.Send(GetText("/keep"));
  ASSERT_TRUE(observed_.kept.Wait());
  RawClient next = Connect();
  next.Send(GetText("/hello"));
  EXPECT_EQ(next.ReadReply().status, 200);
  EXPECT_TRUE(older.WaitForEnd());
  newer.Send(GetText("/hello"));
  EXPECT_EQ(newer.ReadReply().status, 200);
  observed_.TakeExchange()->Send({200, "kept", "text/plain"});
  EXPECT_EQ(busy.ReadReply().status, 200);
}

TEST_F(ServerTest, ASilentStreamIsKeptAlive) {
  ServerOptions options = TestOptions(&observed_);
  options.timeouts.quiet = milliseconds(30);
  Start(std::move(options));
  RawClient client = Connect();
  client.Send(GetText("/keep"));
  ASSERT_TRUE(observed_.kept.Wait());
  auto exchange = observed_.TakeExchange();
  exchange->Begin(200, "text/event-stream");
  exchange->KeepAlive(": alive\n\n");
  EXPECT_TRUE(client.ReadUntil("9\r\n: alive\n\n\r\n9\r\n: alive\n\n\r\n"));
  EXPECT_TRUE(exchange->Write("data: x\n\n"));
  EXPECT_TRUE(client.ReadUntil("data: x\n\n\r\n"));
  EXPECT_TRUE(client.ReadUntil("9\r\n: alive\n\n\r\n"));
  exchange->KeepAlive("");  // nothing more, and the stream goes on
  std::this_thread::sleep_for(milliseconds(70));
  EXPECT_TRUE(exchange->Write("data: y\n\n"));
  EXPECT_TRUE(client.ReadUntil("data: y\n\n\r\n"));
  EXPECT_EQ(observed_.gone.count(), 0);
  exchange->KeepAlive(": alive\n\n");
  client.Reset();
  EXPECT_TRUE(observed_.gone.Wait());
}

TEST_F(ServerTest, StopsGracefully) {
  Start();
  RawClient idle = Connect(), running = Connect(), reading = Connect();
  idle.Send(GetText("/hello"));
  EXPECT_EQ(idle.ReadReply().status, 200);
  running.Send(GetText("/keep") + GetText("/hello"));
  reading.Send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\na");
  ASSERT_TRUE(observed_.kept.Wait());
  std::this_thread::sleep_for(milliseconds(20));  // the third request's head is there
  auto exchange = observed_.TakeExchange();
  exchange->Begin(200, "text/plain");
  exchange->Write("first ");
  std::thread stop([&] { server_->Stop(seconds(20)); });
  EXPECT_TRUE(idle.WaitForEnd());
  EXPECT_THROW(RawClient(server_->port()), std::runtime_error);
  EXPECT_TRUE(exchange->Write("last"));
  exchange->End();
  reading.Send("bc");
  EXPECT_EQ(running.ReadReply().body, "first last");
  EXPECT_TRUE(running.WaitForEnd());
  EXPECT_EQ(running.received(), "");  // the pipelined one is not begun
  const RawReply reply = reading.ReadReply();
  EXPECT_EQ(reply.body, "abc");
  EXPECT_EQ(reply.Header("connection"), "close");
  running.Close();
  reading.Close();
  stop.join();
  EXPECT_EQ(observed_.gone.count(), 0);
  EXPECT_EQ(server_->connections(), 0);
}

TEST_F(ServerTest, CutsWhatRunsPastTheGrace) {
  Start();
  RawClient client = Connect();
  client.Send(GetText("/keep"));
  ASSERT_TRUE(observed_.kept.Wait());
  server_->Stop(milliseconds(30));
  EXPECT_EQ(observed_.gone.count(), 1);
  EXPECT_TRUE(client.WaitForEnd());
  auto exchange = observed_.TakeExchange();
  server_.reset();
  exchange->Begin(200, "text/plain");  // an exchange may outlive its server
  EXPECT_FALSE(exchange->Write("x"));
  exchange->End();
}

TEST_F(ServerTest, SlowClientsAreNotWaitedFor) {
  Start(TestOptions(&observed_, /*quick=*/true));
  RawClient silent = Connect(), head = Connect(), body = Connect(), kept = Connect();
  head.Send("GET /hello HTTP/1.1\r\nHo");
  body.Send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\na");
  kept.Send(GetText("/hello"));
  EXPECT_EQ(kept.ReadReply().status, 200);
  EXPECT_EQ(head.ReadReply().status, 408);
  EXPECT_EQ(body.ReadReply().status, 408);
  for (RawClient* client : {&silent, &head, &body, &kept}) {
    EXPECT_TRUE(client->WaitForEnd(seconds(3)));
    EXPECT_EQ(client->received(), "");
  }
}

TEST_F(ServerTest, ASlowLorisIsCutThoughItKeepsSending) {
  Start(TestOptions(&observed_, /*quick=*/true));
  RawClient client = Connect();
  const auto started = std::chrono::steady_clock::now();
  while (client.Send("x") && std::chrono::steady_clock::now() - started < seconds(5)) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - started, seconds(4));
}

TEST_F(ServerTest, AnAdoptedSocketIsServed) {
  Start();
  int sockets[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
  server_->Adopt(sockets[0]);
  RawClient client(sockets[1]);
  client.Send(GetText("/hello"));
  EXPECT_EQ(client.ReadReply().body, "hello");
}

TEST_F(ServerTest, TwoHundredStreamsAtOnce) {
  ServerOptions options = TestOptions(&observed_);
  options.threads = 2;
  Start(std::move(options));
  constexpr int kClients = 200, kLines = 50;
  std::vector<RawClient> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(Connect());
    clients.back().Send(GetText("/keep", "x-number: " + std::to_string(i) + "\r\n"));
  }
  ASSERT_TRUE(observed_.kept.Wait(kClients));
  std::thread producer([&] {
    for (auto& exchange : observed_.exchanges) exchange->Begin(200, "text/plain");
    for (int line = 0; line < kLines; ++line) {
      for (auto& exchange : observed_.exchanges) {
        EXPECT_TRUE(
            exchange->Write(std::string(exchange->request().Header("x-number")) + ":" + std::to_string(line) + "\n"));
      }
    }
    for (auto& exchange : observed_.exchanges) exchange->End();
  });
  for (int i = 0; i < kClients; ++i) {
    std::string expected;
    for (int line = 0; line < kLines; ++line) expected += std::to_string(i) + ":" + std::to_string(line) + "\n";
    const RawReply reply = clients[static_cast<size_t>(i)].ReadReply();
    EXPECT_TRUE(reply.complete);
    EXPECT_EQ(reply.body, expected);
  }
  producer.join();
  observed_.exchanges.clear();
  EXPECT_EQ(observed_.gone.count(), 0);
}

}  // namespace
}  // namespace edgellm::http
