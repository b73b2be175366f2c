// See connection_machine.h: from an answer to bytes, the socket, and the time-outs.
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <utility>

#include "http/connection_machine.h"

namespace edgellm::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;
using std::chrono::milliseconds;

constexpr uint64_t kSlowestBody = uint64_t{16} << 10;  // bytes a second
constexpr milliseconds kCrowdedPatience{2000};

}  // namespace

// --- its answer ---

void Connection::Flush() {
  if (outlet_.writing() || !answer_ || state_ != State::kAnswer) return;
  const AnswerPart part = answer_->Take();
  if (part.cut) return Abort();
  if (!part.start && part.bytes.empty() && !part.end) return;
  if (part.start) {
    if (stopping_ || shared_->IsStopping()) keep_alive_ = false;
    keep_alive_ =
        outlet_.Begin(*part.start, part.bytes.size(), answer_->request(), http_1_1_, keep_alive_, admission_.headers);
  }
  outlet_.AddBody(part.bytes, part.end);
  if (!outlet_.empty()) return Write();
  answer_->Wrote();
  if (outlet_.ended()) FinishAnswer();
}

void Connection::Write() {
  outlet_.Write([self = shared_from_this()](const beast::error_code& error) { self->OnWritten(error); });
  ArmTimer();
}

void Connection::OnWritten(const beast::error_code& error) {
  if (state_ == State::kClosed) return;
  if (error) return Close();
  if (!answer_) return;  // it was "100 Continue"
  answer_->Wrote();
  if (outlet_.ended()) return FinishAnswer();
  Flush();
  ArmTimer();
}

/// Nothing has gone out for a while: proxies and clients that count seconds are told that somebody is there.
void Connection::BreakSilence() {
  outlet_.AddBody(answer_->KeepAlive(), /*end=*/false);
  if (outlet_.empty()) return outlet_.Touch();
  Write();
}

void Connection::FinishAnswer() {
  Log(/*complete=*/true);
  const auto answer = std::exchange(answer_, nullptr);
  answer->ClientGone();
  reader_.Reset();
  outlet_.Reset();
  admission_ = {};
  raw_path_.clear();
  raw_target_.clear();
  expects_continue_ = false;
  if (!keep_alive_ || stopping_) return CloseGently();
  state_ = State::kHead;
  since_ = Clock::now();
  shared_->BecomeIdle(this, since_);
  Advance();
}

void Connection::Log(bool complete) {
  const Request& request = answer_->request();
  shared_->Log({request.id, peer_, request.method, raw_path_, outlet_.status(), outlet_.sent(), Clock::now() - started_,
                complete});
}

// --- the socket ---

void Connection::StartRead() {
  if (reading_ || input_ended_ || state_ == State::kClosed) return;
  const size_t most = state_ == State::kHead ? limits().header_bytes + kReadBytes : kWaitingInput;
  if (input_.size() >= most) return;
  reading_ = true;
  socket_.async_read_some(
      asio::buffer(scratch_),
      [self = shared_from_this()](const beast::error_code& error, size_t count) { self->OnRead(error, count); });
}

void Connection::OnRead(const beast::error_code& error, size_t count) {
  reading_ = false;
  if (state_ == State::kClosed) return;
  if (error && error != asio::error::eof) return Close();
  input_.append(scratch_.data(), count);
  if (error) {
    input_ended_ = true;
    const auto answer = answer_;
    if (answer) answer->ClientSilent();
  }
  Advance();
}

/// Our side first: closing with unread bytes would make the system tell the client to forget what it has not read.
void Connection::CloseGently() {
  if (input_ended_) return Close();
  beast::error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  state_ = State::kLinger;
  since_ = Clock::now();
  Advance();
}

void Connection::CloseIfIdle() {
  if (state_ == State::kHead && !reader_.begun() && input_.empty()) Close();
}

void Connection::Close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  beast::error_code ignored;
  socket_.close(ignored);
  timer_.cancel();
  file_.reset();
  if (!answer_) return;
  Log(/*complete=*/false);
  std::exchange(answer_, nullptr)->ClientGone();
}

void Connection::Abort() {
  if (state_ == State::kClosed) return;
  beast::error_code ignored;
  socket_.set_option(asio::socket_base::linger(true, 0), ignored);  // what waits in the system's buffers goes too
  Close();
}

Connection::Clock::time_point Connection::Deadline() const {
  Clock::time_point deadline = Clock::time_point::max();
  if (outlet_.writing()) deadline = outlet_.moved() + timeouts().write;
  switch (state_) {
    case State::kHead:
      if (crowded_) return std::min(deadline, since_ + kCrowdedPatience);
      return std::min(deadline, since_ + (reader_.begun() ? timeouts().header : timeouts().idle));
    case State::kBody:
      if (file_busy_) return deadline;
      return std::min(deadline, since_ + timeouts().body + milliseconds(reader_.body().count * 1000 / kSlowestBody));
    case State::kLinger:
      return std::min(deadline, since_ + timeouts().linger);
    case State::kAnswer:
      if (outlet_.writing() || !outlet_.streaming()) return deadline;
      return outlet_.moved() + timeouts().quiet;
    case State::kClosed:
      return deadline;
  }
  return deadline;
}

/// The timer is set anew for an earlier time only: where the deadline has moved on, it finds that out by itself.
void Connection::ArmTimer() {
  const Clock::time_point deadline = Deadline();
  if (state_ == State::kClosed || deadline == Clock::time_point::max()) return;
  if (timer_armed_ && timer_.expiry() <= deadline) return;
  timer_armed_ = true;
  timer_.expires_at(deadline);
  timer_.async_wait([self = shared_from_this()](const beast::error_code& error) {
    if (error || self->state_ == State::kClosed) return;
    self->timer_armed_ = false;
    if (Clock::now() >= self->Deadline()) self->OnTimeout();
    self->ArmTimer();
  });
}

void Connection::OnTimeout() {
  if (outlet_.writing() && Clock::now() >= outlet_.moved() + timeouts().write) return Abort();
  if (state_ == State::kBody || (state_ == State::kHead && reader_.begun())) {
    return Refuse(408, "the request takes too long to arrive", {}, false);
  }
  if (state_ == State::kAnswer) return BreakSilence();
  Close();
}

}  // namespace edgellm::http
