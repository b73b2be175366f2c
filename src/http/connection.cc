// See connection.h. A state machine on one strand: there is at most one read and one write under way, reads go on while
// a request is answered (which is how a vanished client is noticed), and what comes meanwhile waits in `input_`.
#include "http/connection.h"

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/http/parser.hpp>
#include <chrono>
#include <exception>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "http/admission.h"
#include "http/answer.h"
#include "http/body.h"
#include "http/body_file.h"
#include "http/url.h"
#include "http/web_socket_session.h"

namespace edgellm::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr size_t kReadBytes = size_t{16} << 10;     // a time
constexpr size_t kWaitingInput = size_t{64} << 10;  // that is read ahead of what is at work
constexpr size_t kFilePiece = size_t{256} << 10;    // of a body, written to its file at once
constexpr uint64_t kDrained = uint64_t{1} << 20;  // a body as long is read though nobody wants it: the connection stays
constexpr uint64_t kSlowestBody = uint64_t{16} << 10;  // bytes a second
constexpr milliseconds kCrowdedPatience{2000};

class Connection : public AnswerReader, public Stoppable, public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<Shared> shared, tcp::socket socket, std::string peer, bool crowded)
      : shared_(std::move(shared)),
        socket_(std::move(socket)),
        executor_(socket_.get_executor()),
        timer_(executor_),
        peer_(std::move(peer)),
        crowded_(crowded) {}
  ~Connection() override { shared_->Leave(this); }

  void Start() {
    if (!shared_->Join(this, weak_from_this())) return;
    beast::error_code ignored;
    socket_.set_option(tcp::no_delay(true), ignored);
    Advance();
  }

  void AnswerReady() override {
    asio::post(executor_, [self = shared_from_this()] { self->Flush(); });
  }
  void Stop() override {
    asio::post(executor_, [self = shared_from_this()] {
      self->stopping_ = true;
      if (self->state_ == State::kHead && !self->parser_ && self->input_.empty()) self->Close();
    });
  }
  void Cut() override {
    asio::post(executor_, [self = shared_from_this()] { self->Abort(); });
  }

 private:
  enum class State : uint8_t { kHead, kBody, kAnswer, kLinger, kClosed };
  using Parser = beast::http::request_parser<SinkBody>;

  // --- the machine ---
  void Advance();
  bool Step();
  bool ReadHead();
  bool ReadBody();
  void WriteToFile();
  void OnFileWritten(const std::exception_ptr& failure);

  // --- a request ---
  void OnHead();
  Request TakeHead(Target* target);
  void OnAdmitted();
  void ReadBodyThenAnswer();
  void Refuse(int status, std::string message, Headers headers = {}, bool readable = true);
  void AnswerRefusal();
  void FinishBody();
  void Dispatch();
  void Upgrade();
  void MakeAnswer();

  // --- its answer ---
  void Flush();
  std::string ComposeHead(AnswerStart start, size_t bytes);
  void WriteSome();
  void OnWritten(const beast::error_code& error, size_t count);
  void FinishAnswer();
  void Log(bool complete);

  // --- the socket ---
  void StartRead();
  void OnRead(const beast::error_code& error, size_t count);
  void CloseGently();
  void Close();
  void Abort();
  Clock::time_point Deadline() const;
  void ArmTimer();
  void OnTimeout();

  const ServerTimeouts& timeouts() const { return shared_->options.timeouts; }
  const ServerLimits& limits() const { return shared_->options.limits; }

  const std::shared_ptr<Shared> shared_;
  tcp::socket socket_;
  const asio::any_io_executor executor_;
  asio::steady_timer timer_;
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
  std::optional<Parser> parser_;
  size_t head_bytes_ = 0;
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
  std::string output_;
  size_t written_ = 0;  // of output_
  bool writing_ = false, chunked_ = false, bodiless_ = false, answer_ended_ = false;
  int status_ = 0;
  uint64_t sent_bytes_ = 0;
  Clock::time_point write_since_;
};

// --- the machine ---

void Connection::Advance() {
  while (state_ != State::kClosed && Step()) {
  }
  if (state_ == State::kClosed) return;
  StartRead();
  ArmTimer();
}

/// True when there may be more to do at once.
bool Connection::Step() {
  switch (state_) {
    case State::kHead:
      return ReadHead();
    case State::kBody:
      return ReadBody();
    case State::kLinger:
      input_.clear();
      if (input_ended_) Close();
      return false;
    case State::kAnswer:
    case State::kClosed:
      return false;
  }
  return false;
}

bool Connection::ReadHead() {
  if (!parser_) {
    input_.erase(0, std::min(input_.find_first_not_of("\r\n"), input_.size()));  // RFC 9112, section 2.2
    if (input_.empty()) {
      if (input_ended_ || stopping_) Close();
      return false;
    }
    parser_.emplace();
    parser_->header_limit(static_cast<uint32_t>(limits().header_bytes));
    parser_->body_limit(boost::none);  // the sink counts, with the limit of the route
    parser_->eager(false);
    head_bytes_ = 0;
    started_ = since_ = Clock::now();
  }
  if (input_.empty()) {  // and a part of the head has been looked at
    if (input_ended_) Close();
    return false;
  }
  beast::error_code error;
  const size_t used = parser_->put(asio::buffer(input_), error);
  input_.erase(0, used);
  head_bytes_ += used;
  const bool incomplete = error == beast::http::error::need_more;
  const bool too_long = head_bytes_ + (incomplete ? input_.size() : 0) > limits().header_bytes;
  if (too_long || error == beast::http::error::header_limit) {
    Refuse(431, fmt::format("the request's head is longer than {} bytes", limits().header_bytes), {}, false);
    return true;
  }
  if (error && !incomplete) {
    const bool version = error == beast::http::error::bad_version;
    Refuse(version ? 505 : 400, version ? "HTTP/1.0 and HTTP/1.1 are spoken here" : "this is no request of HTTP/1.1",
           {}, false);
    return true;
  }
  if (parser_->is_header_done()) {
    OnHead();
    return true;
  }
  if (used == 0 && input_ended_) Close();
  return used != 0;
}

bool Connection::ReadBody() {
  if (file_busy_) return false;
  const bool done = parser_->is_done();
  if (file_ && (parser_->get().body().bytes.size() >= kFilePiece || (done && !parser_->get().body().bytes.empty()))) {
    WriteToFile();
    return false;
  }
  if (done) {
    FinishBody();
    return true;
  }
  beast::error_code error;
  const size_t used = input_.empty() ? 0 : parser_->put(asio::buffer(input_), error);
  input_.erase(0, used);
  const bool stuck = error == beast::http::error::need_more && used == 0 && input_.size() >= kWaitingInput;
  if (error == beast::http::error::body_limit) {
    Refuse(413, fmt::format("the body is longer than {} bytes", parser_->get().body().limit), {}, false);
    return true;
  }
  if (stuck || (error && error != beast::http::error::need_more)) {
    Refuse(400, "the body is not sent as HTTP/1.1 has it", {}, false);
    return true;
  }
  if (used == 0 && !parser_->is_done()) {
    if (input_ended_) Close();
    return false;
  }
  return true;
}

void Connection::WriteToFile() {
  file_busy_ = true;
  std::string bytes = std::exchange(parser_->get().body().bytes, {});
  // The guard keeps the server's threads until the file's has come back.
  asio::post(shared_->files, [self = shared_from_this(), file = file_, bytes = std::move(bytes),
                              guard = asio::make_work_guard(shared_->io)]() mutable {
    std::exception_ptr failure;
    try {
      file->Append(bytes);
    } catch (...) {
      failure = std::current_exception();
    }
    file.reset();
    const auto executor = self->executor_;
    asio::post(executor, [self = std::move(self), failure] { self->OnFileWritten(failure); });
  });
}

void Connection::OnFileWritten(const std::exception_ptr& failure) {
  file_busy_ = false;
  if (state_ != State::kBody) return;
  if (!failure) return Advance();
  keep_alive_ = false;
  file_.reset();
  MakeAnswer();
  answer_->Fail(failure);
  Flush();
}

// --- a request ---

Request Connection::TakeHead(Target* target) {
  const auto& message = parser_->get();
  Request request;
  request.method = std::string(message.method_string());
  request.peer = peer_;
  for (const auto& field : message) {
    std::string name(field.name_string());
    for (char& c : name) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    request.headers.emplace_back(std::move(name), std::string(field.value()));
  }
  request.id = request.Header("x-request-id");
  if (!IsSaneId(request.id)) request.id = shared_->MakeId();
  raw_target_ = std::string(message.target());
  if (auto parsed = ParseTarget(raw_target_)) *target = std::move(*parsed);
  raw_path_ = target->path;
  request.path = DecodePercent(target->path).value_or(target->path);
  request.query = ParseQuery(target->query);
  return request;
}

void Connection::OnHead() {
  http_1_1_ = parser_->get().version() >= 11;
  keep_alive_ = parser_->keep_alive();
  Target target;
  request_ = TakeHead(&target);
  if (crowded_) return Refuse(503, "there are too many connections: try again later", {{"retry-after", "1"}}, false);
  if (target.path.empty()) return Refuse(400, "the target of the request is no path", {}, false);
  const std::string_view encoding = request_.Header("transfer-encoding");
  if (!encoding.empty() && (!http_1_1_ || !parser_->chunked() || !HasToken("chunked", encoding))) {
    return Refuse(http_1_1_ ? 501 : 400, "of transfer encodings, only chunked is understood", {}, false);
  }
  const std::string_view expect = request_.Header("expect");
  expects_continue_ = http_1_1_ && HasToken("100-continue", expect);
  if (!expect.empty() && !HasToken("100-continue", expect))
    return Refuse(417, "of expectations, only 100-continue is met");
  admission_ = Admit(request_, target.path, target.authority, http_1_1_, shared_->router, shared_->access);
  if (admission_.refusal) {
    // Whoever sends what is no HTTP may mean something else by the rest, too: 400 ends the connection.
    const int status = admission_.refusal->status;
    return Refuse(status, std::move(admission_.refusal->message), std::move(admission_.refusal->headers),
                  status != 400);
  }
  request_.captures = std::move(admission_.captures);
  OnAdmitted();
}

void Connection::OnAdmitted() {
  const Route& route = *admission_.route;
  if (route.socket) return Upgrade();
  BodySink& sink = parser_->get().body();
  sink.limit = route.options.max_body != 0 ? route.options.max_body : limits().body_bytes;
  const auto length = parser_->content_length();
  if (length && *length > sink.limit) {
    return Refuse(413, fmt::format("the body has {} bytes, and at most {} are taken", *length, sink.limit));
  }
  if (route.options.body_to_file) {
    try {
      const auto& folder = shared_->options.body_folder;
      file_ = std::make_shared<BodyFile>(folder.empty() ? std::filesystem::temp_directory_path() : folder);
    } catch (const std::exception& failure) {
      return Refuse(500, failure.what(), {}, false);
    }
  }
  if (expects_continue_ && !parser_->is_done() && input_.empty()) {
    output_ += "HTTP/1.1 100 Continue\r\n\r\n";
    WriteSome();
  }
  ReadBodyThenAnswer();
}

void Connection::ReadBodyThenAnswer() {
  parser_->eager(true);
  state_ = State::kBody;
  since_ = Clock::now();
}

/// An error, or the answer to OPTIONS. Its connection can be kept where what was sent with it can be read (`readable`)
/// and is not long.
void Connection::Refuse(int status, std::string message, Headers headers, bool readable) {
  refusal_ = Admission::Refusal{status, std::move(message), std::move(headers)};
  file_.reset();
  const auto length = readable ? parser_->content_length() : boost::none;
  const bool read_whole = readable && parser_->is_done();
  if (!read_whole && !expects_continue_ && length && *length <= kDrained) {
    parser_->get().body().discard = true;
    parser_->get().body().limit = kDrained;
    return ReadBodyThenAnswer();
  }
  if (!read_whole) keep_alive_ = false;
  AnswerRefusal();
}

void Connection::AnswerRefusal() {
  const Admission::Refusal refusal = std::move(*refusal_);
  refusal_.reset();
  MakeAnswer();
  if (refusal.status == 204) {
    answer_->Send({204, {}, {}, refusal.headers});
  } else {
    answer_->SendError(refusal.status, refusal.message, refusal.headers);
  }
  Flush();
}

void Connection::FinishBody() {
  if (refusal_) return AnswerRefusal();
  if (file_) {
    try {
      request_.body_file = file_->Release();
    } catch (const std::exception& failure) {
      return Refuse(500, failure.what());
    }
    file_.reset();
  } else {
    request_.body = std::move(parser_->get().body().bytes);
  }
  Dispatch();
}

void Connection::MakeAnswer() {
  if (request_.id.empty()) request_.id = shared_->MakeId();
  if (request_.peer.empty()) request_.peer = peer_;
  state_ = State::kAnswer;
  answer_ = std::make_shared<Answer>(std::move(request_), shared_from_this(), shared_->options.error_body,
                                     limits().waiting_bytes);
  request_ = {};
}

void Connection::Dispatch() {
  MakeAnswer();
  const auto exchange = answer_->MakeExchange();
  const auto answer = answer_;  // the connection may end meanwhile
  if (input_ended_) answer->ClientSilent();
  try {
    admission_.route->handler(exchange);
  } catch (...) {
    answer->Fail(std::current_exception());
  }
  Flush();
}

void Connection::Upgrade() {
  if (!parser_->is_done() || !input_.empty()) {
    return Refuse(400, "a WebSocket begins with nothing but its handshake", {}, false);
  }
  WebSocketStart start;
  start.headers = std::move(admission_.headers);
  start.headers.emplace_back("x-request-id", request_.id);
  start.target = raw_target_;
  start.path = raw_path_;
  start.started = started_;
  start.link = std::make_shared<WebSocketLink>(request_, limits().waiting_bytes);
  try {
    start.listener = admission_.route->socket(start.link);
  } catch (...) {
    const std::exception_ptr failure = std::current_exception();
    MakeAnswer();
    answer_->Fail(failure);
    return Flush();
  }
  timer_.cancel();
  state_ = State::kClosed;
  StartWebSocket(shared_, std::move(socket_), std::move(start));
}

// --- its answer ---

void Connection::Flush() {
  if (writing_ || !answer_ || state_ != State::kAnswer) return;
  AnswerPart part = answer_->Take();
  if (part.cut) return Abort();
  if (!part.start && part.bytes.empty() && !part.end) return;
  if (part.start) output_ = ComposeHead(std::move(*part.start), part.bytes.size());
  if (!bodiless_ && !part.bytes.empty()) {
    if (chunked_) output_ += fmt::format("{:x}\r\n", part.bytes.size());
    output_ += part.bytes;
    if (chunked_) output_ += "\r\n";
  }
  if (part.end && chunked_ && !bodiless_) output_ += "0\r\n\r\n";
  answer_ended_ = part.end;
  if (!output_.empty()) return WriteSome();
  answer_->Wrote();
  if (answer_ended_) FinishAnswer();
}

std::string Connection::ComposeHead(AnswerStart start, size_t bytes) {
  const Request& request = answer_->request();
  if (stopping_ || shared_->IsStopping()) keep_alive_ = false;
  const bool no_content = start.status < 200 || start.status == 204 || start.status == 304;
  bodiless_ = no_content || request.method == "HEAD";
  chunked_ = start.streamed && http_1_1_ && !no_content;
  if (start.streamed && !http_1_1_ && !bodiless_) keep_alive_ = false;
  status_ = start.status;
  HeadFacts facts{.status = start.status,
                  .http_1_1 = http_1_1_,
                  .keep_alive = keep_alive_,
                  .length = {},
                  .chunked = chunked_,
                  .content_type = no_content ? std::string_view() : start.content_type};
  if (!start.streamed && !no_content) facts.length = bytes;
  Headers headers = {{"x-request-id", request.id}};
  headers.insert(headers.end(), admission_.headers.begin(), admission_.headers.end());
  headers.insert(headers.end(), start.headers.begin(), start.headers.end());
  return ResponseHead(facts, headers);
}

void Connection::WriteSome() {
  writing_ = true;
  write_since_ = Clock::now();
  socket_.async_write_some(
      asio::buffer(output_) + written_,
      [self = shared_from_this()](const beast::error_code& error, size_t count) { self->OnWritten(error, count); });
  ArmTimer();
}

void Connection::OnWritten(const beast::error_code& error, size_t count) {
  if (state_ == State::kClosed) return;
  if (error) return Close();
  sent_bytes_ += count;
  written_ += count;
  if (written_ < output_.size()) return WriteSome();
  writing_ = false;
  written_ = 0;
  output_.clear();
  if (output_.capacity() > kWaitingInput) output_.shrink_to_fit();
  if (!answer_) return;  // it was "100 Continue"
  answer_->Wrote();
  if (answer_ended_) {
    FinishAnswer();
  } else {
    Flush();
  }
}

void Connection::FinishAnswer() {
  Log(/*complete=*/true);
  const auto answer = std::exchange(answer_, nullptr);
  answer->ClientGone();
  parser_.reset();
  admission_ = {};
  raw_path_.clear();
  raw_target_.clear();
  expects_continue_ = answer_ended_ = chunked_ = bodiless_ = false;
  status_ = 0;
  sent_bytes_ = 0;
  if (!keep_alive_ || stopping_) return CloseGently();
  state_ = State::kHead;
  since_ = Clock::now();
  Advance();
}

void Connection::Log(bool complete) {
  const Request& request = answer_->request();
  shared_->Log({request.id, peer_, request.method, raw_path_, status_, sent_bytes_, Clock::now() - started_, complete});
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

Clock::time_point Connection::Deadline() const {
  Clock::time_point deadline = Clock::time_point::max();
  if (writing_) deadline = write_since_ + timeouts().write;
  switch (state_) {
    case State::kHead:
      if (crowded_) return std::min(deadline, since_ + kCrowdedPatience);
      return std::min(deadline, since_ + (parser_ ? timeouts().header : timeouts().idle));
    case State::kBody:
      if (file_busy_) return deadline;
      return std::min(deadline,
                      since_ + timeouts().body + milliseconds(parser_->get().body().count * 1000 / kSlowestBody));
    case State::kLinger:
      return std::min(deadline, since_ + timeouts().linger);
    case State::kAnswer:
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
  if (writing_ && Clock::now() >= write_since_ + timeouts().write) return Abort();
  if (state_ == State::kBody || (state_ == State::kHead && parser_)) {
    return Refuse(408, "the request takes too long to arrive", {}, false);
  }
  Close();
}

}  // namespace

void StartConnection(std::shared_ptr<Shared> shared, tcp::socket socket, std::string peer, bool crowded) {
  const auto executor = socket.get_executor();
  const auto connection = std::make_shared<Connection>(std::move(shared), std::move(socket), std::move(peer), crowded);
  asio::post(executor, [connection] { connection->Start(); });
}

}  // namespace edgellm::http
