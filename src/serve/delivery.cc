// See delivery.h.
#include "serve/delivery.h"

#include <utility>

namespace edgellm {
namespace {

AnswerEnd::Reason ReasonOf(FinishReason finish) {
  using Reason = AnswerEnd::Reason;
  switch (finish) {
    case FinishReason::kNone:
    case FinishReason::kStop:
      return Reason::kStop;
    case FinishReason::kLength:
      return Reason::kLength;
    case FinishReason::kContextFull:
      return Reason::kContextFull;
    case FinishReason::kCancelled:
      return Reason::kCancelled;
    case FinishReason::kFailed:
      return Reason::kFailed;
    case FinishReason::kDeadEnd:
      return Reason::kDeadEnd;
  }
  return Reason::kFailed;
}

bool IsEmpty(const AnswerPiece& piece) {
  return piece.content.empty() && piece.thinking.empty() && piece.tool_calls.empty() && piece.tokens.empty();
}

}  // namespace

class Delivery::OpenRequest {
 public:
  OpenRequest(const text::Tokenizer& tokenizer, std::vector<AnswerStream> streams, uint64_t seed,
              AnswerListener listener, std::shared_ptr<std::atomic<int>> open)
      : tokenizer_(&tokenizer),
        seed_(seed),
        listener_(std::move(listener)),
        counter_(std::move(open)),
        unfinished_(static_cast<int>(streams.size())) {
    for (AnswerStream& stream : streams) answers_.push_back({std::move(stream)});
    counter_->fetch_add(1, std::memory_order_relaxed);
  }
  ~OpenRequest() { Close(); }
  OpenRequest(const OpenRequest&) = delete;
  OpenRequest& operator=(const OpenRequest&) = delete;

  /// Throws what a listener throws.
  void Take(const Event& event, const std::pair<RequestStatistics, std::string>* ending, const CancelAnswer& cancel) {
    if (ending != nullptr && --unfinished_ == 0) Close();  // before the listener knows: who looks sees it gone
    if (deaf_) return;
    const AnswerStream::Token token = {event.token, event.log_probability, event.likeliest};
    if (event.prompt) {
      prompt_.tokens.push_back(AnswerStream::FactsOf(*tokenizer_, token));
      return;
    }
    Answer& answer = answers_[static_cast<size_t>(event.sample)];
    AnswerPiece piece;
    piece.sample = event.sample;
    if (event.token >= 0) answer.stream.Push(token, &piece);
    const bool early = answer.stream.ended();
    if (early && ending == nullptr && !answer.cancelled) {
      answer.cancelled = true;
      cancel(event.request, event.sample);
    }
    if (ending != nullptr) answer.stream.Finish(&piece);
    deaf_ = true;  // unless the listener comes back
    if (!prompt_.tokens.empty()) {
      prompt_.prompt = true;
      Tell(std::exchange(prompt_, {}));
    }
    if (!IsEmpty(piece)) Tell(piece);
    if (ending != nullptr) End(answer, event, *ending, early);
    deaf_ = false;
    if (unfinished_ == 0) listener_ = {};  // what it holds is let go here, not by the engine's thread
  }
  void Forget() {
    deaf_ = true;
    listener_ = {};
  }

 private:
  struct Answer {
    AnswerStream stream;
    bool cancelled = false;
  };

  void Tell(const AnswerPiece& piece) const {
    if (listener_.piece) listener_.piece(piece);
  }

  void End(const Answer& answer, const Event& event, const std::pair<RequestStatistics, std::string>& ending,
           bool early) const {
    AnswerEnd end;
    end.sample = event.sample;
    end.stop_string = answer.stream.stop_string();
    end.reason = early || !end.stop_string.empty() ? AnswerEnd::Reason::kStop : ReasonOf(event.finish);
    if (end.reason == AnswerEnd::Reason::kStop && end.stop_string.empty() && answer.stream.calls() > 0) {
      end.reason = AnswerEnd::Reason::kToolCalls;
    }
    if (end.reason == AnswerEnd::Reason::kFailed) end.failure = ending.second;
    if (end.reason == AnswerEnd::Reason::kDeadEnd) {
      end.failure = "the answer's format cannot go on: no token of this model's vocabulary continues it";
    }
    end.seed = SeedOf(seed_, event.sample);
    end.statistics = ending.first;
    end.tokens = answer.stream.tokens();
    // What the engine made before it heard of the end is no part of the answer.
    if (early) end.statistics.generated_tokens = static_cast<int>(end.tokens.size());
    if (listener_.ended) listener_.ended(end);
  }

  void Close() {
    if (!std::exchange(closed_, true)) counter_->fetch_sub(1, std::memory_order_relaxed);
  }

  const text::Tokenizer* tokenizer_;
  const uint64_t seed_;
  AnswerListener listener_;
  const std::shared_ptr<std::atomic<int>> counter_;
  std::vector<Answer> answers_;
  AnswerPiece prompt_;  // its tokens so far
  int unfinished_;
  bool deaf_ = false, closed_ = false;
};

Delivery::Delivery(CancelAnswer cancel) : cancel_(std::move(cancel)), open_(std::make_shared<std::atomic<int>>(0)) {
  thread_ = std::thread([this] { Main(); });
  thread_id_ = thread_.get_id();
}

Delivery::~Delivery() {
  Stop();
}

std::shared_ptr<Delivery::OpenRequest> Delivery::Open(const text::Tokenizer& tokenizer,
                                                      std::vector<AnswerStream> streams, uint64_t seed,
                                                      AnswerListener listener) {
  return std::make_shared<OpenRequest>(tokenizer, std::move(streams), seed, std::move(listener), open_);
}

void Delivery::Push(const std::shared_ptr<OpenRequest>& request, const Event& event, const Ending* ending) {
  Arrival arrival = {request, event, nullptr, nullptr, nullptr};
  arrival.event.likeliest = {};
  if (!event.likeliest.empty()) {
    arrival.likeliest =
        std::make_unique<std::vector<TokenLogProbability>>(event.likeliest.begin(), event.likeliest.end());
  }
  if (ending != nullptr) {
    arrival.ending =
        std::make_unique<std::pair<RequestStatistics, std::string>>(ending->statistics, std::string(ending->failure));
  }
  Put(std::move(arrival));
}

void Delivery::Post(std::function<void()> work) {
  Put({nullptr, {}, nullptr, nullptr, std::move(work)});
}

void Delivery::Put(Arrival arrival) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = arrivals_.empty();
    arrivals_.push_back(std::move(arrival));
  }
  if (first) arrived_.notify_one();  // else the thread is awake, or about to be
}

void Delivery::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  arrived_.notify_one();
  const std::lock_guard joining(joining_);
  if (thread_.joinable()) thread_.join();
}

void Delivery::Deliver(Arrival& arrival) {
  if (arrival.work) return arrival.work();
  if (arrival.likeliest) arrival.event.likeliest = *arrival.likeliest;
  try {
    arrival.request->Take(arrival.event, arrival.ending.get(), cancel_);
  } catch (...) {
    arrival.request->Forget();
    cancel_(arrival.event.request, kAllSamples);
  }
}

void Delivery::Main() {
  std::vector<Arrival> batch;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      arrived_.wait(lock, [this] { return !arrivals_.empty() || stopping_; });
      if (arrivals_.empty()) return;
      batch.swap(arrivals_);
    }
    for (Arrival& arrival : batch) Deliver(arrival);
    batch.clear();
  }
}

}  // namespace edgellm
