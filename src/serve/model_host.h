// The models that are loaded now: loads on demand, on a thread of its own, within a bound of memory; keeps a model for a
// while after its last use; unloads the one that was used longest ago when room is needed.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "serve/model_store.h"
#include "serve/served_model.h"

namespace edgellm {

/// How long a model stays after its last use. Negative: for ever.
using KeepAlive = std::chrono::nanoseconds;

struct HostOptions {
  ServedModelOptions model;                    // of every model, where a request does not say otherwise
  KeepAlive keep_alive = std::chrono::minutes(5);
  uint64_t memory_limit = 0;                   // bytes of weights and KV together; 0: what the machine has
  int max_models = 0;                          // 0: as many as fit
};

struct LoadRequest {
  std::string model;                      // a name of the store, a file or a folder
  std::optional<KeepAlive> keep_alive;    // absent: the host's, or for ever where that was asked for before
  std::optional<int> context;             // another context than what is loaded means loading anew, once it is idle
};

/// A model in use: it stays loaded as long as somebody holds one.
class ModelLease {
 public:
  virtual ~ModelLease() = default;
  virtual ServedModel& model() = 0;
  virtual const std::string& name() const = 0;
  virtual std::chrono::nanoseconds load_time() const = 0;  // 0 where it was loaded already
};

struct LoadedModelFacts {
  std::string name;
  StoredModel stored;
  uint64_t bytes = 0, device_bytes = 0;  // in use; of those on a device
  int context = 0, open_requests = 0;
  std::string backend;
  std::optional<int64_t> expires;        // Unix nanoseconds; absent: never, or in use
  EngineMetrics engine;
};

class ModelHost {
 public:
  ModelHost(ModelStore store, HostOptions options);
  /// Stop(0).
  ~ModelHost();

  /// From any thread; does not block. `ready` is called once, on a thread of the host or at once: with a lease, or with
  /// what went wrong (Error: kNotFound, kLimit where it cannot fit, kBusy where all memory is in use, and what loading
  /// throws). Requests for a model that is being loaded wait together. Others' streams go on meanwhile.
  using Ready = std::function<void(std::shared_ptr<ModelLease> lease, std::exception_ptr failure)>;
  void Acquire(LoadRequest request, Ready ready);

  /// Unloads when nobody uses it any more. False when it is not loaded.
  bool Unload(const std::string& model);
  std::vector<LoadedModelFacts> Loaded() const;
  const ModelStore& store() const;

  /// Takes no more requests, stops every model as ServedModel::Stop, unloads all.
  void Stop(std::chrono::nanoseconds grace);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace edgellm
