// The state machine of one connection, on one strand: there is at most one read and one write under way, reads go on
// while a request is answered (which is how a vanished client is noticed), and what comes meanwhile waits in `input_`.
// connection.cc has the way from bytes to a handler, connection_answer.cc the way back, the socket and the time-outs.
// Private to src/http: it names Asio.
#pragma once

#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/error.hpp>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "http/admission.h"
#include "http/answer.h"
#include "http/body_file.h"
#include "http/body_room.h"
#include "http/outlet.h"
#include "http/request_reader.h"
#include "http/shared.h"

namespace edgellm::http {

class Connection : public AnswerReader, public Stoppable, public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<Shared> shared, boost::asio::ip::tcp::socket socket, std::string peer, bool crowded)
      : shared_(std::move(shared)),
        socket_(std::move(socket)),
        executor_(socket_.get_executor()),
        timer_(executor_),
        peer_(std::move(peer)),
        crowded_(crowded),
        reader_(shared_->options.limits.header_bytes),
        outlet_(socket_) {}
  ~Connection() override { shared_->Leave(this); }

  void Start();

  void AnswerReady() override {
    boost::asio::post(executor_, [self = shared_from_this()] { self->Flush(); });
  }
  void Stop() override {
    boost::asio::post(executor_, [self = shared_from_this()] {
      self->stopping_ = true;
      self->CloseIfIdle();
    });
  }
  void GiveWay() override {
    boost::asio::post(executor_, [self = shared_from_this()] { self->CloseIfIdle(); });
  }
  void Cut() override {
    boost::asio::post(executor_, [self = shared_from_this()] { self->Abort(); });
  }

 private:
  using Clock = std::chrono::steady_clock;
  using ErrorCode = boost::beast::error_code;
  static constexpr size_t kReadBytes = size_t{16} << 10;     // a time
  static constexpr size_t kWaitingInput = size_t{64} << 10;  // that is read ahead of what is at work

  enum class State : uint8_t { kHead, kBody, kAnswer, kLinger, kClosed };

  // --- the machine ---
  void Advance();
  bool Step();
  bool ReadHead();
  bool ReadBody();
  void WriteToFile();
  void OnFileWritten(const std::exception_ptr& failure);

  // --- a request ---
  void OnHead();
  void OnAdmitted();
  void ReadBodyThenAnswer();
  void Refuse(int status, std::string message, Headers headers = {}, bool readable = true);
  void RefuseForWantOfRoom(bool readable);
  void AnswerRefusal();
  void FinishBody();
  void Dispatch();
  void Upgrade();
  void MakeAnswer();

  // --- its answer ---
  void Flush();
  void Write();
  void OnWritten(const ErrorCode& error);
  void BreakSilence();
  void FinishAnswer();
  void Log(bool complete);

  // --- the socket ---
  void StartRead();
  void OnRead(const ErrorCode& error, size_t count);
  void CloseGently();
  void CloseIfIdle();
  void Close();
  void Abort();
  Clock::time_point Deadline() const;
  void ArmTimer();
  void OnTimeout();

  const ServerTimeouts& timeouts() const { return shared_->options.timeouts; }
  const ServerLimits& limits() const { return shared_->options.limits; }

  const std::shared_ptr<Shared> shared_;
  boost::asio::ip::tcp::socket socket_;
  const boost::asio::any_io_executor executor_;
  boost::asio::steady_timer timer_;
  bool timer_armed_ = false;
  const std::string peer_;
  const bool crowded_;
  State state_ = State::kHead;
  bool stopping_ = false;

  std::array<char, kReadBytes> scratch_;
  std::string input_;  // read, and not yet looked at
  bool reading_ = false, input_ended_ = false;
  Clock::time_point since_ = Clock::now();  // of the state, where it has a time-out

  // Of the request at work.
  RequestReader reader_;
  BodyRoom room_;
  Request request_;
  std::string raw_path_, raw_target_;
  Admission admission_;
  std::optional<Admission::Refusal> refusal_;  // what is answered once the body has been read
  bool expects_continue_ = false, http_1_1_ = true, keep_alive_ = true;
  Clock::time_point started_;
  std::shared_ptr<BodyFile> file_;
  bool file_busy_ = false;

  // Of its answer.
  std::shared_ptr<Answer> answer_;
  Outlet outlet_;
};

}  // namespace edgellm::http
