// See model_route_table.h.
#include "api/model_route_table.h"

#include <utility>

namespace edgellm::api {
namespace {

constexpr uint64_t kMostBody = uint64_t{16} << 20;  // templates and messages, no weights
constexpr uint64_t kMostBlob = uint64_t{1} << 42;

}  // namespace

void AddModelRoutes(http::Router& router, const ModelServicesPointer& services) {
  for (const ModelRoute& route : ModelRoutes()) {
    const http::RouteOptions options{.max_body = route.body_to_file ? kMostBlob : kMostBody,
                                     .body_to_file = route.body_to_file};
    const auto handler = [services, handle = route.handle](std::shared_ptr<http::Exchange> exchange) {
      handle(services, std::move(exchange));
    };
    router.Add(route.method, route.pattern, handler, options);
  }
}

}  // namespace edgellm::api
