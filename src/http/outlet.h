// The way out of a connection: parts of an answer to bytes (head, chunks, nothing for HEAD), and bytes to the socket
// with one write under way. What comes next and when to give up is the connection's. Private to src/http: it names
// Asio.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/system/error_code.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "http/answer.h"

namespace edgellm::http {

class Outlet {
 public:
  using Clock = std::chrono::steady_clock;

  /// `socket` must outlive it.
  explicit Outlet(boost::asio::ip::tcp::socket& socket) : socket_(socket) {}

  /// The head of an answer with `bytes` following at once. `keep_alive`: what the client and the server want; false
  /// comes back where the end of the connection is the end of the body.
  bool Begin(const AnswerStart& start, size_t bytes, const Request& request, bool http_1_1, bool keep_alive,
             const Headers& more);
  /// A piece of its body, or its end.
  void AddBody(std::string_view bytes, bool end);
  /// Bytes that are no answer: "100 Continue".
  void AddRaw(std::string_view bytes) { output_ += bytes; }
  /// The answer is over: the next one may begin.
  void Reset();

  bool empty() const { return output_.empty(); }
  /// Writes all that was added; `done`, which keeps this object alive, is called once. Nothing may be added meanwhile.
  void Write(std::function<void(const boost::system::error_code&)> done);

  /// As if something had been written just now.
  void Touch() { moved_ = Clock::now(); }

  bool writing() const { return writing_; }
  /// A body is on its way, and not at its end.
  bool streaming() const { return streamed_ && !bodiless_ && !ended_; }
  bool ended() const { return ended_; }
  int status() const { return status_; }              // 0 before the head
  uint64_t sent() const { return sent_; }             // bytes of this answer that the system has taken
  Clock::time_point moved() const { return moved_; }  // when a write was begun or the last one ended

 private:
  using Done = std::function<void(const boost::system::error_code&)>;
  void WriteSome(Done done);

  boost::asio::ip::tcp::socket& socket_;
  std::string output_;
  size_t written_ = 0;  // of output_
  bool writing_ = false, chunked_ = false, bodiless_ = false, streamed_ = false, ended_ = false;
  int status_ = 0;
  uint64_t sent_ = 0;
  Clock::time_point moved_;
};

}  // namespace edgellm::http
