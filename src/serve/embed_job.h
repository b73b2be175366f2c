// The inputs of one embedding request on their way through the engine, a few at a time, so that a long list neither
// fills the queue nor keeps others waiting.
#pragma once

#include <exception>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "engine/engine_thread.h"
#include "model/config.h"
#include "serve/delivery.h"
#include "serve/embedding.h"
#include "text/tokenizer.h"

namespace edgellm {

struct EmbedPlan {
  std::vector<std::vector<int32_t>> inputs;
  Pooling pooling = Pooling::kMean;
  size_t dimensions = 0;
  Priority priority = Priority::kNormal;
  std::string cache_salt;
  Embeddings embeddings;  // counts; vectors as they come
};

/// Throws Error as ServedModel::Embed. `tokenizer` may be null where all inputs are ids.
EmbedPlan PlanEmbedding(const EmbedRequest& request, const text::Tokenizer* tokenizer, const ModelConfig& config,
                        int context);

class EmbedJob : public std::enable_shared_from_this<EmbedJob> {
 public:
  static constexpr int kMostInFlight = 16;

  /// `engine` and `delivery` must outlive it.
  EmbedJob(EngineThread& engine, Delivery& delivery, EmbedPlan plan, EmbedListener listener);

  /// Throws Error(kBusy) where not even the first input finds room; the listener is not called then.
  void Begin();
  /// From any thread. The listener is told that it was cancelled, unless all is done before.
  void Cancel();

 private:
  /// Under the lock: as many inputs as there is room for. False where nothing is in flight and nothing could be.
  bool Submit();
  void OnEvent(size_t index, const Event& event, const Ending* ending);
  void Advance();
  void Tell();

  EngineThread& engine_;
  Delivery& delivery_;
  EmbedListener listener_;
  std::mutex mutex_;  // of all that follows
  EmbedPlan plan_;
  size_t next_ = 0;
  int in_flight_ = 0;
  std::set<RequestId> ids_;  // that may be in flight
  bool cancelled_ = false;
  std::exception_ptr failure_;
};

}  // namespace edgellm
