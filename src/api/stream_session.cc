// See stream_session.h.
#include "api/stream_session.h"

#include <deque>
#include <mutex>
#include <utility>

#include "api/answering.h"
#include "api/json_input.h"
#include "api/openai_writer.h"

namespace edgellm::api {
namespace {

constexpr size_t kMostWaiting = 64;                     // messages that are not read yet
constexpr size_t kMostConversation = size_t{32} << 20;  // bytes
constexpr uint16_t kPolicyViolation = 1008;

/// {"type":"…","id":"…"   and no closing brace; no id where there is none.
std::string MessageStart(std::string_view type, const std::string& id) {
  std::string start = "{\"type\":" + Quoted(type);
  if (!id.empty()) start += ",\"id\":" + Quoted(id);
  return start;
}

std::string ErrorMessage(const Failure& failure, const std::string& id) {
  const std::string body = ErrorBody(failure, ErrorForm::kOpenAi);
  return MessageStart("error", id) + ',' + body.substr(1);
}

size_t BytesOf(const std::vector<ChatMessage>& messages) {
  size_t bytes = 0;
  for (const ChatMessage& message : messages) {
    bytes += sizeof message + message.content.size() + message.thinking.size();
    for (const auto& call : message.tool_calls) bytes += sizeof call + call.arguments.size();
  }
  return bytes;
}

/// What the connection and the answers share; lives as long as either.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(ServicesPointer services, std::shared_ptr<http::WebSocket> socket)
      : services_(std::move(services)), socket_(std::move(socket)) {}

  /// Messages are read one after the other, away from the server's thread.
  void Take(std::string text) {
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.size() >= kMostWaiting) {
        socket_->Close(kPolicyViolation, "too many messages at once");
        return;
      }
      waiting_.push_back(std::move(text));
      if (std::exchange(reading_, true)) return;
    }
    services_->post([self = shared_from_this()] { self->ReadWaiting(); });
  }

  void Leave() {
    {
      const std::lock_guard lock(mutex_);
      gone_ = true;
      waiting_.clear();
    }
    services_->post([self = shared_from_this()] { self->Cancel(); });
  }

  bool idle() const {
    const std::lock_guard lock(mutex_);
    return !answering_ && waiting_.empty() && !reading_;
  }

  bool Send(std::string text) { return socket_->Send(std::move(text)); }

  /// The answer has ended: what was asked and said is part of the conversation.
  void Keep(ChatMessage answer) {
    const std::lock_guard lock(mutex_);
    conversation_ = std::move(turn_);
    conversation_.push_back(std::move(answer));
    turn_.clear();
    answering_ = false;
  }
  /// There is no answer: all is as it was.
  void Forget() {
    const std::lock_guard lock(mutex_);
    turn_.clear();
    answering_ = false;
  }

 private:
  void ReadWaiting() {
    std::unique_lock lock(mutex_);
    while (!waiting_.empty()) {
      const std::string text = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      Read(text);
      lock.lock();
    }
    reading_ = false;
  }

  void Read(const std::string& text) {
    std::string id;
    try {
      StreamMessage message = ParseStreamMessage(text, model_);
      id = message.id;
      if (message.kind == StreamMessage::Kind::kCancel) return Cancel();
      Generate(std::move(message));
    } catch (...) {
      Send(ErrorMessage(FailureOf(std::current_exception(), Stage::kRequest), id));
    }
  }

  void Cancel() {
    std::shared_ptr<Answering> answer;
    {
      const std::lock_guard lock(mutex_);
      answer = answer_.lock();
    }
    if (answer) answer->Cancel();
  }

  void Generate(StreamMessage message);

  const ServicesPointer services_;
  const std::shared_ptr<http::WebSocket> socket_;
  std::string model_;  // of the last turn; for the reader of messages alone

  mutable std::mutex mutex_;
  std::deque<std::string> waiting_;
  bool reading_ = false, answering_ = false, gone_ = false;
  std::weak_ptr<Answering> answer_;
  std::vector<ChatMessage> conversation_, turn_;  // turn_: with what is being answered
};

/// One answer as messages: each call of the writer makes one.
class Writer final : public StreamWriter {
 public:
  Writer(std::shared_ptr<Session> session, std::string id, Clock clock)
      : session_(std::move(session)),
        id_(std::move(id)),
        clock_(std::move(clock)),
        delta_(MessageStart("delta", id_)) {}

  std::string_view content_type() const override { return ""; }

  void Begin(const Opening& opening, std::string* out) override {
    opening_ = opening;
    const PromptFacts& prompt = opening.tickets[0].prompt;
    *out = MessageStart("start", id_) + ",\"prompt_tokens\":" + std::to_string(prompt.tokens) +
           ",\"context\":" + std::to_string(prompt.context);
    if (prompt.dropped_messages > 0) *out += ",\"dropped_messages\":" + std::to_string(prompt.dropped_messages);
    if (prompt.dropped_tokens > 0) *out += ",\"dropped_tokens\":" + std::to_string(prompt.dropped_tokens);
    *out += '}';
  }

  void Piece(size_t, const AnswerPiece& piece, std::string* out) override {
    answer_.Add(piece);
    answer_.tokens.clear();
    *out = delta_;
    *out += ',';
    const size_t empty = out->size();
    AppendDelta(out, piece);
    if (out->size() == empty) return out->clear();
    if (!piece.tokens.empty()) {
      *out += ",\"logprobs\":";
      AppendTokens(out, piece.tokens);
    }
    *out += '}';
  }

  void Ended(size_t, const AnswerEnd& end, std::string* out) override {
    ChatMessage message;
    message.role = "assistant";
    message.content = std::move(answer_.content);
    message.thinking = std::move(answer_.thinking);
    message.tool_calls = std::move(answer_.tool_calls);
    // Before the client knows: it may answer at once.
    session_->Keep(std::move(message));
    Usage usage;
    usage.AddPrompts(opening_);
    usage.Add(end);
    *out = MessageStart("end", id_) + ",\"finish_reason\":" + Quoted(FinishReasonText(end.reason)) +
           ",\"usage\":" + Dump(usage.ToJson()) + ",\"statistics\":" + Dump(StatisticsJson(end)) + '}';
  }

  void Finish(std::string*) override {}

  void Fail(const Failure& failure, std::string* out) override {
    session_->Forget();
    *out = ErrorMessage(failure, id_);
  }

 private:
  /// Durations in nanoseconds.
  Json StatisticsJson(const AnswerEnd& end) const {
    const RequestStatistics& s = end.statistics;
    const auto between = [](int64_t from, int64_t to) { return from > 0 && to > from ? to - from : 0; };
    return {{"total_duration", between(opening_.received, clock_.steady())},
            {"load_duration", opening_.load_time},
            {"queue_duration", between(s.submitted, s.first_scheduled)},
            {"prompt_duration", between(s.first_scheduled, s.first_token)},
            {"decode_duration", between(s.first_token, s.last_token)},
            {"longest_gap", s.longest_gap},
            {"seed", end.seed}};
  }

  std::shared_ptr<Session> session_;
  std::string id_;
  Clock clock_;
  std::string delta_;
  Opening opening_;
  WholeAnswer answer_;
};

class Sink final : public AnswerSink {
 public:
  Sink(std::shared_ptr<Session> session, std::string id) : session_(std::move(session)), id_(std::move(id)) {}

  void Refuse(const Failure& failure) override {
    session_->Forget();
    session_->Send(ErrorMessage(failure, id_));
  }
  void Whole(std::string) override {}
  void Begin(std::string_view, std::string_view) override {}
  bool Write(std::string bytes) override { return session_->Send(std::move(bytes)); }
  void End() override {}
  bool takes_cancelled() const override { return true; }

 private:
  std::shared_ptr<Session> session_;
  std::string id_;
};

void Session::Generate(StreamMessage message) {
  model_ = message.ask.load.model;
  auto& messages = std::get<ChatInput>(message.ask.requests[0].input).messages;
  {
    const std::lock_guard lock(mutex_);
    if (gone_) return;
    if (answering_) Refuse("type", "an answer is being made: cancel it, or wait for its end");
    turn_ = message.reset ? std::vector<ChatMessage>() : conversation_;
    turn_.insert(turn_.end(), messages.begin(), messages.end());
    if (BytesOf(turn_) > kMostConversation) {
      turn_.clear();
      Refuse("messages", "the conversation has become too long: begin anew with 'reset': true");
    }
    NameToolResults(&turn_);
    messages = turn_;
    answering_ = true;
  }
  const auto self = shared_from_this();
  Ask ask;
  ask.load = message.ask.load;
  ask.requests = std::move(message.ask.requests);
  ask.stream = std::make_unique<Writer>(self, message.id, services_->clock);
  const auto answer =
      StartAnswer(services_, std::make_shared<Sink>(self, message.id), std::move(ask), services_->clock.steady());
  const bool gone = [&] {
    const std::lock_guard lock(mutex_);
    answer_ = answer;
    return gone_;
  }();
  if (gone) answer->Cancel();
}

class Listener final : public http::WebSocketListener {
 public:
  explicit Listener(std::shared_ptr<Session> session) : session_(std::move(session)) {}
  void OnMessage(std::string text) override { session_->Take(std::move(text)); }
  bool IsIdle() const override { return session_->idle(); }
  void OnGone() override { session_->Leave(); }

 private:
  std::shared_ptr<Session> session_;
};

}  // namespace

StreamMessage ParseStreamMessage(std::string_view text, const std::string& model) {
  const Json json = ParseBody(text);
  const Fields fields(json, "");
  StreamMessage message;
  message.id = fields.Text("id").value_or("");
  const std::string type = fields.NeedText("type");
  if (type == "cancel") {
    message.kind = StreamMessage::Kind::kCancel;
    return message;
  }
  if (type != "generate") Refuse("type", "'type' must be \"generate\" or \"cancel\"");
  message.reset = fields.Boolean("reset").value_or(false);
  message.ask = ReadOpenAiChat(fields, model);
  if (message.ask.shape.samples != 1) RefuseUnsupported("n", "'n' must be 1: a conversation goes on from one answer");
  return message;
}

std::unique_ptr<http::WebSocketListener> MakeStreamSession(ServicesPointer services,
                                                           std::shared_ptr<http::WebSocket> socket) {
  return std::make_unique<Listener>(std::make_shared<Session>(std::move(services), std::move(socket)));
}

}  // namespace edgellm::api
