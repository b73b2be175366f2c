// See host_models.h.
#include "api/host_models.h"

#include <utility>

namespace edgellm::api {
namespace {

class HostModels final : public Models {
 public:
  HostModels(ModelHost& host, Metrics* metrics) : host_(host), metrics_(metrics) {}

  void Acquire(LoadRequest request, Ready ready) override {
    std::string name = request.model;
    host_.Acquire(std::move(request), [ready = std::move(ready), metrics = metrics_, name = std::move(name)](
                                          std::shared_ptr<ModelLease> lease, std::exception_ptr failure) {
      if (failure) return ready(nullptr, failure);
      ready(UsedModelOf(std::move(lease), metrics, name), nullptr);
    });
  }
  bool Unload(const std::string& model) override { return host_.Unload(model); }

 private:
  ModelHost& host_;
  Metrics* metrics_;
};

}  // namespace

std::shared_ptr<Models> ModelsOf(ModelHost& host, Metrics* metrics) {
  return std::make_shared<HostModels>(host, metrics);
}

}  // namespace edgellm::api
