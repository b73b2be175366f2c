// One HTTP request and its answer, and one WebSocket connection, as a handler sees them. The server makes them; tests
// make their own. No word about sockets, and none about language models.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace edgellm::http {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Request {
  std::string id;                     // of this request, also in the answer's x-request-id and in the access log
  std::string method;                 // in capitals
  std::string path;                   // decoded, without the query
  Headers query;                      // names and values, decoded
  Headers headers;                    // names in small letters
  std::string body;                   // whole
  std::filesystem::path body_file;    // instead of `body`, for routes that ask for it; removed with the request
  std::string peer;                   // the client's address
  std::vector<std::string> captures;  // what the variable parts of the route's pattern matched

  /// The first of that name (small letters), or empty.
  std::string_view Header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
      if (key == name) return value;
    }
    return {};
  }
};

struct Reply {
  int status = 200;
  std::string body;
  std::string content_type = "application/json; charset=utf-8";
  Headers headers = {};
};

/// Every method may be called from any thread, and none blocks or throws. One answer: Send, or Begin, Write …, End. An
/// exchange that is let go without an answer sends a 500.
class Exchange {
 public:
  virtual ~Exchange() = default;

  virtual const Request& request() const = 0;

  virtual void Send(Reply reply) = 0;

  /// Begins a stream: status and headers go out at once.
  virtual void Begin(int status, std::string content_type, Headers headers = {}) = 0;
  /// Queues bytes of the stream. False when the client is gone, or has not read for so long that too much waits for it:
  /// it is then disconnected.
  virtual bool Write(std::string bytes) = 0;
  /// Sent again and again while nothing else of the stream goes out (ServerTimeouts::quiet): what its format passes
  /// over, between whole events.
  virtual void KeepAlive(std::string bytes) = 0;
  /// The stream is complete.
  virtual void End() = 0;

  /// `gone` is called once, on a thread of the server, when the client vanishes before the answer is complete; at once
  /// if it has.
  virtual void OnGone(std::function<void()> gone) = 0;
};

/// Called on a thread of the server: it must not block. What it throws becomes the answer (Error by its code, else
/// 500).
using Handler = std::function<void(std::shared_ptr<Exchange> exchange)>;

/// A connection of messages. Thread-safe as Exchange.
class WebSocket {
 public:
  virtual ~WebSocket() = default;

  virtual const Request& request() const = 0;
  /// Queues a text message. False as Exchange::Write.
  virtual bool Send(std::string text) = 0;
  /// RFC 6455, section 7.4.
  virtual void Close(uint16_t code, std::string reason) = 0;
};

/// Who listens to one connection. Calls come one after the other, on a thread of the server: they must not block.
class WebSocketListener {
 public:
  virtual ~WebSocketListener() = default;
  virtual void OnMessage(std::string text) = 0;
  /// Asked while the server is stopping: an idle connection is closed (1001) at once, another one when it has become
  /// idle or the grace time is over.
  virtual bool IsIdle() const { return true; }
  /// The last call, however the connection ended.
  virtual void OnGone() = 0;
};

/// Called when a connection has been accepted. Throwing refuses it, as with Handler.
using WebSocketHandler = std::function<std::unique_ptr<WebSocketListener>(std::shared_ptr<WebSocket> socket)>;

}  // namespace edgellm::http
