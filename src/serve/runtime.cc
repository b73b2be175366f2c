// See runtime.h.
#include "serve/runtime.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "model/lower.h"
#include "serve/answer_stream.h"
#include "serve/environment.h"
#include "serve/prompt.h"

namespace edgellm {
namespace {

/// What Ollama takes when nobody says: enough for a conversation, small beside most models' weights.
constexpr int kUsualContext = 4096;

double Rate(int64_t tokens, int64_t nanoseconds) {
  return tokens <= 0 || nanoseconds <= 0 ? 0 : static_cast<double>(tokens) * 1e9 / static_cast<double>(nanoseconds);
}

/// A request in the engine, which is not left behind when a listener throws.
class RunningRequest {
 public:
  RunningRequest(Engine& engine, Request request) : engine_(engine), id_(engine.Submit(std::move(request))) {}
  ~RunningRequest() {
    if (!finished_) engine_.Cancel(id_);
  }
  RunningRequest(const RunningRequest&) = delete;
  RunningRequest& operator=(const RunningRequest&) = delete;

  /// One forward; calls `token` for each token of this request. True when the request has finished.
  template <typename Token>
  bool Step(const Token& token, Generation* generation) {
    for (const Event& event : engine_.Step()) {
      if (event.request != id_) continue;
      if (event.token >= 0) token(event.token);
      if (event.finish == FinishReason::kNone) continue;
      if (event.finish == FinishReason::kFailed) Fail(ErrorCode::kEnvironment, "{}", engine_.failure());
      generation->finish = event.finish;
      generation->statistics = engine_.Statistics(id_);
      finished_ = true;
    }
    return finished_;
  }
  void Cancel() { engine_.Cancel(id_); }

 private:
  Engine& engine_;
  RequestId id_;
  bool finished_ = false;
};

bool SameCharacters(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

}  // namespace

double Generation::PromptRate() const {
  return Rate(statistics.prompt_tokens - statistics.cached_tokens, statistics.first_token - statistics.first_scheduled);
}

double Generation::DecodeRate() const {
  return Rate(statistics.generated_tokens - 1, statistics.finished - statistics.first_token);
}

int DefaultContext(const ModelConfig& config) {
  int context = kUsualContext;
  if (const auto setting = FindSetting("CONTEXT_LENGTH")) {
    char* end = nullptr;
    const long value = std::strtol(setting->value.c_str(), &end, 10);
    if (*end != '\0' || value < 0 || value > INT32_MAX) {
      Fail(ErrorCode::kInvalidArgument, "{} must be a number of positions, not '{}'", setting->variable,
           setting->value);
    }
    if (value > 0) context = static_cast<int>(value);
  }
  return std::min(context, config.max_context);
}

int ContextFor(const ModelConfig& config, int asked) {
  if (asked == 0) return DefaultContext(config);
  if (asked < 1) Fail(ErrorCode::kInvalidArgument, "a context of {} positions makes no sense", asked);
  if (asked > config.max_context) {
    Fail(ErrorCode::kInvalidArgument, "a context of {} positions is longer than the {} that the model was trained for",
         asked, config.max_context);
  }
  return asked;
}

KvType ParseKvType(std::string_view name) {
  if (SameCharacters(name, "f32")) return KvType::kF32;
  if (SameCharacters(name, "f16")) return KvType::kF16;
  Fail(ErrorCode::kInvalidArgument, "unknown type of KV cache '{}': there are f32 and f16", name);
}

KvType DefaultKv(const Model& model) {
  if (const auto setting = FindSetting("KV_CACHE_TYPE")) {
    // Ollama's q8_0 and q4_0 exist there only; whoever set them for it did not mean this program.
    if (!setting->foreign || SameCharacters(setting->value, "f16") || SameCharacters(setting->value, "f32")) {
      return ParseKvType(setting->value);
    }
  }
  for (const auto& [name, tensor] : model.weights.tensors()) {
    if (!tensor.is_vector && tensor.view.format.kind != WeightKind::kF32) return KvType::kF16;
  }
  return KvType::kF32;
}

std::unique_ptr<Backend> BindBackend(const Model& model, const BackendLimits& limits, const RuntimeOptions& options) {
  const Plan plan = Lower(model.config);
  const auto weights = model.weights.Bind(plan, model.Label());
  return MakeBackend(options.backend, plan, weights, limits, options.backend_options);
}

Runtime::Runtime(Model model, const RuntimeOptions& options)
    : model_(std::make_unique<const Model>(std::move(model))), context_(ContextFor(model_->config, options.context)) {
  if (!model_->tokenizer_json.empty()) {
    tokenizer_ =
        std::make_unique<const text::Tokenizer>(text::Tokenizer::FromJson(model_->tokenizer_json, model_->Label()));
  }
  // Without a bound: who asks is told by the engine, and by the conversation that grows, in words of its own.
  prompts_ = std::make_unique<const PromptMaker>(*model_, tokenizer_.get(), std::numeric_limits<int>::max());
  EngineOptions engine_options;
  engine_options.vocab = model_->config.vocab;
  engine_options.context = context_;
  const KvType kv = options.kv ? *options.kv : DefaultKv(*model_);
  engine_ = std::make_unique<Engine>(BindBackend(*model_, EngineLimits(engine_options, kv), options), engine_options);
}

Runtime::~Runtime() = default;
Runtime::Runtime(Runtime&&) noexcept = default;

const text::Tokenizer& Runtime::tokenizer() const {
  return prompts_->tokenizer();
}

namespace {

GenerateRequest RequestOf(std::span<const Message> messages) {
  ChatInput chat;
  for (const Message& message : messages) chat.messages.push_back({.role = message.role, .content = message.content});
  GenerateRequest request;
  request.input = std::move(chat);
  return request;
}

}  // namespace

std::string Runtime::RenderChat(std::span<const Message> messages) {
  return prompts_->Render(RequestOf(messages));
}

Prompt Runtime::EncodeChat(std::span<const Message> messages) {
  MadePrompt made = prompts_->Make(RequestOf(messages));
  return {std::move(made.tokens), made.stands_alone};
}

Prompt Runtime::EncodeText(std::string_view text) const {
  GenerateRequest request;
  request.input = TextInput{.text = std::string(text)};
  MadePrompt made = prompts_->Make(request);
  return {std::move(made.tokens), made.stands_alone};
}

Generation Runtime::Generate(const Prompt& prompt, const GenerateOptions& options, const GenerateListener& listener) {
  ResolvedOptions resolved = Resolve(options, model().generation, tokenizer().eos());
  AnswerStream answer(tokenizer(), {.at_text_start = prompt.answers, .stop = std::move(resolved.stop_strings)});
  Generation generation;
  generation.seed = resolved.sampling.seed;
  AnswerPiece piece;
  const auto publish = [&] {
    if (!piece.content.empty() && listener.text) listener.text(piece.content);
    piece.content.clear();
  };

  Request request;
  request.prompt = prompt.tokens;
  request.max_tokens = resolved.max_tokens;
  request.min_tokens = options.min_tokens;
  request.sampling = resolved.sampling;
  request.bias = options.logit_bias;
  request.ignore_eos = options.ignore_eos;
  request.stop_tokens = std::move(resolved.stop_tokens);
  if (options.format) {
    if (!constraints_) constraints_ = std::make_unique<ConstraintCache>(tokenizer());
    request.filter = MakeFilter(constraints_->Get(*options.format), request.stop_tokens, prompt.answers);
  }
  RunningRequest running(*engine_, std::move(request));
  const auto take = [&](int32_t token) {
    answer.Push({.id = token}, &piece);
    publish();
  };
  while (!running.Step(take, &generation)) {
    if (answer.ended() || (listener.cancelled && listener.cancelled())) running.Cancel();
  }
  const bool stopped = answer.ended();
  answer.Finish(&piece);
  publish();
  generation.tokens = answer.tokens();
  if (stopped || !answer.stop_string().empty()) generation.finish = FinishReason::kStop;
  return generation;
}

std::vector<int32_t> Runtime::Greedy(std::span<const int32_t> prompt, int count) {
  Request request;
  request.prompt.assign(prompt.begin(), prompt.end());
  request.max_tokens = count;
  request.sampling.temperature = 0;
  RunningRequest running(*engine_, std::move(request));
  std::vector<int32_t> tokens;
  Generation generation;
  while (!running.Step([&](int32_t token) { tokens.push_back(token); }, &generation)) {
  }
  return tokens;
}

}  // namespace edgellm
