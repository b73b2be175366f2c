// See runtime.h.
#include "serve/runtime.h"

#include <algorithm>
#include <ctime>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8.h"
#include "model/lower.h"
#include "serve/environment.h"
#include "serve/stop_matcher.h"
#include "text/stream_decoder.h"

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
  bool Step(const std::function<void(int32_t)>& token, Generation* generation) {
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

int ContextFor(const ModelConfig& config, int asked) {
  if (asked == 0) return DefaultContext(config);
  if (asked < 1) Fail(ErrorCode::kInvalidArgument, "a context of {} positions makes no sense", asked);
  if (asked > config.max_context) {
    Fail(ErrorCode::kInvalidArgument, "a context of {} positions is longer than the {} that the model was trained for",
         asked, config.max_context);
  }
  return asked;
}

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
    : model_(std::move(model)), context_(ContextFor(model_.config, options.context)) {
  if (!model_.tokenizer_json.empty()) tokenizer_ = text::Tokenizer::FromJson(model_.tokenizer_json, model_.Label());
  EngineOptions engine_options;
  engine_options.vocab = model_.config.vocab;
  engine_options.context = context_;
  const KvType kv = options.kv ? *options.kv : DefaultKv(model_);
  engine_ = std::make_unique<Engine>(BindBackend(model_, EngineLimits(engine_options, kv), options), engine_options);
}

const text::Tokenizer& Runtime::tokenizer() const {
  if (!tokenizer_) Fail(ErrorCode::kUnsupported, "{}: the model came without a tokenizer", model_.Label());
  return *tokenizer_;
}

std::string Runtime::RenderChat(std::span<const Message> messages) {
  if (!has_chat_template()) Fail(ErrorCode::kUnsupported, "{}: the model has no chat template", model_.Label());
  if (!template_) template_.emplace(model_.chat_template, model_.Label() + ": chat template");
  nlohmann::ordered_json context;
  context["messages"] = nlohmann::ordered_json::array();
  for (const auto& message : messages) {
    context["messages"].push_back({{"role", message.role}, {"content", utf8::Sanitize(message.content)}});
  }
  context["add_generation_prompt"] = true;
  const auto spelling = [&](std::optional<text::TokenId> id) {
    return id ? std::string(tokenizer().TokenBytes(*id, true)) : std::string();
  };
  context["bos_token"] = spelling(tokenizer().bos());
  context["eos_token"] = spelling(tokenizer().eos());
  return template_->Render(context, std::time(nullptr));
}

Prompt Runtime::EncodeChat(std::span<const Message> messages) {
  return {tokenizer().Encode(RenderChat(messages), {.add_special = false, .parse_special = true}), true};
}

Prompt Runtime::EncodeText(std::string_view text) const {
  return {tokenizer().Encode(text, {.add_special = true, .parse_special = true}), false};
}

Generation Runtime::Generate(const Prompt& prompt, const GenerateOptions& options, const GenerateListener& listener) {
  ResolvedOptions resolved = Resolve(options, model_.generation, tokenizer().eos());
  StopMatcher stops(std::move(resolved.stop_strings));
  text::StreamDecoder decoder(tokenizer(), /*spell_special=*/false, /*at_text_start=*/prompt.answers);
  Generation generation;
  generation.seed = resolved.sampling.seed;
  const auto publish = [&](const std::string& text) {
    if (!text.empty() && listener.text) listener.text(text);
  };

  Request request;
  request.prompt = prompt.tokens;
  request.max_tokens = resolved.max_tokens;
  request.sampling = resolved.sampling;
  request.stop_tokens = std::move(resolved.stop_tokens);
  if (options.format) {
    if (!constraints_) constraints_.emplace(tokenizer());
    request.filter = MakeFilter(constraints_->Get(*options.format), request.stop_tokens, prompt.answers);
  }
  RunningRequest running(*engine_, std::move(request));
  const auto take = [&](int32_t token) {
    if (stops.matched()) return;  // a token that was on its way when the stop string came
    generation.tokens.push_back(token);
    publish(stops.Push(decoder.Push(token)));
  };
  while (!running.Step(take, &generation)) {
    if (stops.matched() || (listener.cancelled && listener.cancelled())) running.Cancel();
  }
  publish(stops.Push(decoder.Finish()));
  publish(stops.Finish());
  if (stops.matched()) generation.finish = FinishReason::kStop;
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
