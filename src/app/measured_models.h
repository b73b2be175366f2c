// Loaded models as the APIs see them, with every answer counted on its way.
#pragma once

#include <memory>

#include "api/services.h"
#include "serve/metrics.h"

namespace edgellm::app {

/// `metrics` must outlive what is returned and every answer.
std::shared_ptr<api::Models> Measured(std::shared_ptr<api::Models> models, Metrics& metrics);

}  // namespace edgellm::app
