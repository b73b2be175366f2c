// edgellm serve: models over HTTP, or one over lines of JSON. Puts together what others made: addresses and keys from
// options and environment, loaded models, routes, counters, the log, and the end on a signal.
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <future>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "api/host_embeddings.h"
#include "api/host_models.h"
#include "api/model_route_table.h"
#include "api/routes.h"
#include "api/task_pool.h"
#include "app/access_log.h"
#include "app/open_model.h"
#include "app/probe_routes.h"
#include "app/terminal.h"
#include "app/verbs.h"
#include "base/error.h"
#include "http/server.h"
#include "serve/environment.h"
#include "serve/json_lines_session.h"
#include "serve/metrics.h"
#include "serve/model_host.h"
#include "serve/serve_settings.h"

namespace edgellm::app {
namespace {

constexpr int kServerThreads = 2;  // they copy bytes; answers are made elsewhere
constexpr int kTaskThreads = 2;    // they read requests and make prompts
constexpr int kFileThreads = 2;    // they look at models' files and check uploads, which takes as long as it takes

struct Arguments {
  std::string model, host, origins, hosts, keep_alive, grace = "30s";
  int port = -1, parallel = -1, max_queue = -1, max_models = -1, context = 0;
  BackendArguments backend;
  std::vector<std::string> keys;
  bool quiet = false, stdio = false;
};

/// The option, else EDGELLM_HOST, else OLLAMA_HOST.
ListenAddress AddressOf(const Arguments& arguments) {
  ListenAddress address;
  if (const auto setting = FindSetting("HOST")) {
    try {
      address = ParseListenAddress(setting->value);
    } catch (const Error& wrong) {
      if (!setting->foreign) Fail(ErrorCode::kInvalidArgument, "{}: {}", setting->variable, wrong.what());
      WriteNote(fmt::format("{} is passed over: {}", setting->variable, wrong.what()));
    }
  }
  if (!arguments.host.empty())
    address = ParseListenAddress(arguments.host, {.host = address.host, .port = address.port});
  if (arguments.port >= 0) address.port = static_cast<uint16_t>(arguments.port);
  return address;
}

/// What was given, else EDGELLM_API_KEY: OLLAMA_API_KEY is a client's key for another server.
std::vector<std::string> KeysOf(const Arguments& arguments) {
  if (!arguments.keys.empty()) return arguments.keys;
  const auto setting = FindSetting("API_KEY");
  return setting && !setting->foreign ? SplitList(setting->value) : std::vector<std::string>();
}

std::vector<std::string> ListOf(const std::string& option, const char* name) {
  if (!option.empty()) return SplitList(option);
  const auto setting = FindSetting(name);
  return setting ? SplitList(setting->value) : std::vector<std::string>();
}

http::ServerOptions ToServerOptions(const Arguments& arguments) {
  http::ServerOptions options;
  const ListenAddress address = AddressOf(arguments);
  options.host = address.host;
  options.port = address.port;
  options.threads = kServerThreads;
  options.keys = KeysOf(arguments);
  options.origins = ListOf(arguments.origins, "ORIGINS");
  options.hosts = ListOf(arguments.hosts, "ALLOWED_HOSTS");
  return options;
}

/// The option, else the environment's number, else nothing.
std::optional<int> NumberOf(int option, const char* name) {
  if (option >= 0) return option;
  const auto setting = FindSetting(name);
  if (!setting) return std::nullopt;
  int number = 0;
  const char* end = setting->value.data() + setting->value.size();
  const auto [at, failed] = std::from_chars(setting->value.data(), end, number);
  if (failed == std::errc() && at == end && number >= 0) return number;
  if (!setting->foreign) Fail(ErrorCode::kInvalidArgument, "{}: '{}' is no number", setting->variable, setting->value);
  return std::nullopt;
}

HostOptions ToHostOptions(const Arguments& arguments) {
  HostOptions options;
  options.model.runtime = ToRuntimeOptions(arguments.backend, arguments.context);
  options.model.parallel = NumberOf(arguments.parallel, "NUM_PARALLEL").value_or(options.model.parallel);
  options.model.max_queue = NumberOf(arguments.max_queue, "MAX_QUEUE").value_or(options.model.max_queue);
  options.max_models = NumberOf(arguments.max_models, "MAX_LOADED_MODELS").value_or(options.max_models);
  const auto setting = FindSetting("KEEP_ALIVE");
  if (!arguments.keep_alive.empty()) {
    options.keep_alive = ParseDuration(arguments.keep_alive);
  } else if (setting) {
    options.keep_alive = ParseDuration(setting->value);
  }
  return options;
}

/// Loads the model that was asked for on the command line, which stays. Throws what loading throws, and Interrupted.
void LoadFirst(ModelHost& host, const Arguments& arguments) {
  if (arguments.model.empty()) return;
  auto loaded = std::make_shared<std::promise<void>>();
  std::future<void> waiting = loaded->get_future();
  LoadRequest request{.model = arguments.model, .keep_alive = {}, .context = {}};
  if (arguments.keep_alive.empty()) request.keep_alive = KeepAlive(-1);
  host.Acquire(std::move(request), [loaded](const std::shared_ptr<ModelLease>&, std::exception_ptr failure) {
    failure ? loaded->set_exception(failure) : loaded->set_value();
  });
  while (waiting.wait_for(std::chrono::milliseconds(50)) != std::future_status::ready) CheckInterrupt();
  waiting.get();
}

api::ServicesPointer MakeServices(ModelHost& host, api::TaskPool& pool, Metrics& metrics) {
  auto services = std::make_shared<api::Services>();
  services->models = api::ModelsOf(host, &metrics);
  services->post = [&pool](std::function<void()> task) { pool.Post(std::move(task)); };
  services->new_id = api::NewId;
  services->embed = api::EmbeddingsOf(host, services->post);
  return services;
}

/// What handlers on the server's threads look at.
struct Facts {
  std::atomic<Readiness> readiness{Readiness::kStarting};
  std::atomic<const http::Server*> server{nullptr};
  Metrics metrics;

  std::string RenderMetrics(const ModelHost& host) const {
    std::vector<Metrics::Loaded> loaded;
    for (const auto& facts : host.Loaded()) loaded.push_back({facts.name, facts.engine, facts.bytes});
    const http::Server* running = server;
    return metrics.Render(loaded, running != nullptr ? running->connections() : 0);
  }
};

/// One model, asked and answering by lines of JSON.
void ServeLines(const Arguments& arguments) {
  if (arguments.model.empty()) Fail(ErrorCode::kInvalidArgument, "--stdio needs a --model");
  ServedModel model(OpenModel(arguments.model), ToHostOptions(arguments).model);
  RunJsonLines(model, std::cin, std::cout);
}

void Serve(const Arguments& arguments) {
  if (arguments.stdio) return ServeLines(arguments);
  const std::chrono::nanoseconds grace = ParseDuration(arguments.grace);
  http::ServerOptions options = ToServerOptions(arguments);
  options.error_body = api::ApiErrorBody;
  Facts facts;
  ModelHost host(ModelStore::Default(), ToHostOptions(arguments));
  // On the store's file system, so that an upload becomes a blob by one rename.
  if (!host.store().folder().empty()) options.body_folder = host.store().WorkFolder();
  // After the host, as what they still have to do may ask the host.
  api::TaskPool pool(kTaskThreads), files(kFileThreads);
  std::optional<AccessLog> log;
  if (!arguments.quiet) log.emplace();
  options.access_log = [&](const http::AccessRecord& record) {
    facts.metrics.Requested(record.method, record.status, std::chrono::duration<double>(record.duration).count(),
                            record.bytes);
    if (log) log->Add(record);
  };
  http::Router router;
  AddProbeRoutes(router, {[&] { return facts.readiness.load(); }, [&] { return facts.RenderMetrics(host); }});
  api::AddGenerationRoutes(router, MakeServices(host, pool, facts.metrics));
  api::AddModelRoutes(
      router, api::ModelServicesOf(host, [&files](std::function<void()> task) { files.Post(std::move(task)); }));
  http::Server server(std::move(options), std::move(router));
  facts.server = &server;
  if (arguments.model.empty()) facts.readiness = Readiness::kReady;  // whoever reads the line below may ask at once
  WriteNote(fmt::format("listening on http://{}", fmt::join(server.addresses(), ", http://")));
  LoadFirst(host, arguments);
  facts.readiness = Readiness::kReady;
  WaitForSignal();
  facts.readiness = Readiness::kStopping;
  WriteNote(
      fmt::format("stopping: answers have {} to end; the same signal again ends the program at once", arguments.grace));
  server.Stop(grace < std::chrono::nanoseconds(0) ? std::chrono::hours(24) : grace);
  facts.server = nullptr;
  host.Stop(std::chrono::nanoseconds(0));  // nobody listens any more
}

}  // namespace

void AddServe(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("serve", "Answer over HTTP, as Ollama and OpenAI do");
  verb->add_option("--model", arguments->model,
                   "a model to load at once, and to keep; others are loaded when asked for");
  verb->add_option("--host", arguments->host,
                   "address to listen on: HOST, HOST:PORT; default: EDGELLM_HOST, else 127.0.0.1:11434");
  verb->add_option("--port", arguments->port, "port to listen on; 0: any that is free")
      ->check(CLI::Range(0, 65535).description(""));
  verb->add_option("--api-key", arguments->keys,
                   "a key that requests must carry; may be given several times. Better: EDGELLM_API_KEY, which other "
                   "users cannot see");
  verb->add_option("--origins", arguments->origins,
                   "origins of web pages that may ask, beside loopback ones (a,b,…; '*' stands for any text); default: "
                   "EDGELLM_ORIGINS");
  verb->add_option(
      "--allowed-hosts", arguments->hosts,
      "names by which this machine is asked, beside loopback ones (a,b,…); default: EDGELLM_ALLOWED_HOSTS");
  const auto number = [](CLI::Option* option) { option->check(CLI::Range(0, 1 << 20).description("")); };
  number(verb->add_option(
      "--parallel", arguments->parallel,
      "answers of a model that run together; default: EDGELLM_NUM_PARALLEL, else as many as make sense"));
  number(
      verb->add_option("--max-queue", arguments->max_queue,
                       "open requests of a model, more are told to come later; default: EDGELLM_MAX_QUEUE, else 512"));
  number(verb->add_option("--max-models", arguments->max_models,
                          "models loaded together; default: EDGELLM_MAX_LOADED_MODELS, else as many as fit"));
  number(verb->add_option("--ctx", arguments->context,
                          "positions of the context; default: EDGELLM_CONTEXT_LENGTH, else 4096"));
  verb->add_option(
      "--keep-alive", arguments->keep_alive,
      "how long a model stays after its last use: 5m, 1h30m, -1 for ever; default: EDGELLM_KEEP_ALIVE, else 5m");
  AddBackendOptions(*verb, &arguments->backend);
  verb->add_option("--grace", arguments->grace, "how long answers may go on after a signal to stop")
      ->capture_default_str();
  verb->add_flag("--stdio", arguments->stdio,
                 "no server: requests and events as lines of JSON on standard input and output, for the --model");
  verb->add_flag("--quiet", arguments->quiet, "no line for each request");
  verb->callback([arguments] { Serve(*arguments); });
}

}  // namespace edgellm::app
