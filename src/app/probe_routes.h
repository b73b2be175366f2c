// Routes that tell about the server itself and no model's answer: what monitors, load balancers and clients ask first.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "http/router.h"

namespace edgellm::app {

/// How far the server is.
enum class Readiness { kStarting, kReady, kStopping };

struct ProbeSources {
  std::function<Readiness()> readiness;
  std::function<std::string()> metrics;  // Prometheus' text; may be called on any thread of the server
};

/// GET / (text by which Ollama's clients know a server), /live (200 as long as the process answers), /health and /ready
/// (200 when requests are taken, else 503), /api/version, and /metrics. All but /metrics are open to everybody.
void AddProbeRoutes(http::Router& router, ProbeSources sources);

}  // namespace edgellm::app
