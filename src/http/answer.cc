// See answer.h.
#include "http/answer.h"

#include <system_error>
#include <utility>

namespace edgellm::http {

class Answer::Handle : public Exchange {
 public:
  explicit Handle(std::shared_ptr<Answer> answer) : answer_(std::move(answer)) {}
  ~Handle() override { answer_->LetGo(); }

  const Request& request() const override { return answer_->request(); }
  void Send(Reply reply) override { answer_->Send(std::move(reply)); }
  void Begin(int status, std::string content_type, Headers headers) override {
    answer_->Begin(status, std::move(content_type), std::move(headers));
  }
  bool Write(std::string bytes) override { return answer_->Write(std::move(bytes)); }
  void End() override { answer_->End(); }
  void KeepAlive(std::string bytes) override { answer_->SetKeepAlive(std::move(bytes)); }
  void OnGone(std::function<void()> gone) override { answer_->OnGone(std::move(gone)); }

 private:
  std::shared_ptr<Answer> answer_;
};

Answer::Answer(Request request, std::shared_ptr<AnswerReader> reader, ErrorBody error_body, size_t most_waiting,
               BodyRoom room)
    : request_(std::move(request)),
      error_body_(std::move(error_body)),
      most_waiting_(most_waiting),
      room_(std::move(room)),
      reader_(std::move(reader)) {}

Answer::~Answer() {
  std::error_code ignored;
  if (!request_.body_file.empty()) std::filesystem::remove(request_.body_file, ignored);
}

std::shared_ptr<Exchange> Answer::MakeExchange() {
  return std::make_shared<Handle>(shared_from_this());
}

void Answer::Wake() {
  if (woken_ || !reader_) return;
  woken_ = true;
  reader_->AnswerReady();
}

void Answer::TellGone(std::unique_lock<std::mutex>& lock) {
  std::function<void()> gone = std::move(gone_);
  gone_ = nullptr;
  lock.unlock();
  if (gone) gone();
}

void Answer::Send(Reply reply) {
  std::function<void()> forgotten;  // goes after the lock: it may hold the last of something
  const std::lock_guard lock(mutex_);
  if (phase_ != Phase::kWaiting) return;
  phase_ = Phase::kComplete;
  forgotten = std::exchange(gone_, nullptr);
  start_ = {reply.status, std::move(reply.content_type), std::move(reply.headers), /*streamed=*/false};
  waiting_ = std::move(reply.body);
  end_waits_ = true;
  Wake();
}

void Answer::Begin(int status, std::string content_type, Headers headers) {
  const std::lock_guard lock(mutex_);
  if (phase_ != Phase::kWaiting) return;
  phase_ = Phase::kStreaming;
  start_ = {status, std::move(content_type), std::move(headers), /*streamed=*/true};
  Wake();
}

bool Answer::Write(std::string bytes) {
  const std::lock_guard lock(mutex_);
  if (phase_ != Phase::kStreaming || !reader_ || cut_) return false;
  const size_t before = waiting_.size() + taken_;
  if (before > 0 && before + bytes.size() > most_waiting_) {
    cut_ = true;  // OnGone follows from the connection's thread: the caller may hold what it wants
    Wake();
    return false;
  }
  if (waiting_.empty()) {
    waiting_ = std::move(bytes);
  } else {
    waiting_ += bytes;
  }
  if (!waiting_.empty()) Wake();
  return true;
}

void Answer::End() {
  std::function<void()> forgotten;
  const std::lock_guard lock(mutex_);
  if (phase_ != Phase::kStreaming) return;
  phase_ = Phase::kComplete;
  if (!cut_) forgotten = std::exchange(gone_, nullptr);
  end_waits_ = true;
  Wake();
}

void Answer::SetKeepAlive(std::string bytes) {
  const std::lock_guard lock(mutex_);
  keep_alive_ = std::move(bytes);
}

std::string Answer::KeepAlive() {
  const std::lock_guard lock(mutex_);
  return phase_ == Phase::kStreaming && waiting_.empty() ? keep_alive_ : std::string();
}

void Answer::OnGone(std::function<void()> gone) {
  std::unique_lock lock(mutex_);
  if (phase_ == Phase::kComplete) return;
  std::swap(gone_, gone);  // an earlier one is forgotten, after the lock
  if (silent_) TellGone(lock);
}

void Answer::Fail(std::exception_ptr failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    SendError(StatusOf(error.code()), error.what(),
              error.code() == ErrorCode::kBusy ? Headers{{"retry-after", "1"}} : Headers{});
  } catch (const std::bad_alloc&) {
    SendError(500, "out of memory");
  } catch (const std::exception& error) {
    SendError(500, error.what());
  } catch (...) {
    SendError(500, "the request failed");
  }
  LetGo();  // a stream that had begun
}

void Answer::SendError(int status, std::string_view message, Headers headers) {
  Reply reply;
  try {
    reply = error_body_({request_.path, status, message});
  } catch (const std::exception&) {
    reply = PlainErrorBody({request_.path, status, message});
  }
  reply.status = status;
  reply.headers.insert(reply.headers.end(), headers.begin(), headers.end());
  Send(std::move(reply));
}

void Answer::LetGo() {
  std::function<void()> forgotten;
  {
    const std::lock_guard lock(mutex_);
    if (!cut_) forgotten = std::exchange(gone_, nullptr);  // else the connection's thread is about to tell
    if (phase_ == Phase::kStreaming) {
      phase_ = Phase::kComplete;
      cut_ = true;
      Wake();
    }
    if (phase_ == Phase::kComplete) return;
  }
  SendError(500, "the request was not answered");
}

AnswerPart Answer::Take() {
  const std::lock_guard lock(mutex_);
  woken_ = false;
  AnswerPart part;
  part.start = std::exchange(start_, std::nullopt);
  part.bytes = std::exchange(waiting_, {});
  part.end = std::exchange(end_waits_, false);
  part.cut = cut_;
  taken_ += part.bytes.size();
  return part;
}

void Answer::Wrote() {
  const std::lock_guard lock(mutex_);
  taken_ = 0;
}

void Answer::ClientSilent() {
  std::unique_lock lock(mutex_);
  silent_ = true;
  TellGone(lock);
}

void Answer::ClientGone() {
  std::shared_ptr<AnswerReader> reader;
  std::unique_lock lock(mutex_);
  reader = std::move(reader_);
  silent_ = true;
  waiting_ = {};
  TellGone(lock);
}

}  // namespace edgellm::http
