// A server whose model says back what it was told, at the pace of a model: what the official clients' suites
// (tests/sdk) run against where no real model is wanted. It calls the first function that it must or, at the word
// "call", may call, thinks when asked to, and answers {"ok": true} where a form is asked for. With an argument, a model
// file or folder, it is that model instead. Prints its address, and ends when its standard input does.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>
#include <mutex>
#include <sstream>
#include <thread>

#include "api/host_embeddings.h"
#include "api/host_models.h"
#include "api/routes.h"
#include "api/task_pool.h"
#include "base/error.h"
#include "convert/import.h"
#include "http/server.h"

namespace edgellm::api {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kContext = 4096;

int64_t Now() {
  return Clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

std::string TextOf(const GenerateRequest& request) {
  if (const auto* chat = std::get_if<ChatInput>(&request.input)) return chat->messages.back().content;
  if (const auto* text = std::get_if<TextInput>(&request.input)) return text->text;
  return std::to_string(std::get<TokenInput>(request.input).tokens.size()) + " tokens";
}

/// Words with the white space before them: this model's tokens.
std::vector<std::string> WordsOf(const std::string& text) {
  std::vector<std::string> words;
  std::istringstream stream(text);
  for (std::string word; stream >> word;) words.push_back((words.empty() ? "" : " ") + word);
  return words;
}

int CountTokens(const GenerateRequest& request) {
  size_t count = 0;
  if (const auto* chat = std::get_if<ChatInput>(&request.input)) {
    for (const ChatMessage& message : chat->messages) count += 1 + WordsOf(message.content).size();
    return static_cast<int>(count);
  }
  if (const auto* tokens = std::get_if<TokenInput>(&request.input)) return static_cast<int>(tokens->tokens.size());
  return static_cast<int>(WordsOf(TextOf(request)).size());
}

std::optional<constrain::ToolCall> CallFor(const GenerateRequest& request) {
  const auto* chat = std::get_if<ChatInput>(&request.input);
  if (chat == nullptr || chat->tools.is_null() || chat->tool_choice.kind == ToolChoice::Kind::kNone)
    return std::nullopt;
  const bool must = chat->tool_choice.kind != ToolChoice::Kind::kAuto;
  if (!must && TextOf(request).find("call") == std::string::npos) return std::nullopt;
  const bool named = chat->tool_choice.kind == ToolChoice::Kind::kNamed;
  return constrain::ToolCall{0, "call_0123456789abcdefghijklmn",
                             named ? chat->tool_choice.name : chat->tools[0]["function"]["name"].get<std::string>(),
                             R"({"city":"Bern"})"};
}

TokenFacts FactsOf(const std::string& word, int likeliest) {
  TokenFacts facts{.id = 7, .bytes = word, .log_probability = -0.5f, .likeliest = {}};
  for (int i = 0; i < likeliest; ++i) facts.likeliest.push_back({7 + i, word + std::string(i, '\''), -0.5f - i});
  return facts;
}

class TalkingModel final : public UsedModel, public std::enable_shared_from_this<TalkingModel> {
 public:
  ~TalkingModel() override {
    for (std::thread& thread : threads_) thread.join();
  }

  ServedModel::Ticket Start(GenerateRequest request, AnswerListener listener) override {
    const int tokens = CountTokens(request);
    if (tokens >= kContext) {
      Fail(ErrorCode::kLimit, "the prompt has {} tokens, which leaves no room in a context of {}", tokens, kContext);
    }
    const std::lock_guard lock(mutex_);
    const RequestId id = ++last_id_;
    cancelled_[id] = false;
    threads_.emplace_back([this, id, tokens, request = std::move(request), listener = std::move(listener)] {
      for (int sample = 0; sample < request.options.samples; ++sample) Talk(id, sample, tokens, request, listener);
    });
    return {.id = id, .prompt = {tokens, 0, 0, kContext}, .thinks = false};
  }
  void Cancel(RequestId id) override {
    const std::lock_guard lock(mutex_);
    cancelled_[id] = true;
  }
  std::vector<int32_t> Encode(const GenerateRequest& request) const override {
    return std::vector<int32_t>(static_cast<size_t>(CountTokens(request)), 7);
  }
  std::string Decode(std::span<const int32_t> tokens) const override {
    return std::to_string(tokens.size()) + " tokens";
  }
  bool has_chat_template() const override { return true; }
  std::optional<int32_t> begin_of_text() const override { return std::nullopt; }
  int64_t load_time() const override { return 0; }

 private:
  bool IsCancelled(RequestId id) {
    const std::lock_guard lock(mutex_);
    return cancelled_[id];
  }

  void Talk(RequestId id, int sample, int tokens, const GenerateRequest& request, const AnswerListener& listener) {
    AnswerEnd end;
    end.sample = sample;
    RequestStatistics& s = end.statistics;
    s.prompt_tokens = tokens;
    s.submitted = s.first_scheduled = Now();
    const GenerateOptions& options = request.options;
    const auto* chat = std::get_if<ChatInput>(&request.input);
    const auto say = [&](AnswerPiece piece) {
      std::this_thread::sleep_for(std::chrono::milliseconds(3));
      piece.sample = sample;
      s.last_token = Now();
      if (s.generated_tokens++ == 0) s.first_token = s.last_token;
      end.tokens.push_back(7);
      listener.piece(piece);
    };
    if (chat != nullptr && chat->think.value_or(false)) {
      AnswerPiece thought;
      thought.thinking = "Let me see.";
      say(thought);
    }
    if (const auto call = CallFor(request)) {
      AnswerPiece piece;
      piece.tool_calls = {*call};
      say(piece);
      end.reason = AnswerEnd::Reason::kToolCalls;
    } else {
      Say(id, request, say, &end);
    }
    if (options.max_tokens && s.generated_tokens >= *options.max_tokens && *options.max_tokens > 0 &&
        end.reason == AnswerEnd::Reason::kStop && end.stop_string.empty()) {
      end.reason = AnswerEnd::Reason::kLength;
    }
    s.finished = Now();
    listener.ended(end);
  }

  template <typename Sayer>
  void Say(RequestId id, const GenerateRequest& request, const Sayer& say, AnswerEnd* end) {
    const GenerateOptions& options = request.options;
    const auto words = options.format ? std::vector<std::string>{"{\"ok\":", " true}"} : WordsOf(TextOf(request));
    const int most = options.max_tokens.value_or(-1);
    for (size_t i = 0; i < words.size() || options.ignore_eos; ++i) {
      if (IsCancelled(id)) {
        end->reason = AnswerEnd::Reason::kCancelled;
        return;
      }
      if (most >= 0 && end->statistics.generated_tokens >= most) return;
      const std::string& word = words[i % words.size()];
      for (const std::string& stop : options.stop) {
        if (word.find(stop) == std::string::npos) continue;
        end->stop_string = stop;
        return;
      }
      AnswerPiece piece;
      piece.content = word;
      if (options.log_probabilities) piece.tokens.push_back(FactsOf(word, options.likeliest));
      say(piece);
    }
  }

  std::mutex mutex_;
  RequestId last_id_ = 0;
  std::map<RequestId, bool> cancelled_;
  std::vector<std::thread> threads_;
};

class TalkingModels final : public Models {
 public:
  void Acquire(LoadRequest request, Ready ready) override {
    if (request.model == "demo" || request.model == "demo:latest") return ready(model_, nullptr);
    ready(nullptr, std::make_exception_ptr(Error(ErrorCode::kNotFound, "no such model")));
  }
  bool Unload(const std::string&) override { return true; }

 private:
  std::shared_ptr<TalkingModel> model_ = std::make_shared<TalkingModel>();
};

/// A model that stays loaded.
class FixedLease final : public ModelLease {
 public:
  explicit FixedLease(const std::string& path) : name_("demo"), model_(LoadModel(path), ServedModelOptions()) {}
  ServedModel& model() override { return model_; }
  const std::string& name() const override { return name_; }
  std::chrono::nanoseconds load_time() const override { return std::chrono::nanoseconds(0); }

 private:
  std::string name_;
  ServedModel model_;
};

class FixedModels final : public Models {
 public:
  explicit FixedModels(std::shared_ptr<FixedLease> lease) : lease_(std::move(lease)) {}
  void Acquire(LoadRequest request, Ready ready) override {
    if (request.model == "demo") return ready(UsedModelOf(lease_), nullptr);
    ready(nullptr, std::make_exception_ptr(Error(ErrorCode::kNotFound, "no such model")));
  }
  bool Unload(const std::string&) override { return true; }

 private:
  std::shared_ptr<ModelLease> lease_;
};

/// Three numbers that depend on the text.
void Embed(const EmbeddingRequest& request, const EmbeddingReady& ready, const CancellationPointer&) {
  EmbeddingResult result;
  for (const std::string& text : request.texts) {
    result.vectors.push_back({0.5f, -0.25f, static_cast<float>(text.size()) / 7.0f});
    result.tokens += static_cast<int>(WordsOf(text).size());
  }
  for (const auto& tokens : request.tokens) result.vectors.push_back({0.5f, 0.25f, static_cast<float>(tokens.size())});
  ready(std::move(result), nullptr);
}

void Run(const std::string& path) {
  TaskPool pool(2);
  auto services = std::make_shared<Services>();
  if (path.empty()) {
    services->models = std::make_shared<TalkingModels>();
    services->embed = Embed;
  } else {
    const auto lease = std::make_shared<FixedLease>(path);
    services->models = std::make_shared<FixedModels>(lease);
    services->embed = [lease](EmbeddingRequest request, EmbeddingReady ready, const CancellationPointer& cancellation) {
      EmbedWith(lease, std::move(request), std::move(ready), cancellation);
    };
  }
  services->post = [&pool](std::function<void()> task) { pool.Post(std::move(task)); };
  services->new_id = NewId;
  http::Router router;
  AddGenerationRoutes(router, services);
  http::ServerOptions options;
  options.error_body = ApiErrorBody;
  http::Server server(std::move(options), std::move(router));
  std::cout << "http://" << server.addresses()[0] << std::endl;
  while (std::cin.get() != EOF) {
  }
  server.Stop(std::chrono::seconds(1));
}

}  // namespace
}  // namespace edgellm::api

int main(int count, char** arguments) {
  edgellm::api::Run(count > 1 ? arguments[1] : "");
}
