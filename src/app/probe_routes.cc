// See probe_routes.h.
#include "app/probe_routes.h"

#include <utility>

#include <nlohmann/json.hpp>

namespace edgellm::app {
namespace {

using http::Exchange;
using nlohmann::ordered_json;

void SendReadiness(const std::shared_ptr<Exchange>& exchange, Readiness readiness) {
  const char* status = readiness == Readiness::kReady      ? "ok"
                       : readiness == Readiness::kStarting ? "starting"
                                                           : "stopping";
  exchange->Send({readiness == Readiness::kReady ? 200 : 503, ordered_json{{"status", status}}.dump()});
}

}  // namespace

void AddProbeRoutes(http::Router& router, ProbeSources sources) {
  const http::RouteOptions open{.without_key = true};
  router.Add(
      "GET", "/",
      [](const auto& exchange) {
        exchange->Send({200, "Ollama is running", "text/plain; charset=utf-8"});
      },
      open);
  router.Add(
      "GET", "/live",
      [](const auto& exchange) {
        exchange->Send({200, ordered_json{{"status", "ok"}}.dump()});
      },
      open);
  for (const char* path : {"/health", "/ready"}) {
    router.Add(
        "GET", path, [readiness = sources.readiness](const auto& exchange) { SendReadiness(exchange, readiness()); },
        open);
  }
  router.Add(
      "GET", "/api/version",
      [](const auto& exchange) {
        exchange->Send({200, ordered_json{{"version", EDGELLM_VERSION}}.dump()});
      },
      open);
  router.Add("GET", "/metrics", [metrics = std::move(sources.metrics)](const auto& exchange) {
    exchange->Send({200, metrics(), "text/plain; version=0.0.4; charset=utf-8"});
  });
}

}  // namespace edgellm::app
