// See model_host.h. The rules of what is loaded are Residency's; here is what a model is: where it lies, how much it
// will need, whether its files are still the same.
#include "serve/model_host.h"

#include <algorithm>
#include <sys/stat.h>

#include "base/error.h"
#include "base/memory_use.h"
#include "model/lower.h"
#include "serve/model_manifest.h"
#include "serve/residency.h"

namespace edgellm {
namespace {

namespace fs = std::filesystem;

/// The share of the machine's memory that models may take where nobody says: the rest is for everything else.
constexpr double kMemoryShare = 0.85;

/// What tells a file or folder from another that later has its name.
struct FileMark {
  fs::path path;
  uint64_t inode = 0, size = 0;
  int64_t seconds = 0, nanoseconds = 0;

  bool operator==(const FileMark&) const = default;
};

FileMark MarkOf(const fs::path& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return {path};
  return {path, status.st_ino, static_cast<uint64_t>(status.st_size), status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

std::string KeyOf(const std::string& model) {
  if (IsModelName(model)) return NameInStore(model);
  std::error_code failed;
  const fs::path path = fs::weakly_canonical(model, failed);
  return failed || path.empty() ? model : path.string();
}

/// Weights, and keys and values for two sequences at their longest: near enough to make room by. What it really takes
/// is known afterwards.
uint64_t EstimateBytes(const Model& model, const ServedModelOptions& options) {
  uint64_t bytes = 0;
  for (const auto& [name, tensor] : model.weights.tensors()) {
    bytes += tensor.view.format.TotalBytes(tensor.view.rows, tensor.view.cols);
  }
  BackendLimits limits;
  const int context = options.runtime.context > 0 ? options.runtime.context : DefaultContext(model.config);
  limits.pages = 2 * ((context + kPageTokens - 1) / kPageTokens);
  limits.kv = options.runtime.kv ? *options.runtime.kv : DefaultKv(model);
  return bytes + KvBytes(Lower(model.config), limits);
}

class HostedModel : public Resident {
 public:
  HostedModel(StoredModel found, std::vector<FileMark> files, Model loaded, const ServedModelOptions& options)
      : stored(std::move(found)), model(std::move(loaded), options), files_(std::move(files)) {}

  uint64_t bytes() const override { return model.memory_bytes(); }
  int context() const override { return model.context(); }
  bool is_current() const override {
    return std::all_of(files_.begin(), files_.end(), [](const FileMark& mark) { return MarkOf(mark.path) == mark; });
  }
  void Stop(std::chrono::nanoseconds grace) override { model.Stop(grace); }

  StoredModel stored;
  ServedModel model;

 private:
  std::vector<FileMark> files_;
};

/// The name of the store, or the path, that a load was asked for.
StoredModel Describe(const ModelStore& store, const std::string& model, const fs::path& path) {
  if (auto stored = store.Find(model)) return *stored;
  StoredModel stored{path.string(), path, 0, 0, false};
  std::error_code failed;
  for (const auto& file : FilesOf(path)) {
    const uint64_t bytes = fs::file_size(file, failed);
    if (!failed) stored.bytes += bytes;
  }
  stored.modified = MarkOf(path).seconds;
  return stored;
}

class HostLease : public ModelLease {
 public:
  HostLease(std::string name, std::shared_ptr<Residency::Lease> lease)
      : name_(std::move(name)), lease_(std::move(lease)) {}
  ServedModel& model() override { return static_cast<HostedModel&>(lease_->resident()).model; }
  const std::string& name() const override { return name_; }
  std::chrono::nanoseconds load_time() const override { return lease_->load_time(); }

 private:
  std::string name_;
  std::shared_ptr<Residency::Lease> lease_;
};

}  // namespace

struct ModelHost::State {
  State(ModelStore models, HostOptions host_options)
      : store(std::move(models)),
        options(std::move(host_options)),
        residency(
            {.keep_alive = options.keep_alive,
             .memory_limit = options.memory_limit != 0
                                 ? options.memory_limit
                                 : static_cast<uint64_t>(kMemoryShare * static_cast<double>(MachineMemoryBytes())),
             .max_residents = options.max_models}) {}

  /// On the loading thread.
  Residency::Prepared Prepare(const std::string& name, std::optional<int> context) const {
    const fs::path path = store.Resolve(name);
    const ModelSource source = ModelSourceAt(store, path);
    std::vector<FileMark> files = {MarkOf(path)};
    if (source.weights != path) files.push_back(MarkOf(source.weights));
    auto model = std::make_shared<Model>(LoadModelSource(source));
    ServedModelOptions model_options = options.model;
    if (context) {
      model_options.runtime.context = *context;
    } else if (model_options.runtime.context == 0) {
      model_options.runtime.context = model->generation.context.value_or(0);
    }
    return {EstimateBytes(*model, model_options), [=, stored = Describe(store, name, path)] {
              return std::make_shared<HostedModel>(stored, files, std::move(*model), model_options);
            }};
  }

  ModelStore store;
  HostOptions options;
  Residency residency;  // last: its thread uses the rest
};

ModelHost::ModelHost(ModelStore store, HostOptions options)
    : state_(std::make_unique<State>(std::move(store), std::move(options))) {}

ModelHost::~ModelHost() = default;

void ModelHost::Acquire(LoadRequest request, Ready ready) {
  Residency::Request wanted;
  wanted.key = KeyOf(request.model);
  wanted.keep_alive = request.keep_alive;
  wanted.context = request.context;
  wanted.prepare = [state = state_.get(), name = request.model, context = request.context] {
    return state->Prepare(name, context);
  };
  state_->residency.Acquire(std::move(wanted),
                            [name = wanted.key, ready = std::move(ready)](std::shared_ptr<Residency::Lease> lease,
                                                                          std::exception_ptr failure) {
                              ready(lease ? std::make_shared<HostLease>(name, std::move(lease)) : nullptr, failure);
                            });
}

bool ModelHost::Unload(const std::string& model) {
  return state_->residency.Unload(KeyOf(model));
}

std::vector<LoadedModelFacts> ModelHost::Loaded() const {
  std::vector<LoadedModelFacts> list;
  for (const auto& loaded : state_->residency.List()) {
    const auto& hosted = static_cast<const HostedModel&>(*loaded.resident);
    LoadedModelFacts facts;
    facts.name = loaded.key;
    facts.stored = hosted.stored;
    facts.bytes = hosted.bytes();
    facts.backend = hosted.model.backend().name;
    if (facts.backend == "cuda") facts.device_bytes = facts.bytes;
    facts.context = hosted.context();
    facts.open_requests = hosted.model.open_requests();
    facts.engine = hosted.model.Metrics();
    if (loaded.expires) {
      facts.expires = std::chrono::duration_cast<std::chrono::nanoseconds>(loaded.expires->time_since_epoch()).count();
    }
    list.push_back(std::move(facts));
  }
  return list;
}

const ModelStore& ModelHost::store() const {
  return state_->store;
}

void ModelHost::Stop(std::chrono::nanoseconds grace) {
  state_->residency.Stop(grace);
}

}  // namespace edgellm
