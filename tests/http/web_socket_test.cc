// WebSocket frames over sockets, as proper clients send them and as others do.
#include <thread>

#include <gtest/gtest.h>

#include "tests/http/server_fixture.h"

namespace edgellm::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10;

struct FrameShape {
  bool final = true, masked = true;
  int reserved = 0;
};

std::string MakeFrame(int opcode, std::string_view payload, FrameShape shape = {}) {
  std::string frame;
  frame += static_cast<char>((shape.final ? 0x80 : 0) | shape.reserved | opcode);
  const int mask_bit = shape.masked ? 0x80 : 0;
  if (payload.size() < 126) {
    frame += static_cast<char>(mask_bit | static_cast<int>(payload.size()));
  } else if (payload.size() < 65536) {
    frame += static_cast<char>(mask_bit | 126);
    frame += static_cast<char>(payload.size() >> 8);
    frame += static_cast<char>(payload.size() & 255);
  } else {
    frame += static_cast<char>(mask_bit | 127);
    for (int shift = 56; shift >= 0; shift -= 8) frame += static_cast<char>((payload.size() >> shift) & 255);
  }
  constexpr char kMask[] = {0x12, 0x34, 0x56, 0x78};
  if (shape.masked) frame.append(kMask, 4);
  for (size_t i = 0; i < payload.size(); ++i) {
    frame += static_cast<char>(payload[i] ^ (shape.masked ? kMask[i % 4] : 0));
  }
  return frame;
}

struct Frame {
  int opcode = -1;  // -1: there was none
  std::string payload;

  int close_code() const {
    if (opcode != kClose || payload.size() < 2) return -1;
    return static_cast<unsigned char>(payload[0]) << 8 | static_cast<unsigned char>(payload[1]);
  }
};

Frame ReadFrame(RawClient& client) {
  const auto head = client.ReadBytes(2);
  if (!head) return {};
  uint64_t size = static_cast<unsigned char>((*head)[1]);
  EXPECT_EQ(size & 0x80, 0u) << "a server masks nothing";
  if (size >= 126) {
    const auto longer = client.ReadBytes(size == 126 ? 2 : 8);
    if (!longer) return {};
    size = 0;
    for (const char c : *longer) size = size << 8 | static_cast<unsigned char>(c);
  }
  const auto payload = client.ReadBytes(size);
  return payload ? Frame{(*head)[0] & 15, *payload} : Frame{};
}

std::string HandshakeText(std::string_view more = {}) {
  return GetText("/ws",
                 "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
                     std::string(more));
}

class WebSocketTest : public ServerTest {
 protected:
  RawClient Open() {
    RawClient client = Connect();
    Shake(client);
    return client;
  }
  void Shake(RawClient& client) {
    client.Send(HandshakeText());
    const RawReply reply = client.ReadReply();
    EXPECT_EQ(reply.status, 101);
  }
  /// What the server says last, for something that it does not like.
  int CloseCodeAfter(std::string_view bytes) {
    RawClient client = Open();
    client.Send(bytes);
    Frame frame;
    do {
      frame = ReadFrame(client);
    } while (frame.opcode != -1 && frame.opcode != kClose);
    client.Send(MakeFrame(kClose, frame.payload));
    EXPECT_TRUE(client.WaitForEnd());
    return frame.close_code();
  }
};

TEST_F(WebSocketTest, Converses) {
  Start();
  RawClient client = Connect();
  client.Send(HandshakeText("X-Request-Id: socket-1\r\nOrigin: http://localhost\r\n"));
  const auto head = client.ReadUntil("\r\n\r\n");
  ASSERT_TRUE(head);
  EXPECT_NE(head->find("101"), head->npos);
  EXPECT_NE(head->find("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), head->npos);  // RFC 6455, section 1.3
  EXPECT_NE(head->find("socket-1"), head->npos);
  for (const size_t size : {0, 1, 125, 126, 65535, 65536, 200000}) {
    client.Send(MakeFrame(kText, std::string(size, 'a')));
    const Frame frame = ReadFrame(client);
    EXPECT_EQ(frame.opcode, kText);
    EXPECT_TRUE(frame.payload == "echo " + std::string(size, 'a')) << size;
  }
  client.Send(MakeFrame(kClose,
                        "\x03\xe8"
                        "bye"));
  EXPECT_EQ(ReadFrame(client).close_code(), 1000);
  EXPECT_TRUE(client.WaitForEnd());
  client.Close();
  EXPECT_TRUE(observed_.socket_gone.Wait());
  ASSERT_TRUE(observed_.logged.Wait());
  EXPECT_EQ(observed_.Log()[0].status, 101);
  EXPECT_EQ(observed_.Log()[0].id, "socket-1");
  EXPECT_FALSE(observed_.sockets[0]->Send("too late"));
}

TEST_F(WebSocketTest, TakesFragmentsByteByByteWithPingsBetween) {
  Start();
  RawClient client = Open();
  client.SendSlowly(MakeFrame(kText, "Gr\xc3", {.final = false}) + MakeFrame(kPing, "p") +
                        MakeFrame(0, "\xbc\xc3", {.final = false}) + MakeFrame(0, "").replace(0, 1, 1, '\0') +
                        MakeFrame(0,
                                  "\x9f"
                                  "e"),
                    1, milliseconds(0));
  const Frame pong = ReadFrame(client);
  EXPECT_EQ(pong.opcode, kPong);
  EXPECT_EQ(pong.payload, "p");
  EXPECT_EQ(ReadFrame(client).payload,
            "echo Gr\xc3\xbc\xc3\x9f"
            "e");
}

TEST_F(WebSocketTest, ManyMessagesKeepTheirOrder) {
  Start();
  RawClient client = Open();
  std::string all;
  for (int i = 0; i < 500; ++i) all += MakeFrame(kText, std::to_string(i));
  client.Send(all);
  for (int i = 0; i < 500; ++i) ASSERT_EQ(ReadFrame(client).payload, "echo " + std::to_string(i));
}

TEST_F(WebSocketTest, EndsWhatBreaksTheProtocol) {
  ServerOptions options = TestOptions(&observed_);
  options.limits.message_bytes = 1000;
  Start(std::move(options));
  EXPECT_EQ(CloseCodeAfter(MakeFrame(kText, "unmasked", {.masked = false})), 1002);
  EXPECT_EQ(CloseCodeAfter(MakeFrame(kText, "reserved", {.reserved = 0x40})), 1002);
  EXPECT_EQ(CloseCodeAfter(MakeFrame(3, "an opcode that is none")), 1002);
  EXPECT_EQ(CloseCodeAfter(MakeFrame(0, "continues nothing")), 1002);
  EXPECT_EQ(CloseCodeAfter(MakeFrame(kPing, "in parts", {.final = false})), 1002);
  EXPECT_EQ(CloseCodeAfter(MakeFrame(kPing, std::string(126, 'x'))), 1002);
  EXPECT_EQ(CloseCodeAfter(MakeFrame(kText, "\xff")), 1007);
  EXPECT_EQ(CloseCodeAfter(MakeFrame(kText, "\xc3")), 1007);
  EXPECT_EQ(CloseCodeAfter(MakeFrame(kText, "\xc3", {.final = false}) + MakeFrame(0, "")), 1007);
  EXPECT_EQ(CloseCodeAfter(MakeFrame(kBinary, "binary")), 1003);
  EXPECT_EQ(CloseCodeAfter(MakeFrame(kText, std::string(1001, 'x'))), 1009);
  EXPECT_EQ(
      CloseCodeAfter(MakeFrame(kText, std::string(600, 'x'), {.final = false}) + MakeFrame(0, std::string(600, 'x'))),
      1009);
  // A length that no memory holds is refused before anything is made for it.
  EXPECT_EQ(CloseCodeAfter(std::string("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff....", 14)), 1009);
  EXPECT_EQ(CloseCodeAfter(MakeFrame(kText, "throw")), 1011);
  EXPECT_EQ(CloseCodeAfter(MakeFrame(kText, "close")), 4001);
  EXPECT_TRUE(observed_.socket_gone.Wait(15));
}

TEST_F(WebSocketTest, HandshakesAreChecked) {
  ServerOptions options = TestOptions(&observed_);
  options.keys = {"secret"};
  Start(std::move(options));
  EXPECT_EQ(Ask(HandshakeText()).status, 401);
  EXPECT_EQ(Ask(HandshakeText("x-api-key: secret\r\nOrigin: http://evil.example\r\n")).status, 403);
  EXPECT_EQ(Ask(HandshakeText("x-api-key: secret\r\nx-refuse: yes\r\n")).status, 404);
  EXPECT_EQ(Ask(GetText("/ws", "x-api-key: secret\r\n")).status, 426);
  EXPECT_EQ(Ask(GetText("/ws", "x-api-key: secret\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")).status, 400);
  EXPECT_EQ(Ask(HandshakeText("x-api-key: secret\r\nContent-Length: 3\r\n") + "abc").status, 400);
  EXPECT_EQ(Ask(HandshakeText("x-api-key: secret\r\n")).status, 101);
}

TEST_F(WebSocketTest, PingsASilentClientAndGivesUp) {
  Start(TestOptions(&observed_, /*quick=*/true));
  RawClient answering = Open(), silent = Open();
  const auto end = std::chrono::steady_clock::now() + milliseconds(500);
  int pings = 0;
  while (std::chrono::steady_clock::now() < end) {
    const Frame frame = ReadFrame(answering);
    ASSERT_EQ(frame.opcode, kPing);
    ++pings;
    answering.Send(MakeFrame(kPong, frame.payload));
  }
  EXPECT_GE(pings, 2);
  EXPECT_TRUE(observed_.socket_gone.Wait(1, seconds(3)));
  EXPECT_TRUE(silent.WaitForEnd());
  answering.Send(MakeFrame(kText, "still there"));
  Frame frame = ReadFrame(answering);
  while (frame.opcode == kPing) frame = ReadFrame(answering);
  EXPECT_EQ(frame.payload, "echo still there");
  EXPECT_EQ(observed_.socket_gone.count(), 1);
}

TEST_F(WebSocketTest, NoticesAVanishedClient) {
  Start();
  for (const bool reset : {false, true}) {
    RawClient client = Open();
    client.Send(MakeFrame(kText, "half a mess", {.final = false}));
    reset ? client.Reset() : client.Close();
    EXPECT_TRUE(observed_.socket_gone.Wait(reset ? 2 : 1));
  }
  EXPECT_EQ(observed_.spoken.count(), 0);
}

TEST_F(WebSocketTest, DisconnectsAClientThatDoesNotRead) {
  ServerOptions options = TestOptions(&observed_);
  options.limits.waiting_bytes = 200000;
  Start(std::move(options));
  RawClient client(server_->port(), 4096);
  Shake(client);
  client.Send(MakeFrame(kText, "flood"));
  EXPECT_TRUE(observed_.socket_gone.Wait());
  EXPECT_TRUE(client.WaitForEnd());
}

TEST_F(WebSocketTest, OthersMaySendAtAnyTime) {
  Start();
  RawClient client = Open();
  auto socket = observed_.sockets[0];
  std::thread one([&] {
    for (int i = 0; i < 100; ++i) EXPECT_TRUE(socket->Send("a"));
  });
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(socket->Send("b"));
  one.join();
  int a = 0, b = 0;
  for (int i = 0; i < 200; ++i) (ReadFrame(client).payload == "a" ? a : b)++;
  EXPECT_EQ(a, 100);
  EXPECT_EQ(b, 100);
  socket->Send("last \xff");
  socket->Close(1000, "done");
  EXPECT_FALSE(socket->Send("after the end"));
  EXPECT_EQ(ReadFrame(client).payload, "last \xef\xbf\xbd");
  EXPECT_EQ(ReadFrame(client).close_code(), 1000);
}

TEST_F(WebSocketTest, IdleOnesCloseWhenTheServerStopsAndBusyOnesLater) {
  Start();
  RawClient client = Open();
  observed_.socket_busy = true;
  std::thread stop([&] { server_->Stop(seconds(20)); });
  while (server_->connections() != 0 && observed_.spoken.count() == 0) {
    client.Send(MakeFrame(kText, "still answered"));
    std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_EQ(ReadFrame(client).payload, "echo still answered");
  observed_.socket_busy = false;
  Frame frame;
  do {
    frame = ReadFrame(client);
  } while (frame.opcode == kText);
  EXPECT_EQ(frame.close_code(), 1001);
  client.Send(MakeFrame(kClose, frame.payload));
  client.Close();
  stop.join();
  EXPECT_EQ(observed_.socket_gone.count(), 1);
}

TEST_F(WebSocketTest, BusyOnesAreCutAfterTheGrace) {
  Start();
  RawClient client = Open();
  observed_.socket_busy = true;
  server_->Stop(milliseconds(100));
  EXPECT_EQ(observed_.socket_gone.count(), 1);
  EXPECT_TRUE(client.WaitForEnd());
  auto socket = std::move(observed_.sockets[0]);
  server_.reset();
  EXPECT_FALSE(socket->Send("to nobody"));  // a socket may outlive its server
}

}  // namespace
}  // namespace edgellm::http
