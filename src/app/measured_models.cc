// See measured_models.h.
#include "app/measured_models.h"

#include <string>
#include <utility>

namespace edgellm::app {
namespace {

class MeasuredModel final : public api::UsedModel {
 public:
  MeasuredModel(std::shared_ptr<api::UsedModel> model, std::string name, Metrics& metrics)
      : model_(std::move(model)), name_(std::move(name)), metrics_(metrics) {}

  ServedModel::Ticket Start(GenerateRequest request, AnswerListener listener) override {
    return model_->Start(std::move(request), metrics_.Measure(name_, std::move(listener)));
  }
  void Cancel(RequestId id) override { model_->Cancel(id); }
  std::vector<int32_t> Encode(const GenerateRequest& request) const override { return model_->Encode(request); }
  std::string Decode(std::span<const int32_t> tokens) const override { return model_->Decode(tokens); }
  bool has_chat_template() const override { return model_->has_chat_template(); }
  std::optional<int32_t> begin_of_text() const override { return model_->begin_of_text(); }
  int64_t load_time() const override { return model_->load_time(); }

 private:
  std::shared_ptr<api::UsedModel> model_;
  std::string name_;
  Metrics& metrics_;
};

class MeasuredModels final : public api::Models {
 public:
  MeasuredModels(std::shared_ptr<api::Models> models, Metrics& metrics)
      : models_(std::move(models)), metrics_(metrics) {}

  void Acquire(LoadRequest request, Ready ready) override {
    std::string name = request.model;
    models_->Acquire(std::move(request), [ready = std::move(ready), name = std::move(name), &metrics = metrics_](
                                             std::shared_ptr<api::UsedModel> model, std::exception_ptr failure) {
      if (model) model = std::make_shared<MeasuredModel>(std::move(model), name, metrics);
      ready(std::move(model), failure);
    });
  }
  bool Unload(const std::string& model) override { return models_->Unload(model); }

 private:
  std::shared_ptr<api::Models> models_;
  Metrics& metrics_;
};

}  // namespace

std::shared_ptr<api::Models> Measured(std::shared_ptr<api::Models> models, Metrics& metrics) {
  return std::make_shared<MeasuredModels>(std::move(models), metrics);
}

}  // namespace edgellm::app
