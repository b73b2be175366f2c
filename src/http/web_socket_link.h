// One WebSocket between the threads that send on it and the thread of its connection: a bounded queue of messages with
// a lock; no sockets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "http/answer.h"
#include "http/exchange.h"

namespace edgellm::http {

class WebSocketLink : public WebSocket {
 public:
  /// `most_waiting`: bytes that may wait for the client.
  WebSocketLink(Request request, size_t most_waiting);

  const Request& request() const override { return request_; }
  bool Send(std::string text) override;
  void Close(uint16_t code, std::string reason) override;

  struct Closing {
    uint16_t code = 1000;
    std::string reason;
  };
  struct Part {
    std::optional<std::string> message;
    std::optional<Closing> closing;  // after all messages
    bool cut = false;                // the client reads too slowly
  };

  // From the connection's thread.
  /// Who is told that there is something. What came before is told at once.
  void Attach(std::shared_ptr<AnswerReader> reader);
  /// The next message; what was taken before has been written.
  Part Take();
  /// True once nothing more is taken on: Close, Detach, or a client that reads too slowly.
  bool IsClosed();
  /// Nothing can be written any more.
  void Detach();

 private:
  void Wake();

  const Request request_;
  const size_t most_waiting_;

  std::mutex mutex_;  // of all that follows
  std::shared_ptr<AnswerReader> reader_;
  std::deque<std::string> messages_;
  size_t waiting_ = 0;  // bytes of messages_
  size_t taken_ = 0;    // bytes taken last
  std::optional<Closing> closing_;
  bool closed_ = false;  // nothing more is taken on
  bool cut_ = false;
  bool woken_ = false;
};

}  // namespace edgellm::http
