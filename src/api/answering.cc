// See answering.h.
#include "api/answering.h"

#include <deque>
#include <mutex>
#include <utility>
#include <variant>

namespace edgellm::api {
namespace {

class Answer final : public Answering, public std::enable_shared_from_this<Answer> {
 public:
  Answer(ServicesPointer services, std::shared_ptr<AnswerSink> sink, Ask ask, int64_t received)
      : services_(std::move(services)), sink_(std::move(sink)), ask_(std::move(ask)) {
    opening_.received = received;
    opening_.id = services_->new_id();
    opening_.created = services_->clock.wall();
    for (const GenerateRequest& request : ask_.requests) {
      answers_.emplace_back(static_cast<size_t>(request.options.samples));
    }
  }

  void Begin() {
    services_->models->Acquire(
        ask_.load, [self = shared_from_this()](std::shared_ptr<UsedModel> model, std::exception_ptr failure) {
          self->services_->post([self, model = std::move(model), failure]() mutable {
            if (failure) return self->Refuse(FailureOf(failure, Stage::kLoad, self->ask_.load.model));
            self->Start(std::move(model));
          });
        });
  }

  void Cancel() override {
    std::unique_lock lock(mutex_);
    cancelled_ = true;
    CancelStarted(&lock);
  }

 private:
  /// What came before the stream was begun: pieces may be there before Start has returned.
  struct Early {
    size_t request;
    std::variant<AnswerPiece, AnswerEnd> what;
  };

  void Refuse(const Failure& failure) {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    if (!cancelled_ || sink_->takes_cancelled()) sink_->Refuse(failure);
  }

  void Start(std::shared_ptr<UsedModel> model) {
    {
      const std::lock_guard lock(mutex_);
      if (cancelled_ && !sink_->takes_cancelled()) {
        closed_ = true;
        return;
      }
      model_ = model;
    }
    opening_.load_time = model->load_time();
    try {
      if (ask_.prepare) ask_.prepare(*model, &ask_.requests);
      for (size_t i = 0; i < ask_.requests.size(); ++i) StartOne(*model, i);
    } catch (...) {
      Refuse(FailureOf(std::current_exception(), Stage::kRequest));
      std::shared_ptr<UsedModel> unused;
      std::unique_lock lock(mutex_);
      all_started_ = true;
      unused = ReleaseIfEnded();
      CancelStarted(&lock);
      return;
    }
    Open();
  }

  void StartOne(UsedModel& model, size_t index) {
    GenerateRequest& request = ask_.requests[index];
    if (ask_.keep_prompt_tokens) opening_.prompt_tokens.push_back(model.Encode(request));
    AnswerListener listener;
    listener.piece = [self = shared_from_this(), index](const AnswerPiece& piece) { self->OnPiece(index, piece); };
    listener.ended = [self = shared_from_this(), index](const AnswerEnd& end) { self->OnEnded(index, end); };
    const int samples = request.options.samples;
    ServedModel::Ticket ticket = model.Start(std::move(request), std::move(listener));
    const std::lock_guard lock(mutex_);
    open_answers_ += samples;
    opening_.tickets.push_back(std::move(ticket));
  }

  /// All are started: the stream begins, and what has come meanwhile goes out.
  void Open() {
    std::shared_ptr<UsedModel> unused;
    std::unique_lock lock(mutex_);
    all_started_ = true;
    if (ask_.stream) {
      sink_->Begin(ask_.stream->content_type(), ask_.stream->keep_alive());
      std::string out;
      ask_.stream->Begin(opening_, &out);
      Write(std::move(out));
    }
    opened_ = true;
    for (const Early& early : std::exchange(early_, {})) {
      if (const auto* piece = std::get_if<AnswerPiece>(&early.what)) {
        Deliver(early.request, *piece);
      } else {
        Deliver(early.request, std::get<AnswerEnd>(early.what));
      }
    }
    unused = ReleaseIfEnded();
    if (cancelled_) CancelStarted(&lock);
  }

  void OnPiece(size_t request, const AnswerPiece& piece) {
    std::unique_lock lock(mutex_);
    if (closed_) return;
    if (!opened_) {
      early_.push_back({request, piece});
      return;
    }
    const bool before = cancelled_;
    Deliver(request, piece);
    if (cancelled_ && !before) CancelStarted(&lock);
  }

  void OnEnded(size_t request, const AnswerEnd& end) {
    std::shared_ptr<UsedModel> unused;
    std::unique_lock lock(mutex_);
    ++ended_answers_;
    const bool before = cancelled_;
    if (!opened_ && !closed_) {
      early_.push_back({request, end});
    } else if (!closed_) {
      Deliver(request, end);
    }
    unused = ReleaseIfEnded();
    if (cancelled_ && !before) CancelStarted(&lock);
  }

  // Below here the lock is held.

  void Write(std::string out) {
    if (out.empty() || closed_) return;
    if (!sink_->Write(std::move(out))) {
      cancelled_ = true;
      closed_ = true;
    }
  }

  void Deliver(size_t request, const AnswerPiece& piece) {
    if (closed_) return;
    if (!ask_.stream) {
      answers_[request][static_cast<size_t>(piece.sample)].Add(piece);
      return;
    }
    std::string out;
    ask_.stream->Piece(request, piece, &out);
    Write(std::move(out));
  }

  void Deliver(size_t request, const AnswerEnd& end) {
    if (closed_) return;
    ++delivered_ends_;
    if (const auto failure = FailureIn(end)) return Break(*failure);
    std::string out;
    if (ask_.stream) {
      ask_.stream->Ended(request, end, &out);
    } else {
      answers_[request][static_cast<size_t>(end.sample)].end = end;
    }
    const bool last = delivered_ends_ == open_answers_;
    if (last && ask_.stream) ask_.stream->Finish(&out);
    Write(std::move(out));
    if (!last || closed_) return;
    closed_ = true;
    if (ask_.stream) return sink_->End();
    // A long answer with its log-probabilities takes a while to be written, and other answers wait behind this thread.
    services_->post(
        [self = shared_from_this()] { self->sink_->Whole(self->ask_.body(self->opening_, self->answers_)); });
  }

  std::optional<Failure> FailureIn(const AnswerEnd& end) const {
    switch (end.reason) {
      case AnswerEnd::Reason::kCancelled:
        if (sink_->takes_cancelled() && cancelled_) return std::nullopt;
        return Failure{Stage::kAnswer, ErrorCode::kBusy, "the answer was cancelled: the model is being unloaded", ""};
      case AnswerEnd::Reason::kFailed:
      case AnswerEnd::Reason::kDeadEnd:
        return Failure{Stage::kAnswer, ErrorCode::kEnvironment, end.failure, ""};
      default:
        return std::nullopt;
    }
  }

  /// Says what went wrong, and ends the other answers of the ask.
  void Break(const Failure& failure) {
    closed_ = true;
    const bool gone = std::exchange(cancelled_, true) && !sink_->takes_cancelled();
    if (gone) return;
    if (!ask_.stream) return sink_->Refuse(failure);
    std::string out;
    ask_.stream->Fail(failure, &out);
    sink_->Write(std::move(out));
    sink_->End();
  }

  /// Cancels outside of the lock, which is given back: cancelling may tell the listeners at once.
  void CancelStarted(std::unique_lock<std::mutex>* lock) {
    const std::shared_ptr<UsedModel> model = model_;
    const std::vector<ServedModel::Ticket> tickets = opening_.tickets;
    const bool started = all_started_;
    lock->unlock();
    if (!model || !started) return;
    for (const ServedModel::Ticket& ticket : tickets) model->Cancel(ticket.id);
  }

  /// Lets the model go when the last answer has ended; the caller keeps it until the lock is given back, as whoever
  /// unloads it may take its time.
  std::shared_ptr<UsedModel> ReleaseIfEnded() {
    if (!all_started_ || ended_answers_ < open_answers_) return nullptr;
    return std::exchange(model_, nullptr);
  }

  const ServicesPointer services_;
  const std::shared_ptr<AnswerSink> sink_;
  Ask ask_;

  std::mutex mutex_;
  std::shared_ptr<UsedModel> model_;
  Opening opening_;
  WholeAnswers answers_;
  std::deque<Early> early_;
  bool all_started_ = false;  // no more of the ask's requests are to be started
  bool opened_ = false;       // pieces go out
  bool closed_ = false;       // nothing more goes out
  bool cancelled_ = false;
  int open_answers_ = 0, ended_answers_ = 0, delivered_ends_ = 0;
};

class ExchangeSink final : public AnswerSink {
 public:
  ExchangeSink(std::shared_ptr<http::Exchange> exchange, ErrorForm form, http::Headers headers)
      : exchange_(std::move(exchange)), form_(form), headers_(std::move(headers)) {}

  void Refuse(const Failure& failure) override { exchange_->Send(ErrorReply(failure, form_)); }
  void Whole(std::string body) override { exchange_->Send({.body = std::move(body), .headers = std::move(headers_)}); }
  void Begin(std::string_view content_type, std::string_view keep_alive) override {
    // Proxies must neither keep nor gather what is to be seen at once.
    headers_.emplace_back("cache-control", "no-cache");
    headers_.emplace_back("x-accel-buffering", "no");
    exchange_->Begin(200, std::string(content_type), std::move(headers_));
    if (!keep_alive.empty()) exchange_->KeepAlive(std::string(keep_alive));
  }
  bool Write(std::string bytes) override { return exchange_->Write(std::move(bytes)); }
  void End() override { exchange_->End(); }

 private:
  std::shared_ptr<http::Exchange> exchange_;
  ErrorForm form_;
  http::Headers headers_;
};

/// Text that can stand in a header.
std::string HeaderText(std::string_view text) {
  std::string value(text.substr(0, 300));
  for (char& c : value) {
    if (c < 0x20 || c > 0x7e) c = '?';
  }
  return value;
}

}  // namespace

void WholeAnswer::Add(const AnswerPiece& piece) {
  content += piece.content;
  thinking += piece.thinking;
  tool_calls.insert(tool_calls.end(), piece.tool_calls.begin(), piece.tool_calls.end());
  std::vector<TokenFacts>& list = piece.prompt ? prompt_tokens : tokens;
  list.insert(list.end(), piece.tokens.begin(), piece.tokens.end());
}

std::shared_ptr<Answering> StartAnswer(ServicesPointer services, std::shared_ptr<AnswerSink> sink, Ask ask,
                                       int64_t received) {
  const auto answer = std::make_shared<Answer>(std::move(services), std::move(sink), std::move(ask), received);
  answer->Begin();
  return answer;
}

void Serve(const ServicesPointer& services, std::shared_ptr<http::Exchange> exchange, ErrorForm form,
           std::function<void(const Call&)> work) {
  Call call{services, std::move(exchange), form, services->clock.steady()};
  services->post([call = std::move(call), work = std::move(work)] {
    try {
      work(call);
    } catch (...) {
      call.exchange->Send(ErrorReply(FailureOf(std::current_exception(), Stage::kRequest), call.form));
    }
  });
}

void AnswerCall(const Call& call, Ask ask) {
  http::Headers headers;
  constexpr size_t kMostWarnings = 8;
  for (size_t i = 0; i < ask.warnings.size() && i < kMostWarnings; ++i) {
    headers.emplace_back("x-edgellm-warning", HeaderText(ask.warnings[i]));
  }
  auto sink = std::make_shared<ExchangeSink>(call.exchange, call.form, std::move(headers));
  const auto answer = StartAnswer(call.services, std::move(sink), std::move(ask), call.received);
  // The exchange must not keep the answer, which keeps the exchange.
  call.exchange->OnGone([weak = std::weak_ptr<Answering>(answer)] {
    if (const auto alive = weak.lock()) alive->Cancel();
  });
}

}  // namespace edgellm::api
