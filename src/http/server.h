// The HTTP/1.1 server: listens, reads requests under limits and time-outs, checks who asks, hands them to the router's
// handlers, and writes what those answer. WebSocket (RFC 6455) by upgrade. No TLS and no HTTP/2: put a proxy before it
// where those are wanted. docs/serving.md has the behaviour in full.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "http/router.h"
#include "http/status.h"

namespace edgellm::http {

struct ServerLimits {
  int connections = 1024;  // for more, the longest idle one is closed; where there is none, they are told 503
  size_t header_bytes = size_t{32} << 10;    // request line and headers: 431
  uint64_t body_bytes = uint64_t{32} << 20;  // where a route says nothing else: 413
  uint64_t bodies_bytes =
      uint64_t{256} << 20;                 // in memory, of all requests together: 503; those up to 64 KiB count not
  size_t waiting_bytes = size_t{4} << 20;  // of a stream or a WebSocket, for a client that does not read: it is cut
  size_t message_bytes = size_t{4} << 20;  // of a WebSocket message: close code 1009
};

struct ServerTimeouts {
  std::chrono::milliseconds idle{75000};    // of a connection without a request
  std::chrono::milliseconds header{15000};  // from its first byte to its last: 408
  std::chrono::milliseconds body{30000};    // likewise, and a second more for every 16 KiB that have come: 408
  std::chrono::milliseconds write{60000};   // without a byte taken by a client for whom some wait: it is cut
  std::chrono::milliseconds quiet{10000};   // of a stream, before its keep-alive bytes are sent
  std::chrono::milliseconds linger{2000};   // for the client's side to close after ours
  std::chrono::milliseconds ping{30000};    // a WebSocket that says nothing for so long is sent a ping; twice as long
                                            // without an answer, and it is closed
};

struct AccessRecord {
  std::string id, peer, method;
  std::string path;    // encoded, as it came, without its query; may hold any byte that a client can send
  int status = 0;      // 0: the client was gone before there was one
  uint64_t bytes = 0;  // of the answer, head included; of a WebSocket: of the messages
  std::chrono::nanoseconds duration{0};  // from the request's first byte to the answer's last
  bool complete = true;                  // false: the connection ended before the answer did
};

struct ServerOptions {
  std::string host = "127.0.0.1";  // a name or an address; "0.0.0.0" and "::" are all of this machine
  uint16_t port = 0;               // 0: any that is free
  int threads = 1;
  ServerLimits limits;
  ServerTimeouts timeouts;
  std::vector<std::string> keys;      // none: everybody may ask, which only a loopback address may allow
  std::vector<std::string> origins;   // as Access takes them
  std::vector<std::string> hosts;     // likewise
  std::filesystem::path body_folder;  // for bodies that go to files; empty: the system's folder for temporary files
  ErrorBody error_body = PlainErrorBody;
  std::function<void(const AccessRecord&)> access_log;  // on the server's threads: must not block
};

class Server {
 public:
  /// Listens from here on, and answers. Throws Error: kInvalidArgument for an address that is not loopback without a
  /// key, kEnvironment for an address that cannot be had.
  Server(ServerOptions options, Router router);
  /// Stop(0).
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  uint16_t port() const;
  /// "127.0.0.1:11434", "[::1]:11434": every address that it listens on.
  std::vector<std::string> addresses() const;
  /// Open ones now.
  int connections() const;

  /// Takes over a stream socket that is connected already (socket activation, socket pairs). It is not counted against
  /// the limit.
  void Adopt(int descriptor);

  /// Accepts no more; idle connections are closed, requests that have begun are answered within `grace`, and what is
  /// left then is cut. Returns when every connection has ended and every OnGone has been called. From any thread but
  /// the server's own; a second call waits for the first.
  void Stop(std::chrono::nanoseconds grace);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace edgellm::http
