// See embed_job.h.
#include "serve/embed_job.h"

#include <cmath>
#include <utility>

#include "base/error.h"

namespace edgellm {
namespace {

/// The first `dimensions` of a vector, to length one.
std::vector<float> Normalised(std::span<const float> vector, size_t dimensions) {
  double sum = 0;
  for (size_t i = 0; i < dimensions; ++i) sum += static_cast<double>(vector[i]) * static_cast<double>(vector[i]);
  const double scale = sum > 0 ? 1 / std::sqrt(sum) : 0;
  std::vector<float> result(dimensions);
  for (size_t i = 0; i < dimensions; ++i) result[i] = static_cast<float>(vector[i] * scale);
  return result;
}

}  // namespace

EmbedPlan PlanEmbedding(const EmbedRequest& request, const text::Tokenizer* tokenizer, const ModelConfig& config,
                        int context) {
  if (request.inputs.empty()) Fail(ErrorCode::kInvalidArgument, "there is no input");
  if (request.pooling == Pooling::kNone) Fail(ErrorCode::kInvalidArgument, "an embedding needs a pooling");
  if (request.dimensions < 0 || request.dimensions > config.hidden) {
    Fail(ErrorCode::kInvalidArgument, "dimensions must be 1 to {}", config.hidden);
  }
  EmbedPlan plan;
  plan.pooling = request.pooling;
  plan.dimensions = static_cast<size_t>(request.dimensions > 0 ? request.dimensions : config.hidden);
  plan.priority = request.priority;
  plan.cache_salt = request.cache_salt;
  const auto longest = static_cast<size_t>(context);
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    std::vector<int32_t> ids;
    if (const auto* text = std::get_if<std::string>(&request.inputs[i])) {
      if (tokenizer == nullptr) Fail(ErrorCode::kUnsupported, "the model came without a tokenizer");
      ids = tokenizer->Encode(*text, {.add_special = true, .parse_special = false});
    } else {
      ids = std::get<std::vector<int32_t>>(request.inputs[i]);
    }
    if (ids.empty()) Fail(ErrorCode::kInvalidArgument, "input {} is empty", i);
    for (const int32_t id : ids) {
      if (id < 0 || id >= config.vocab) Fail(ErrorCode::kInvalidArgument, "input {} has an unknown token id {}", i, id);
    }
    if (ids.size() > longest) {
      if (!request.truncate) {
        Fail(ErrorCode::kLimit, "input {} has {} tokens, and the context {}", i, ids.size(), context);
      }
      plan.embeddings.dropped_tokens += static_cast<int>(ids.size() - longest);
      ids.resize(longest);
    }
    plan.embeddings.prompt_tokens += static_cast<int>(ids.size());
    plan.inputs.push_back(std::move(ids));
  }
  plan.embeddings.vectors.resize(plan.inputs.size());
  return plan;
}

EmbedJob::EmbedJob(EngineThread& engine, Delivery& delivery, EmbedPlan plan, EmbedListener listener)
    : engine_(engine), delivery_(delivery), listener_(std::move(listener)), plan_(std::move(plan)) {}

void EmbedJob::Begin() {
  const std::lock_guard lock(mutex_);
  if (!Submit()) std::rethrow_exception(failure_);
}

bool EmbedJob::Submit() {
  while (in_flight_ < kMostInFlight && next_ < plan_.inputs.size()) {
    Request request;
    request.prompt = plan_.inputs[next_];
    request.embedding = plan_.pooling;
    request.priority = plan_.priority;
    request.cache_salt = plan_.cache_salt;
    try {
      ids_.insert(engine_.Submit(std::move(request),
                                 [self = shared_from_this(), index = next_](const Event& event, const Ending* ending) {
                                   self->OnEvent(index, event, ending);
                                 }));
    } catch (const Error&) {
      if (in_flight_ > 0) return true;  // again when one of them has ended
      failure_ = std::current_exception();
      return false;
    }
    ++in_flight_;
    ++next_;
  }
  return true;
}

/// By the engine's thread. It may come before Submit has returned in another one, which then still has the lock.
void EmbedJob::OnEvent(size_t index, const Event& event, const Ending* ending) {
  if (ending == nullptr) return;
  std::vector<float> vector;
  std::string failure;
  if (!event.embedding.empty()) vector = Normalised(event.embedding, plan_.dimensions);
  if (event.finish == FinishReason::kFailed) failure = ending->failure;
  delivery_.Post([self = shared_from_this(), id = event.request, index, vector = std::move(vector),
                  failure = std::move(failure)]() mutable {
    {
      const std::lock_guard lock(self->mutex_);
      self->ids_.erase(id);
      --self->in_flight_;
      if (!failure.empty()) {
        self->failure_ = std::make_exception_ptr(Error(ErrorCode::kEnvironment, failure));
      } else if (vector.empty()) {
        self->cancelled_ = true;
      }
      self->plan_.embeddings.vectors[index] = std::move(vector);
    }
    self->Advance();
  });
}

/// By delivery's thread.
void EmbedJob::Advance() {
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_ || failure_) {
      for (const RequestId id : ids_) engine_.Cancel(id);
    } else {
      Submit();
    }
    if (in_flight_ > 0) return;
    if (cancelled_ && !failure_) {
      failure_ = std::make_exception_ptr(Error(ErrorCode::kBusy, "the embedding was cancelled"));
    }
  }
  Tell();
}

void EmbedJob::Tell() {
  const EmbedListener listener = std::exchange(listener_, nullptr);
  if (!listener) return;
  try {
    listener(failure_ ? Embeddings() : std::move(plan_.embeddings), failure_);
  } catch (...) {  // nobody is left to be told
  }
}

void EmbedJob::Cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  for (const RequestId id : ids_) engine_.Cancel(id);
}

}  // namespace edgellm
