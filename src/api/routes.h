// The generation APIs as routes of the server: what generation_routes.h lists, and the WebSocket /v1/stream.
#pragma once

#include "api/services.h"
#include "http/router.h"
#include "http/status.h"

namespace edgellm::api {

void AddGenerationRoutes(http::Router& router, const ServicesPointer& services);

/// What the server itself refuses, in the form that clients of the path expect: for ServerOptions::error_body.
http::Reply ApiErrorBody(const http::ErrorReport& report);

}  // namespace edgellm::api
