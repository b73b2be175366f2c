// The routes about models in a router.
#pragma once

#include "api/model_routes.h"
#include "http/router.h"

namespace edgellm::api {

void AddModelRoutes(http::Router& router, const ModelServicesPointer& services);

}  // namespace edgellm::api
