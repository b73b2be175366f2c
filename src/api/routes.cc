// See routes.h.
#include "api/routes.h"

#include <utility>

#include "api/failure.h"
#include "api/generation_routes.h"
#include "api/stream_session.h"

namespace edgellm::api {

void AddGenerationRoutes(http::Router& router, const ServicesPointer& services) {
  const http::RouteOptions options{.max_body = kMaxGenerationBody};
  for (const GenerationRoute& route : GenerationRoutes()) {
    const auto handler = [services, handle = route.handle](std::shared_ptr<http::Exchange> exchange) {
      handle(services, std::move(exchange));
    };
    router.Add(route.method, route.pattern, handler, options);
  }
  router.AddWebSocket(
      "/v1/stream",
      [services](std::shared_ptr<http::WebSocket> socket) { return MakeStreamSession(services, std::move(socket)); },
      options);
}

http::Reply ApiErrorBody(const http::ErrorReport& report) {
  return ErrorReply(report.status, report.message, FormOf(report.path));
}

}  // namespace edgellm::api
