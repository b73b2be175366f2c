// See connection.h and connection_machine.h: from bytes to requests, and those to their handlers.
#include "http/connection.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <exception>
#include <utility>

#include <fmt/format.h>

#include "http/connection_machine.h"
#include "http/url.h"
#include "http/web_socket_session.h"

namespace edgellm::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;
using std::chrono::milliseconds;

constexpr size_t kFilePiece = size_t{256} << 10;  // of a body, written to its file at once
constexpr uint64_t kDrained = uint64_t{1} << 20;  // a body as long is read though nobody wants it: the connection stays
constexpr milliseconds kFirstWords{1000};         // a client that has just come is not sent away for another's sake

}  // namespace

// --- the machine ---

void Connection::Start() {
  if (!shared_->Join(this, weak_from_this())) return;
  beast::error_code ignored;
  socket_.set_option(tcp::no_delay(true), ignored);
  if (!crowded_) shared_->BecomeIdle(this, Clock::now() + kFirstWords);
  Advance();
}

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
  if (!reader_.begun()) {
    input_.erase(0, std::min(input_.find_first_not_of("\r\n"), input_.size()));  // RFC 9112, section 2.2
    if (input_.empty()) {
      if (input_ended_ || stopping_) Close();
      return false;
    }
    shared_->BecomeBusy(this);
    reader_.Begin();
    started_ = since_ = Clock::now();
  }
  if (input_.empty()) {  // and a part of the head has been looked at
    if (input_ended_) Close();
    return false;
  }
  switch (reader_.ReadHead(&input_)) {
    case RequestReader::Progress::kFailed:
      Refuse(reader_.failure().status, reader_.failure().message, {}, false);
      return true;
    case RequestReader::Progress::kDone:
      OnHead();
      return true;
    case RequestReader::Progress::kMoved:
      return true;
    case RequestReader::Progress::kWaits:
      if (input_ended_) Close();
      return false;
  }
  return false;
}

bool Connection::ReadBody() {
  if (file_busy_) return false;
  const bool done = reader_.done();
  const size_t held = reader_.body().bytes.size();
  if (file_ && (held >= kFilePiece || (done && held > 0))) {
    WriteToFile();
    return false;
  }
  if (done) {
    FinishBody();
    return true;
  }
  const auto progress = reader_.ReadBody(&input_, kWaitingInput);
  if (progress == RequestReader::Progress::kFailed) {
    Refuse(reader_.failure().status, reader_.failure().message, {}, false);
  } else if (progress == RequestReader::Progress::kWaits) {
    if (input_ended_) Close();
    return false;
  } else if (!file_ && !room_.Reach(reader_.body().bytes.size())) {
    RefuseForWantOfRoom(/*readable=*/false);
  }
  return true;
}

void Connection::WriteToFile() {
  file_busy_ = true;
  std::string bytes = std::exchange(reader_.body().bytes, {});
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

void Connection::OnHead() {
  http_1_1_ = reader_.http_1_1();
  keep_alive_ = reader_.keep_alive();
  Target target;
  request_ = reader_.TakeHead(&target, &raw_target_);
  request_.peer = peer_;
  request_.id = request_.Header("x-request-id");
  if (!IsSaneId(request_.id)) request_.id = shared_->MakeId();
  raw_path_ = target.path;
  if (crowded_) return Refuse(503, "there are too many connections: try again later", {{"retry-after", "1"}}, false);
  if (target.path.empty()) return Refuse(400, "the target of the request is no path", {}, false);
  const std::string_view encoding = request_.Header("transfer-encoding");
  if (!encoding.empty() && (!http_1_1_ || !reader_.chunked() || !HasToken("chunked", encoding))) {
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
  BodySink& sink = reader_.body();
  sink.limit = route.options.max_body != 0 ? route.options.max_body : limits().body_bytes;
  const auto length = reader_.length();
  if (length && *length > sink.limit) {
    return Refuse(413, fmt::format("the body has {} bytes, and at most {} are taken", *length, sink.limit));
  }
  const BodyBudget& budget = *shared_->bodies;
  if (length && *length > BodyRoom::kFree && !route.options.body_to_file && budget.used() + *length > budget.most()) {
    return RefuseForWantOfRoom(/*readable=*/true);
  }
  room_ = BodyRoom(shared_->bodies);
  if (route.options.body_to_file) {
    try {
      const auto& folder = shared_->options.body_folder;
      file_ = std::make_shared<BodyFile>(folder.empty() ? std::filesystem::temp_directory_path() : folder);
    } catch (const std::exception& failure) {
      return Refuse(500, failure.what(), {}, false);
    }
  }
  if (expects_continue_ && !reader_.done() && input_.empty()) {
    outlet_.AddRaw("HTTP/1.1 100 Continue\r\n\r\n");
    Write();
  }
  ReadBodyThenAnswer();
}

void Connection::ReadBodyThenAnswer() {
  reader_.ExpectBody();
  state_ = State::kBody;
  since_ = Clock::now();
}

/// An error, or the answer to OPTIONS. Its connection can be kept where what was sent with it can be read (`readable`)
/// and is not long.
void Connection::Refuse(int status, std::string message, Headers headers, bool readable) {
  refusal_ = Admission::Refusal{status, std::move(message), std::move(headers)};
  file_.reset();
  const auto length = readable ? reader_.length() : std::nullopt;
  const bool read_whole = readable && reader_.done();
  if (!read_whole && !expects_continue_ && length && *length <= kDrained) {
    reader_.body().discard = true;
    reader_.body().limit = kDrained;
    return ReadBodyThenAnswer();
  }
  if (!read_whole) keep_alive_ = false;
  AnswerRefusal();
}

void Connection::RefuseForWantOfRoom(bool readable) {
  Refuse(503, "there is no room for another large request now: try again later", {{"retry-after", "1"}}, readable);
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
    request_.body = std::move(reader_.body().bytes);
  }
  Dispatch();
}

void Connection::MakeAnswer() {
  if (request_.id.empty()) request_.id = shared_->MakeId();
  if (request_.peer.empty()) request_.peer = peer_;
  state_ = State::kAnswer;
  answer_ = std::make_shared<Answer>(std::move(request_), shared_from_this(), shared_->options.error_body,
                                     limits().waiting_bytes, std::move(room_));
  request_ = {};
  room_ = {};
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
  if (!reader_.done() || !input_.empty()) {
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

void StartConnection(std::shared_ptr<Shared> shared, tcp::socket socket, std::string peer, bool crowded) {
  const auto executor = socket.get_executor();
  const auto connection = std::make_shared<Connection>(std::move(shared), std::move(socket), std::move(peer), crowded);
  asio::post(executor, [connection] { connection->Start(); });
}

}  // namespace edgellm::http
