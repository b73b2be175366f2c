// Fuzzes the frames of a WebSocket after a proper handshake. The first byte chooses the size of the pieces. Whatever
// comes, the connection ends, its listener is told so, and what the server says are proper frames.
#include <atomic>
#include <chrono>
#include <thread>

#include "base/utf8.h"
#include "tests/fuzz/socket_pair.h"

namespace {

using namespace edgellm;
using namespace edgellm::http;

std::atomic<int> open_listeners = 0;

class Echo : public WebSocketListener {
 public:
  explicit Echo(std::shared_ptr<WebSocket> socket) : socket_(std::move(socket)) { ++open_listeners; }
  void OnMessage(std::string text) override {
    Require(utf8::IsValid(text), "a text is UTF-8");
    Require(text.size() <= 2000, "a message keeps to the limit");
    if (text == "close") return socket_->Close(1000, "as asked");
    socket_->Send(std::move(text));
  }
  void OnGone() override { --open_listeners; }

 private:
  std::shared_ptr<WebSocket> socket_;
};

Server& TheServer() {
  static Server server = [] {
    ServerOptions options;
    options.limits.message_bytes = 2000;
    options.timeouts.linger = std::chrono::milliseconds(20);
    Router router;
    router.AddWebSocket("/",
                        [](std::shared_ptr<WebSocket> socket) { return std::make_unique<Echo>(std::move(socket)); });
    return Server(options, std::move(router));
  }();
  return server;
}

void CheckFrames(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto byte = [&](size_t at) { return at < bytes.size() ? static_cast<unsigned char>(bytes[at]) : 0u; };
    const unsigned opcode = byte(0) & 15;
    Require((byte(0) & 0xf0) == 0x80, "a frame is whole and has no reserved bits");
    Require(opcode == 1 || opcode == 8 || opcode == 10, "a server sends texts, pongs and good-byes");
    size_t size = byte(1), head = 2;
    Require(size < 128, "a server masks nothing");
    if (size == 126) {
      size = byte(2) << 8 | byte(3);
      head = 4;
    }
    Require(size <= 2000, "no frame is longer than what was said");
    if (bytes.size() < head + size) return;  // cut: the client broke the protocol
    Require(opcode != 1 || utf8::IsValid(bytes.substr(head, size)), "a text is UTF-8");
    bytes.remove_prefix(head + size);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  {
    SocketPair connection(TheServer());
    connection.Send(
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        1000);
    Require(connection.ReadUntil("\r\n\r\n").ends_with("\r\n\r\n"), "the handshake is answered");
    connection.Send({reinterpret_cast<const char*>(data) + 1, size - 1}, data[0] % 64 + size_t{1});
    connection.EndOutput();
    CheckFrames(connection.ReadUntil());
  }
  for (int i = 0; open_listeners != 0; ++i) {
    Require(i < 10000, "a listener is told of its end");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return 0;
}
