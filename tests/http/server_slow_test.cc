// The server under clients that do everything at once, for a while: nothing is left over, and nothing grows.
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "base/memory_use.h"
#include "tests/base/temporary_folder.h"
#include "tests/http/server_fixture.h"

namespace edgellm::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

#ifdef EDGELLM_SANITIZED
constexpr bool kSanitized = true;  // freed memory is kept for a while, to catch who uses it
#else
constexpr bool kSanitized = false;
#endif

constexpr std::string_view kHandshake =
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// One visit; every kind of end is chosen again and again.
void Visit(uint16_t port, std::mt19937& random, std::atomic<int>& answered) {
  const auto dice = [&](int sides) { return static_cast<int>(random() % static_cast<unsigned>(sides)); };
  RawClient client(port, dice(4) == 0 ? 4096 : 0);
  switch (dice(9)) {
    case 0:
      for (int i = dice(20); i >= 0; --i) {
        client.Send(PostText("/echo", std::string(static_cast<size_t>(dice(5000)), 'e')));
        const RawReply reply = client.ReadReply();
        EXPECT_EQ(reply.status, 200);
        answered += reply.complete;
      }
      break;
    case 1:
      client.Send(GetText("/stream") + GetText("/hello") + GetText("/let-go"));
      EXPECT_EQ(client.ReadReply().body, "one two");
      EXPECT_EQ(client.ReadReply().body, "hello");
      EXPECT_EQ(client.ReadReply().status, 500);
      answered += 3;
      break;
    case 2: {
      std::string garbage;
      for (int i = dice(3000); i >= 0; --i) garbage += static_cast<char>(random());
      client.Send(garbage);
      break;
    }
    case 3:
      client.Send(GetText("/flood"));
      std::this_thread::sleep_for(milliseconds(dice(10)));
      break;
    case 4:
      client.Send(PostText("/echo", "half a body").substr(0, static_cast<size_t>(40 + dice(60))));
      break;
    case 5:
      client.Send(PostText("/file", std::string(static_cast<size_t>(dice(600000)), 'f')));
      if (dice(2) == 0) {
        EXPECT_EQ(client.ReadReply().status, 200);
        ++answered;
      }
      break;
    case 6:  // binary, which is refused, and then no frames at all
      client.Send(std::string(kHandshake));
      client.ReadUntil("\r\n\r\n");
      client.Send(
          std::string("\x82\x83\x63\x6b\x7e\x1e\x01\x2c\x2c\x81\x81\x88\x00\x01\x2c\xa4\xdd\x7e\x81\x01\x01x", 22));
      client.EndOutput();
      EXPECT_TRUE(client.WaitForEnd());
      break;
    case 7:
      client.Send(std::string(kHandshake));
      client.ReadUntil("\r\n\r\n");
      client.Send(std::string("\x81\x85\0\0\0\0flood", 11));
      std::this_thread::sleep_for(milliseconds(dice(5)));
      break;
    default:
      client.Send(GetText("/keep-until-gone"));
      std::this_thread::sleep_for(milliseconds(dice(5)));
  }
  if (dice(2) == 0) client.Reset();
}

TEST(ServerSlow, NothingIsLeftOverAfterClientsOfAllKinds) {
  const TemporaryFolder folder;
  Observed observed;
  std::atomic<int> waiting = 0;
  Router router = TestRoutes(&observed);
  router.Add("GET", "/keep-until-gone", [&waiting](const auto& exchange) {
    ++waiting;
    exchange->OnGone([&waiting, exchange] { --waiting; });
  });
  ServerOptions options = TestOptions(&observed, /*quick=*/true);
  options.access_log = [&](const AccessRecord&) { observed.logged.Set(); };
  options.threads = 2;
  options.timeouts.idle = options.timeouts.header = options.timeouts.body = seconds(2);
  options.limits.waiting_bytes = size_t{1} << 20;
  options.body_folder = folder.path();
  Server server(std::move(options), std::move(router));
  std::atomic<int> answered = 0;
  uint64_t warm = 0;
  for (int round = 0; round < 3; ++round) {
    std::vector<std::thread> clients;
    for (int c = 0; c < 16; ++c) {
      clients.emplace_back([&, seed = round * 100 + c] {
        std::mt19937 random(static_cast<unsigned>(seed));
        const auto end = Clock::now() + seconds(4);
        while (Clock::now() < end) Visit(server.port(), random, answered);
      });
    }
    for (auto& client : clients) client.join();
    if (round == 0) warm = ResidentBytes();
  }
  const auto patience = Clock::now() + seconds(20);
  while ((server.connections() != 0 || waiting != 0) && Clock::now() < patience)
    std::this_thread::sleep_for(milliseconds(10));
  EXPECT_EQ(server.connections(), 0);
  EXPECT_EQ(waiting, 0);
  EXPECT_GT(answered, 100);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  {
    const std::lock_guard lock(observed.mutex);
    EXPECT_EQ(observed.socket_gone.count(), static_cast<int>(observed.sockets.size()));
  }
  if (!kSanitized) {
    EXPECT_LT(ResidentBytes(), warm + (uint64_t{32} << 20));
  }
  server.Stop(seconds(5));
}

TEST(ServerSlow, ALargeUploadTakesNoMemory) {
  const TemporaryFolder folder;
  Observed observed;
  ServerOptions options = TestOptions(&observed);
  options.body_folder = folder.path();
  Server server(std::move(options), TestRoutes(&observed));
  const uint64_t before = ResidentBytes();
  uint64_t most = 0;
  RawClient client(server.port());
  constexpr uint64_t kPieces = 400, kPiece = uint64_t{1} << 20;
  client.Send("POST /file HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(kPieces * kPiece) +
              "\r\n\r\n");
  const std::string piece(kPiece, 'p');
  for (uint64_t i = 0; i < kPieces; ++i) {
    ASSERT_TRUE(client.Send(piece));
    if (i % 20 == 0) most = std::max(most, ResidentBytes());
  }
  const RawReply reply = client.ReadReply(false, seconds(60));
  EXPECT_TRUE(reply.body.ends_with(" " + std::to_string(kPieces * kPiece))) << reply.body;
  if (!kSanitized) {
    EXPECT_LT(most, before + (uint64_t{16} << 20));
  }
}

}  // namespace
}  // namespace edgellm::http
