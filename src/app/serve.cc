// edgellm serve: the HTTP server. Puts together what others made: addresses and keys from options and environment,
// routes, counters, the log, and the end on a signal.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "app/access_log.h"
#include "app/probe_routes.h"
#include "app/terminal.h"
#include "app/verbs.h"
#include "base/error.h"
#include "http/server.h"
#include "serve/environment.h"
#include "serve/metrics.h"
#include "serve/serve_settings.h"

namespace edgellm::app {
namespace {

constexpr int kServerThreads = 2;  // they copy bytes; answers are made elsewhere

struct Arguments {
  std::string host, origins, hosts, grace = "30s";
  int port = -1;
  std::vector<std::string> keys;
  bool quiet = false;
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

/// What handlers on the server's threads look at.
struct Facts {
  std::atomic<Readiness> readiness{Readiness::kStarting};
  std::atomic<const http::Server*> server{nullptr};
  Metrics metrics;

  std::string RenderMetrics() const {
    const http::Server* running = server;
    return metrics.Render({}, running != nullptr ? running->connections() : 0);
  }
};

void Serve(const Arguments& arguments) {
  const std::chrono::nanoseconds grace = ParseDuration(arguments.grace);
  http::ServerOptions options = ToServerOptions(arguments);
  Facts facts;
  std::optional<AccessLog> log;
  if (!arguments.quiet) log.emplace();
  options.access_log = [&](const http::AccessRecord& record) {
    facts.metrics.Requested(record.method, record.status, std::chrono::duration<double>(record.duration).count(),
                            record.bytes);
    if (log) log->Add(record);
  };
  http::Router router;
  AddProbeRoutes(router, {[&] { return facts.readiness.load(); }, [&] { return facts.RenderMetrics(); }});
  http::Server server(std::move(options), std::move(router));
  facts.server = &server;
  facts.readiness = Readiness::kReady;
  WriteDiagnostic(fmt::format("listening on http://{}\n", fmt::join(server.addresses(), ", http://")));
  WaitForSignal();
  facts.readiness = Readiness::kStopping;
  WriteNote(
      fmt::format("stopping: answers have {} to end; the same signal again ends the program at once", arguments.grace));
  server.Stop(grace < std::chrono::nanoseconds(0) ? std::chrono::hours(24) : grace);
  facts.server = nullptr;
}

}  // namespace

void AddServe(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("serve", "Answer over HTTP");
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
  verb->add_option("--grace", arguments->grace, "how long answers may go on after a signal to stop")
      ->capture_default_str();
  verb->add_flag("--quiet", arguments->quiet, "no line for each request");
  verb->callback([arguments] { Serve(*arguments); });
}

}  // namespace edgellm::app
