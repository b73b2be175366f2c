// The answer to one request, between the thread of a handler, which fills it, and the thread of a connection, which
// empties it. A bounded queue with a lock; no sockets.
#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "http/body_room.h"
#include "http/exchange.h"
#include "http/status.h"

namespace edgellm::http {

/// Told, from any thread, that there is something to take: it makes a note for its own thread, and returns.
class AnswerReader {
 public:
  virtual ~AnswerReader() = default;
  virtual void AnswerReady() = 0;
};

struct AnswerStart {
  int status = 200;
  std::string content_type;
  Headers headers;
  bool streamed = false;  // the length is not known: what follows is all there is otherwise
};

/// What came since the last time.
struct AnswerPart {
  std::optional<AnswerStart> start;
  std::string bytes;
  bool end = false;  // nothing more comes
  bool cut =
      false;  // the stream was let go before its end, or the client reads too slowly: the connection is to be cut
};

class Answer : public std::enable_shared_from_this<Answer> {
 public:
  /// `most_waiting`: bytes of a stream that may wait for the client. `room`: that the request's body takes.
  Answer(Request request, std::shared_ptr<AnswerReader> reader, ErrorBody error_body, size_t most_waiting,
         BodyRoom room = {});
  /// Removes the request's file, if it is still there.
  ~Answer();
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;

  /// For handlers. When the last copy goes without an answer, that becomes a 500; when it goes in the middle of a
  /// stream, the connection is cut.
  std::shared_ptr<Exchange> MakeExchange();

  const Request& request() const { return request_; }

  // From any thread, as Exchange's.
  void Send(Reply reply);
  void Begin(int status, std::string content_type, Headers headers);
  bool Write(std::string bytes);
  void End();
  void OnGone(std::function<void()> gone);
  void SetKeepAlive(std::string bytes);
  /// The exception becomes the answer, or cuts the stream where one has begun.
  void Fail(std::exception_ptr failure);
  /// An answer in the form of errors.
  void SendError(int status, std::string_view message, Headers headers = {});

  // From the connection's thread.
  AnswerPart Take();
  /// What goes out when nothing else does; nothing where something else waits.
  std::string KeepAlive();
  /// What was taken last has been written.
  void Wrote();
  /// The client has closed its side: it may still read, but most likely it has gone. OnGone is called, and what is
  /// written still goes out.
  void ClientSilent();
  /// Nothing can be written any more.
  void ClientGone();

 private:
  enum class Phase : uint8_t { kWaiting, kStreaming, kComplete };

  void LetGo();
  /// Calls `gone_` without the lock, and forgets it.
  void TellGone(std::unique_lock<std::mutex>& lock);
  void Wake();

  class Handle;

  const Request request_;
  const ErrorBody error_body_;
  const size_t most_waiting_;
  const BodyRoom room_;

  std::mutex mutex_;                      // of all that follows
  std::shared_ptr<AnswerReader> reader_;  // until nothing can be written any more
  Phase phase_ = Phase::kWaiting;
  std::optional<AnswerStart> start_;  // not yet taken
  std::string waiting_;               // not yet taken
  std::string keep_alive_;
  size_t taken_ = 0;        // bytes taken and not yet written
  bool end_waits_ = false;  // the end has not been taken yet
  bool cut_ = false;
  bool woken_ = false;   // the reader has been told, and has not come yet
  bool silent_ = false;  // ClientSilent or ClientGone
  std::function<void()> gone_;
};

}  // namespace edgellm::http
