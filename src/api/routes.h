// The generation APIs as routes of the server: what generation_routes.h lists, and the WebSocket /v1/stream.
#pragma once

#include "api/services.h"
#include "http/router.h"

namespace edgellm::api {

void AddGenerationRoutes(http::Router& router, const ServicesPointer& services);

}  // namespace edgellm::api
