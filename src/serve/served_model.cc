// See served_model.h.
#include "serve/served_model.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/error.h"
#include "base/memory_use.h"
#include "model/lower.h"
#include "serve/delivery.h"
#include "serve/embed_job.h"
#include "serve/environment.h"
#include "serve/model_manifest.h"
#include "serve/prepared_request.h"
#include "serve/serving_size.h"

namespace edgellm {
namespace {

/// Rows of logits beyond one for each place: so many tokens of a prompt are scored in a forward.
constexpr int kScoreRows = 32;
constexpr int kUsualBatch = 512;

/// What ServedModelOptions or the environment ask for; 0 for nothing.
int AskedParallel(int given) {
  if (given < 0) Fail(ErrorCode::kInvalidArgument, "{} answers at once make no sense", given);
  if (given > 0) return given;
  const auto setting = FindSetting("NUM_PARALLEL");
  if (!setting) return 0;
  char* end = nullptr;
  const long value = std::strtol(setting->value.c_str(), &end, 10);
  if (*end != '\0' || value < 0 || value > 4096) {
    Fail(ErrorCode::kInvalidArgument, "{} must be a number of answers, not '{}'", setting->variable, setting->value);
  }
  return static_cast<int>(value);
}

uint64_t WeightBytes(const Model& model) {
  uint64_t bytes = 0;
  for (const auto& [name, tensor] : model.weights.tensors())
    bytes += tensor.view.format.TotalBytes(tensor.view.rows, tensor.view.cols);
  return bytes;
}

class EngineMaker {
 public:
  EngineMaker(const Model& model, const ServedModelOptions& options)
      : model_(model),
        options_(options),
        asked_(AskedParallel(options.parallel)),
        context_(ContextFor(model.config, options.runtime.context)),
        kv_(options.runtime.kv ? *options.runtime.kv : DefaultKv(model)) {}

  std::unique_ptr<Engine> Make() const {
    // "auto" as MakeBackend means it, but each backend with sizes of its own.
    const bool automatic = options_.runtime.backend == "auto";
    if (options_.runtime.backend != "cuda" && !(automatic && options_.runtime.backend_options.isa.empty())) {
      return MakeOn(automatic ? "cpu" : options_.runtime.backend);
    }
    try {
      return MakeOn("cuda");
    } catch (const Error& error) {
      const bool cpu_may_do = error.code() == ErrorCode::kEnvironment || error.code() == ErrorCode::kLimit ||
                              error.code() == ErrorCode::kUnsupported;
      if (!automatic || !cpu_may_do) throw;
    }
    return MakeOn("cpu");
  }

 private:
  std::unique_ptr<Engine> MakeOn(const std::string& backend) const {
    const bool device = backend == "cuda";
    const uint64_t free = device ? CudaFreeBytes() : AvailableMemoryBytes();
    ServingRoom room;
    room.device = device;
    room.context = context_;
    room.page_bytes = KvBytes(Lower(model_.config), {.pages = 1, .context = context_, .kv = kv_});
    room.free_bytes = free - std::min(free, WeightBytes(model_));
    const ServingSize size = ChooseServingSize(asked_, room);
    EngineOptions engine;
    engine.vocab = model_.config.vocab;
    engine.context = context_;
    engine.max_sequences = size.parallel;
    engine.batch_tokens = std::max(kUsualBatch, size.parallel);
    engine.pages = size.pages;
    engine.max_waiting = std::max(1, options_.max_queue);
    engine.score_rows = kScoreRows;
    engine.prefix_cache = options_.prefix_cache;
    RuntimeOptions runtime = options_.runtime;
    runtime.backend = backend;
    return std::make_unique<Engine>(BindBackend(model_, EngineLimits(engine, kv_), runtime), engine);
  }

  const Model& model_;
  const ServedModelOptions& options_;
  int asked_, context_;
  KvType kv_;
};

}  // namespace

struct ServedModel::State {
  State(Model given, const ServedModelOptions& options)
      : model(std::move(given)),
        tokenizer(model.tokenizer_json.empty() ? nullptr
                                               : std::make_unique<const text::Tokenizer>(
                                                     text::Tokenizer::FromJson(model.tokenizer_json, model.Label()))),
        prompts(model, tokenizer.get(), ContextFor(model.config, options.runtime.context)),
        preparer(model, tokenizer.get(), prompts) {
    auto made = EngineMaker(model, options).Make();
    info = made->backend().Describe();
    engine = std::make_unique<EngineThread>(std::move(made));
    delivery = std::make_unique<Delivery>([this](RequestId request, int sample) { engine->Cancel(request, sample); });
  }

  const Model model;
  const std::unique_ptr<const text::Tokenizer> tokenizer;
  const PromptMaker prompts;
  RequestPreparer preparer;
  BackendInfo info;
  // The engine's thread hands over to delivery's, which cancels in the engine: both live until both have stopped.
  std::unique_ptr<EngineThread> engine;
  std::unique_ptr<Delivery> delivery;
};

ServedModel::ServedModel(Model model, const ServedModelOptions& options)
    : state_(std::make_unique<State>(std::move(model), options)) {}

ServedModel::~ServedModel() {
  Stop(std::chrono::nanoseconds(0));
}

namespace {

/// With what the model says before every conversation.
GenerateRequest WithPreamble(const Model& model, GenerateRequest request) {
  if (auto* chat = std::get_if<ChatInput>(&request.input)) AddPreamble(model.preamble, &chat->messages);
  return request;
}

/// `make` of the request with its preamble: of the request itself where the model has none.
template <typename Make>
auto MakeWithPreamble(const Model& model, const GenerateRequest& request, const Make& make) {
  const bool none = model.preamble.system.empty() && model.preamble.messages.empty();
  return none ? make(request) : make(WithPreamble(model, request));
}

}  // namespace

ServedModel::Ticket ServedModel::Start(GenerateRequest request, AnswerListener listener) {
  State& s = *state_;
  const text::Tokenizer& tokenizer = s.prompts.tokenizer();
  // A full queue is no reason to read long prompts first. The engine looks again, exactly.
  if (s.engine->open_requests() >= s.engine->options().max_waiting) {
    Fail(ErrorCode::kBusy, "{} requests are open already: try again later", s.engine->open_requests());
  }
  PreparedRequest prepared = s.preparer.Prepare(WithPreamble(s.model, std::move(request)));
  CheckRequest(prepared.request, s.engine->options());
  std::vector<AnswerStream> streams;
  for (int sample = 0; sample < prepared.request.samples; ++sample) {
    streams.emplace_back(tokenizer, StreamOptionsOf(prepared, sample));
  }
  auto open = s.delivery->Open(tokenizer, std::move(streams), prepared.request.sampling.seed, std::move(listener));
  Ticket ticket = {.id = 0, .prompt = prepared.facts, .thinks = prepared.thinks};
  ticket.id = s.engine->Submit(std::move(prepared.request),
                               [&delivery = *s.delivery, open = std::move(open)](
                                   const Event& event, const Ending* ending) { delivery.Push(open, event, ending); });
  return ticket;
}

std::function<void()> ServedModel::Embed(const EmbedRequest& request, EmbedListener listener) {
  State& s = *state_;
  EmbedPlan plan = PlanEmbedding(request, s.tokenizer.get(), s.model.config, context());
  auto job = std::make_shared<EmbedJob>(*s.engine, *s.delivery, std::move(plan), std::move(listener));
  job->Begin();
  return [job = std::weak_ptr(job)] {
    if (const auto open = job.lock()) open->Cancel();
  };
}

void ServedModel::Cancel(RequestId id) {
  state_->engine->Cancel(id);
}

std::string ServedModel::Render(const GenerateRequest& request) const {
  return MakeWithPreamble(state_->model, request,
                          [this](const GenerateRequest& whole) { return state_->prompts.Render(whole); });
}

std::vector<int32_t> ServedModel::Encode(const GenerateRequest& request) const {
  return MakeWithPreamble(state_->model, request,
                          [this](const GenerateRequest& whole) { return state_->prompts.Make(whole).tokens; });
}

const Model& ServedModel::model() const {
  return state_->model;
}

const text::Tokenizer& ServedModel::tokenizer() const {
  return state_->prompts.tokenizer();
}

int ServedModel::context() const {
  return state_->engine->options().context;
}

int ServedModel::parallel() const {
  return state_->engine->options().max_sequences;
}

BackendInfo ServedModel::backend() const {
  return state_->info;
}

bool ServedModel::supports_tools() const {
  return state_->prompts.supports_tools();
}

bool ServedModel::supports_thinking() const {
  return state_->prompts.supports_thinking();
}

uint64_t ServedModel::memory_bytes() const {
  return state_->info.weight_bytes + state_->info.kv_bytes;
}

EngineMetrics ServedModel::Metrics() const {
  return state_->engine->Metrics();
}

int ServedModel::open_requests() const {
  return state_->delivery->open();
}

void ServedModel::Stop(std::chrono::nanoseconds grace) {
  EDGELLM_CHECK(!state_->delivery->InThread(), "a listener cannot stop the model that it listens to");
  state_->engine->Stop(grace);
  state_->delivery->Stop();
}

}  // namespace edgellm
