// See fakes.h.
#include "tests/api/fakes.h"

#include <atomic>
#include <utility>

#include "base/error.h"

namespace edgellm::api {

class FakeModels::Model final : public UsedModel {
 public:
  explicit Model(FakeModels* models) : models_(models) {
    const std::lock_guard lock(models_->mutex_);
    ++models_->in_use_;
  }
  ~Model() override {
    const std::lock_guard lock(models_->mutex_);
    --models_->in_use_;
  }
  ServedModel::Ticket Start(GenerateRequest request, AnswerListener listener) override {
    return models_->Start(std::move(request), std::move(listener));
  }
  void Cancel(RequestId id) override { models_->Cancel(id); }
  /// A token for each byte, after 1000; 1 before all.
  std::vector<int32_t> Encode(const GenerateRequest& request) const override {
    std::vector<int32_t> tokens = {1};
    const auto add = [&](std::string_view text) {
      for (const char c : text) tokens.push_back(1000 + static_cast<unsigned char>(c));
    };
    if (const auto* chat = std::get_if<ChatInput>(&request.input)) {
      for (const ChatMessage& message : chat->messages) add(message.content);
    } else if (const auto* text = std::get_if<TextInput>(&request.input)) {
      add(text->text);
    } else {
      tokens = std::get<TokenInput>(request.input).tokens;
    }
    return tokens;
  }
  std::string Decode(std::span<const int32_t> tokens) const override {
    std::string text;
    for (const int32_t token : tokens) {
      if (token >= 1000) text += static_cast<char>(token - 1000);
    }
    return text;
  }
  bool has_chat_template() const override { return true; }
  std::optional<int32_t> begin_of_text() const override { return 1; }
  int64_t load_time() const override { return 5'000'000; }

 private:
  FakeModels* models_;
};

void FakeModels::Acquire(LoadRequest request, Ready ready) {
  std::exception_ptr failure;
  {
    const std::lock_guard lock(mutex_);
    loads_.push_back(std::move(request));
    failure = load_failure_;
  }
  if (failure) return ready(nullptr, failure);
  ready(std::make_shared<Model>(this), nullptr);
}

bool FakeModels::Unload(const std::string& model) {
  const std::lock_guard lock(mutex_);
  unloads_.push_back(model);
  return true;
}

void FakeModels::Say(Script script) {
  const std::lock_guard lock(mutex_);
  scripts_.push_back(std::move(script));
}

void FakeModels::FailLoading(std::exception_ptr failure) {
  const std::lock_guard lock(mutex_);
  load_failure_ = std::move(failure);
}

ServedModel::Ticket FakeModels::Start(GenerateRequest request, AnswerListener listener) {
  const auto open = std::make_shared<Open>();
  {
    const std::lock_guard lock(mutex_);
    EDGELLM_CHECK(!scripts_.empty(), "a test must say what the model says");
    open->id = next_id_++;
    open->samples = request.options.samples;
    open->listener = std::move(listener);
    open->script = scripts_.front();
    if (scripts_.size() > 1) scripts_.pop_front();
    requests_.push_back(std::move(request));
    if (open->script.refusal) std::rethrow_exception(open->script.refusal);
    if (when_ == When::kLater) open_.push_back(open);
  }
  if (when_ == When::kInStart) PlayOne(open.get(), SIZE_MAX);
  ServedModel::Ticket ticket = open->script.ticket;
  ticket.id = open->id;
  return ticket;
}

void FakeModels::Cancel(RequestId id) {
  const std::lock_guard lock(mutex_);
  cancelled_.push_back(id);
  for (const auto& open : open_) {
    if (open->id == id) open->cancelled = true;
  }
}

bool FakeModels::PlayOne(Open* open, size_t pieces) {
  const Script& script = open->script;
  for (; !open->cancelled && pieces > 0 && open->next < script.pieces.size(); --pieces) {
    open->listener.piece(script.pieces[open->next++]);
  }
  if (!open->cancelled && open->next < script.pieces.size()) return false;
  for (int sample = 0; sample < open->samples; ++sample) {
    AnswerEnd end = script.ends.empty() ? End() : script.ends[static_cast<size_t>(sample) % script.ends.size()];
    end.sample = sample;
    if (open->cancelled) end.reason = AnswerEnd::Reason::kCancelled;
    open->listener.ended(end);
  }
  return true;
}

void FakeModels::Play(size_t pieces) {
  std::vector<std::shared_ptr<Open>> open;
  {
    const std::lock_guard lock(mutex_);
    open = open_;
  }
  for (const auto& one : open) {
    if (!PlayOne(one.get(), pieces)) continue;
    one->listener = {};
    const std::lock_guard lock(mutex_);
    std::erase(open_, one);
  }
}

std::vector<LoadRequest> FakeModels::loads() const {
  const std::lock_guard lock(mutex_);
  return loads_;
}

std::vector<std::string> FakeModels::unloads() const {
  const std::lock_guard lock(mutex_);
  return unloads_;
}

std::vector<GenerateRequest> FakeModels::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

std::vector<RequestId> FakeModels::cancelled() const {
  const std::lock_guard lock(mutex_);
  return cancelled_;
}

int FakeModels::in_use() const {
  const std::lock_guard lock(mutex_);
  return in_use_;
}

FakeExchange::FakeExchange(std::string path, std::string body) {
  request_.method = "POST";
  request_.path = std::move(path);
  request_.body = std::move(body);
}

void FakeExchange::Send(http::Reply reply) {
  std::function<void()> forgotten;  // goes after the lock: it may hold this
  const std::lock_guard lock(mutex_);
  forgotten = std::exchange(gone_, {});
  ++received_.answers;
  received_.status = reply.status;
  received_.content_type = std::move(reply.content_type);
  received_.headers = std::move(reply.headers);
  received_.body = std::move(reply.body);
  received_.complete = true;
}

void FakeExchange::Begin(int status, std::string content_type, http::Headers headers) {
  const std::lock_guard lock(mutex_);
  ++received_.answers;
  received_.status = status;
  received_.content_type = std::move(content_type);
  received_.headers = std::move(headers);
  received_.streamed = true;
}

void FakeExchange::KeepAlive(std::string bytes) {
  const std::lock_guard lock(mutex_);
  received_.keep_alive = std::move(bytes);
}

bool FakeExchange::Write(std::string bytes) {
  const std::lock_guard lock(mutex_);
  if (left_ || !reading_) return false;
  received_.body += bytes;
  return true;
}

void FakeExchange::End() {
  std::function<void()> forgotten;
  const std::lock_guard lock(mutex_);
  forgotten = std::exchange(gone_, {});
  received_.complete = true;
}

void FakeExchange::OnGone(std::function<void()> gone) {
  {
    const std::lock_guard lock(mutex_);
    if (!left_) {
      if (!received_.complete) std::swap(gone_, gone);
      return;
    }
  }
  gone();
}

void FakeExchange::Leave() {
  std::function<void()> gone;
  {
    const std::lock_guard lock(mutex_);
    left_ = true;
    gone = std::exchange(gone_, {});
  }
  if (gone) gone();
}

void FakeExchange::StopReading() {
  const std::lock_guard lock(mutex_);
  reading_ = false;
}

FakeExchange::Received FakeExchange::received() const {
  const std::lock_guard lock(mutex_);
  return received_;
}

bool FakeSocket::Send(std::string text) {
  const std::lock_guard lock(mutex_);
  received_.push_back(std::move(text));
  return true;
}

void FakeSocket::Close(uint16_t code, std::string) {
  closed_ = code;
}

std::vector<std::string> FakeSocket::Take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(received_, {});
}

std::shared_ptr<Services> FakeServices(std::shared_ptr<FakeModels> models) {
  auto services = std::make_shared<Services>();
  services->models = std::move(models);
  services->post = [](const std::function<void()>& task) { task(); };
  const auto steady = std::make_shared<std::atomic<int64_t>>(0);
  services->clock = {[] { return kWallTime; }, [steady] { return *steady += 1'000'000'000; }};
  services->new_id = [] { return std::string("000000000000000000000001"); };
  return services;
}

std::shared_ptr<FakeExchange> SendTo(const ServicesPointer& services, const std::string& path,
                                     const std::string& body) {
  auto exchange = std::make_shared<FakeExchange>(path, body);
  for (const GenerationRoute& route : GenerationRoutes()) {
    if (route.pattern == path) route.handle(services, exchange);
  }
  return exchange;
}

AnswerPiece Text(std::string content, int sample) {
  AnswerPiece piece;
  piece.sample = sample;
  piece.content = std::move(content);
  return piece;
}

AnswerEnd End(AnswerEnd::Reason reason, int sample) {
  AnswerEnd end;
  end.sample = sample;
  end.reason = reason;
  end.seed = 42;
  RequestStatistics& s = end.statistics;
  s.prompt_tokens = 7;
  s.cached_tokens = 2;
  s.generated_tokens = 3;
  s.submitted = 1'000'000'000;
  s.first_scheduled = 1'001'000'000;
  s.first_token = 1'021'000'000;
  s.last_token = 1'051'000'000;
  s.finished = 1'052'000'000;
  s.longest_gap = 11'000'000;
  end.tokens = {21, 22, 23};
  return end;
}

Script Says(std::vector<std::string> pieces, AnswerEnd::Reason reason) {
  Script script;
  for (std::string& piece : pieces) script.pieces.push_back(Text(std::move(piece)));
  script.ends = {End(reason)};
  script.ticket.prompt = {.tokens = 7, .dropped_messages = 0, .dropped_tokens = 0, .context = 4096};
  return script;
}

}  // namespace edgellm::api
