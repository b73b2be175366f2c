// An HTTP server in this process that says what a test tells it to: one request a connection, raw bytes out, in pieces;
// connections side by side.
#pragma once

#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace edgellm {

struct HttpRequest {
  std::string method, path, headers, body;
};

/// What to send: pieces, each written on its own; the connection is closed after the last.
struct HttpAnswer {
  std::vector<std::string> pieces;
  int pause_ms = 0;      // before each piece but the first
  int stay_open_ms = 0;  // before the connection is closed
};

/// A head and a body, as servers that close the connection send them.
inline HttpAnswer Answer(int status, std::string body) {
  return {{"HTTP/1.1 " + std::to_string(status) + " X\r\nConnection: close\r\n\r\n" + std::move(body)}};
}

class StandInServer {
 public:
  /// `answer` is called on the connections' threads.
  explicit StandInServer(std::function<HttpAnswer(const HttpRequest&)> answer);
  ~StandInServer();

  /// "http://127.0.0.1:port"
  std::string url() const;
  /// So far.
  std::vector<HttpRequest> requests() const;

 private:
  void Serve();
  void ServeOne(int connection);
  /// False when the server ends meanwhile.
  bool Pause(int milliseconds) const;

  std::function<HttpAnswer(const HttpRequest&)> answer_;
  int listener_ = -1, port_ = 0;
  mutable std::mutex mutex_;
  std::vector<HttpRequest> requests_;
  bool ending_ = false;
  std::list<int> open_;
  std::vector<std::thread> connections_;
  std::thread thread_;
};

}  // namespace edgellm
