// What the generation APIs stand on, as they need it and no wider: loaded models, clocks, names for answers, a place to
// work that is not the server's own threads. host_models.h makes them of the real thing, tests of something smaller.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "serve/generate.h"
#include "serve/model_host.h"
#include "serve/served_model.h"

namespace edgellm::api {

/// A model in use: it stays loaded as long as somebody holds one. As ModelLease and ServedModel.
class UsedModel {
 public:
  virtual ~UsedModel() = default;
  virtual ServedModel::Ticket Start(GenerateRequest request, AnswerListener listener) = 0;
  virtual void Cancel(RequestId id) = 0;
  virtual std::vector<int32_t> Encode(const GenerateRequest& request) const = 0;
  virtual std::string Decode(std::span<const int32_t> tokens) const = 0;
  virtual bool has_chat_template() const = 0;
  virtual std::optional<int32_t> begin_of_text() const = 0;  // the token, where the model has one
  virtual int64_t load_time() const = 0;                     // nanoseconds; 0 where it was loaded already
};

class Models {
 public:
  virtual ~Models() = default;
  /// As ModelHost::Acquire.
  using Ready = std::function<void(std::shared_ptr<UsedModel> model, std::exception_ptr failure)>;
  virtual void Acquire(LoadRequest request, Ready ready) = 0;
  virtual bool Unload(const std::string& model) = 0;
};

/// Texts to vectors.
struct EmbeddingRequest {
  LoadRequest load;
  std::vector<std::string> texts;            // either these
  std::vector<std::vector<int32_t>> tokens;  // or these
  bool truncate = true;                      // a text that is too long is cut; false: it is refused
  int dimensions = 0;                        // the first so many, normalised anew; 0: all
};

struct EmbeddingResult {
  std::vector<std::vector<float>> vectors;  // of length 1, in the order of the request
  int tokens = 0;                           // read
  int64_t load_time = 0;                    // nanoseconds
};

/// The one who asked has gone, and whoever works for him is told. Thread-safe.
class Cancellation {
 public:
  void Cancel();
  bool cancelled() const;
  /// `cancel` is called once, at once where it has come already; an earlier one is forgotten.
  void OnCancel(std::function<void()> cancel);

 private:
  mutable std::mutex mutex_;
  bool cancelled_ = false;
  std::function<void()> cancel_;
};
using CancellationPointer = std::shared_ptr<Cancellation>;

/// `failure`: a RequestError where the request is at fault, anything else where the model could not be had.
using EmbeddingReady = std::function<void(EmbeddingResult result, std::exception_ptr failure)>;

struct Clock {
  std::function<int64_t()> wall;    // Unix nanoseconds
  std::function<int64_t()> steady;  // nanoseconds; for durations
  static Clock System();
};

struct Services {
  std::shared_ptr<Models> models;
  /// Runs a task on another thread soon, in no promised order. Reading requests and making prompts of them may take
  /// milliseconds, which the server's threads do not have.
  std::function<void(std::function<void()> task)> post;
  Clock clock = Clock::System();
  /// 24 letters and digits, another each time; from any thread.
  std::function<std::string()> new_id;
  using Embed = std::function<void(EmbeddingRequest request, EmbeddingReady ready, CancellationPointer cancellation)>;
  /// Does not block; calls `ready` once, soon where it is cancelled. Empty: the routes say 501.
  Embed embed;
};

using ServicesPointer = std::shared_ptr<const Services>;

/// Random ones.
std::string NewId();

}  // namespace edgellm::api
