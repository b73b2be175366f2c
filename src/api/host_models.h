// The generation APIs' view of loaded models (services.h) over the real thing: ModelHost and ServedModel. Forwards, and
// has answers counted on their way.
#pragma once

#include <memory>
#include <string>

#include "api/services.h"
#include "serve/metrics.h"
#include "serve/model_host.h"

namespace edgellm::api {

/// A leased model. Its answers are counted under `name` in `metrics`, where there are some, which must outlive them.
std::shared_ptr<UsedModel> UsedModelOf(std::shared_ptr<ModelLease> lease, Metrics* metrics = nullptr, std::string name = {});

/// `host`, and `metrics` where they are wanted, must outlive what is returned and every answer.
std::shared_ptr<Models> ModelsOf(ModelHost& host, Metrics* metrics = nullptr);

}  // namespace edgellm::api
