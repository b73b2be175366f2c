// edgellm pull MODEL: a model from the hub, or from a web address, to the store. What was downloaded before it was
// stopped is kept; the same command goes on.
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/format.h"
#include "app/progress_bar.h"
#include "app/terminal.h"
#include "app/verbs.h"
#include "base/error.h"
#include "serve/pull_model.h"

namespace edgellm::app {
namespace {

struct Arguments {
  std::string model, name, revision;
  int connections = 0;
  bool json = false;
};

std::string Activity(PullStatus::Phase phase, const std::string& name) {
  switch (phase) {
    case PullStatus::Phase::kWaiting:
      return "waiting for another pull of " + name;
    case PullStatus::Phase::kListing:
      return "pulling manifest";
    case PullStatus::Phase::kComparing:
      return "comparing";
    case PullStatus::Phase::kDownloading:
      return "pulling " + name;
    case PullStatus::Phase::kVerifying:
      return "verifying sha256 digest";
    case PullStatus::Phase::kPublishing:
      return "writing manifest";
  }
  return {};
}

void Run(const Arguments& arguments) {
  const ModelStore store = ModelStore::Default();
  HubSource source = FindHubSource(arguments.model);
  if (!arguments.revision.empty()) {
    if (!source.is_repository()) Fail(ErrorCode::kInvalidArgument, "--revision is for models of a hub");
    source.revision = arguments.revision;
  }
  const std::string name = NameInStore(arguments.name.empty() ? source.name : arguments.name);
  DownloadOptions options = DefaultDownloadOptions(source);
  if (arguments.connections > 0) options.connections = arguments.connections;

  ProgressBar bar(ProgressBar::Unit::kBytes);
  const Progress draw = bar.callback();
  bool waited = false, downloaded = false;
  const auto listener = [&](const PullStatus& status) {
    if (status.phase == PullStatus::Phase::kWaiting && !waited) {
      WriteNote("another process pulls this model: waiting for it");
      waited = true;
    }
    downloaded = downloaded || status.progress.done > 0;
    draw(Activity(status.phase, name), status.progress.done, status.progress.total);
  };
  bool fresh = false;
  try {
    fresh = PullModel(store, source, name, options, listener);
  } catch (const Interrupted&) {
    if (downloaded) WriteDiagnostic("\nstopped; what was downloaded is kept, the same command goes on\n");
    throw;
  }
  const auto stored = store.Find(name);
  if (!stored) Fail(ErrorCode::kIo, "model '{}' is gone again", name);
  if (arguments.json) {
    WriteJson({{"name", name}, {"path", stored->path.string()}, {"size", stored->bytes}, {"changed", fresh}});
  } else {
    WriteDiagnostic(fresh ? fmt::format("pulled '{}' ({})\n", name, HumanBytes(stored->bytes))
                          : fmt::format("'{}' is up to date\n", name));
  }
}

}  // namespace

void AddPull(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("pull", "Fetch a model from a hub or a web address");
  verb->add_option("MODEL", arguments->model,
                   "OWNER/REPOSITORY[:QUANTISATION or FILE], hf.co/OWNER/REPOSITORY, or https://…")
      ->required();
  verb->add_option("--name", arguments->name, "what to call it in the store");
  verb->add_option("--revision", arguments->revision, "branch, tag or commit; default: main");
  verb->add_option("--connections", arguments->connections, "requests side by side; default: 8")
      ->check(CLI::Range(1, 64).description(""));
  verb->add_flag("--json", arguments->json, "print JSON");
  verb->callback([arguments] { Run(*arguments); });
}

}  // namespace edgellm::app
