// See pull_model.h.
#include "serve/pull_model.h"

#include <cstdlib>

#include "base/error.h"

namespace edgellm {
namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string HubEndpoint() {
  for (const char* name : {"EDGELLM_HUB", "HF_ENDPOINT"}) {
    if (std::string value = Environment(name); !value.empty()) return value;
  }
  return kUsualHub;
}

}  // namespace

HubSource FindHubSource(std::string_view name) {
  HubSource source = ParseHubName(name, HubEndpoint());
  if (!IsModelName(source.name)) {
    Fail(ErrorCode::kInvalidArgument, "'{}' cannot be the name of a model here: choose one with --name", source.name);
  }
  return source;
}

DownloadOptions DefaultDownloadOptions(const HubSource& source) {
  DownloadOptions options;
  options.fetch.token = Environment("HF_TOKEN");
  options.fetch.token_origin = source.endpoint;
  return options;
}

bool PullModel(const ModelStore& store, const HubSource& source, std::string_view name, const DownloadOptions& options,
               const PullListener& listener) {
  store.PathFor(name);  // refuses what cannot be a name before anything is fetched
  PullPlace place;
  place.work = store.WorkFolder();
  place.name = NameInStore(name);
  place.existing = [&]() -> std::optional<std::filesystem::path> {
    const auto existing = store.Find(name);
    return existing && !existing->bundled ? std::optional(existing->path) : std::nullopt;
  };
  place.publish = [&](const std::filesystem::path& ready) { store.Publish(ready, name); };
  return Pull(source, place, options, listener);
}

}  // namespace edgellm
