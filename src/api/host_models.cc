// See host_models.h.
#include "api/host_models.h"

#include <utility>

namespace edgellm::api {
namespace {

class HostModels final : public Models {
 public:
  explicit HostModels(ModelHost& host) : host_(host) {}

  void Acquire(LoadRequest request, Ready ready) override {
    host_.Acquire(std::move(request),
                  [ready = std::move(ready)](std::shared_ptr<ModelLease> lease, std::exception_ptr failure) {
                    if (failure) return ready(nullptr, failure);
                    ready(UsedModelOf(std::move(lease)), nullptr);
                  });
  }
  bool Unload(const std::string& model) override { return host_.Unload(model); }

 private:
  ModelHost& host_;
};

}  // namespace

std::shared_ptr<Models> ModelsOf(ModelHost& host) {
  return std::make_shared<HostModels>(host);
}

}  // namespace edgellm::api
