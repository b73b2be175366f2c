// The routes about models: Ollama's tags, ps, show, pull, create, copy, delete and blobs, and OpenAI's list of models.
// As data: method, pattern, handler; model_route_table.h puts them into a router.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "http/exchange.h"
#include "hub/pull_jobs.h"
#include "serve/model_host.h"
#include "serve/model_store.h"
#include "serve/model_summary.h"

namespace edgellm::api {

/// What the routes stand on.
struct ModelServices {
  explicit ModelServices(ModelStore models) : store(std::move(models)) {}

  ModelStore store;
  std::function<std::vector<LoadedModelFacts>()> loaded;
  std::function<bool(const std::string& model)> unload;
  /// Runs a task on another thread soon: files are read there.
  std::function<void(std::function<void()> task)> post;
  /// Pulls `model` into the store. Blocks; throws what the listener throws. Empty: PullModel.
  std::function<void(const std::string& model, const PullListener& listener)> pull;
  SummaryCache summaries;
  PullJobs pulls;  // last: its threads use the rest
};

using ModelServicesPointer = std::shared_ptr<ModelServices>;

struct ModelRoute {
  std::string_view method, pattern;
  bool body_to_file = false;  // Request::body_file, of any length
  void (*handle)(const ModelServicesPointer& services, std::shared_ptr<http::Exchange> exchange);
};

std::span<const ModelRoute> ModelRoutes();

/// Over a host, which must outlive them.
ModelServicesPointer ModelServicesOf(ModelHost& host, std::function<void(std::function<void()>)> post);

}  // namespace edgellm::api
