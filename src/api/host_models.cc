// See host_models.h.
#include "api/host_models.h"

#include <utility>

#include "text/tokenizer.h"

namespace edgellm::api {
namespace {

class LeasedModel final : public UsedModel {
 public:
  explicit LeasedModel(std::shared_ptr<ModelLease> lease) : lease_(std::move(lease)) {}

  ServedModel::Ticket Start(GenerateRequest request, AnswerListener listener) override {
    return lease_->model().Start(std::move(request), std::move(listener));
  }
  void Cancel(RequestId id) override { lease_->model().Cancel(id); }
  std::vector<int32_t> Encode(const GenerateRequest& request) const override { return lease_->model().Encode(request); }
  std::string Decode(std::span<const int32_t> tokens) const override {
    return lease_->model().tokenizer().Decode(tokens);
  }
  bool has_chat_template() const override { return !lease_->model().model().chat_template.empty(); }
  std::optional<int32_t> begin_of_text() const override { return lease_->model().tokenizer().bos(); }
  int64_t load_time() const override { return lease_->load_time().count(); }

 private:
  std::shared_ptr<ModelLease> lease_;
};

class HostModels final : public Models {
 public:
  explicit HostModels(ModelHost& host) : host_(host) {}

  void Acquire(LoadRequest request, Ready ready) override {
    host_.Acquire(std::move(request), [ready = std::move(ready)](std::shared_ptr<ModelLease> lease,
                                                                 std::exception_ptr failure) {
      if (failure) return ready(nullptr, failure);
      ready(std::make_shared<LeasedModel>(std::move(lease)), nullptr);
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
