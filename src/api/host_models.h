// The generation APIs' view of loaded models (services.h) over the real thing: ModelHost and ServedModel. Nothing but
// forwarding.
#pragma once

#include <memory>

#include "api/services.h"
#include "serve/model_host.h"

namespace edgellm::api {

/// A leased model.
std::shared_ptr<UsedModel> UsedModelOf(std::shared_ptr<ModelLease> lease);

/// `host` must outlive what is returned and every answer.
std::shared_ptr<Models> ModelsOf(ModelHost& host);

}  // namespace edgellm::api
