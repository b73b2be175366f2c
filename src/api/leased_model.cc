// A leased model as the generation APIs see it. See host_models.h.
#include <utility>

#include "api/host_models.h"
#include "text/tokenizer.h"

namespace edgellm::api {
namespace {

class LeasedModel final : public UsedModel {
 public:
  LeasedModel(std::shared_ptr<ModelLease> lease, Metrics* metrics, std::string name)
      : lease_(std::move(lease)), metrics_(metrics), name_(std::move(name)) {}

  ServedModel::Ticket Start(GenerateRequest request, AnswerListener listener) override {
    if (metrics_ != nullptr) listener = metrics_->Measure(name_, std::move(listener));
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
  Metrics* metrics_;
  std::string name_;
};

}  // namespace

std::shared_ptr<UsedModel> UsedModelOf(std::shared_ptr<ModelLease> lease, Metrics* metrics, std::string name) {
  return std::make_shared<LeasedModel>(std::move(lease), metrics, std::move(name));
}

}  // namespace edgellm::api
