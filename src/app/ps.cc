// edgellm ps, edgellm stop: which models the running server has loaded, and unloading one.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/format.h"
#include "app/server_client.h"
#include "app/terminal.h"
#include "app/verbs.h"
#include "base/error.h"

namespace edgellm::app {
namespace {

using Json = nlohmann::ordered_json;

std::string TextOf(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

uint64_t NumberOf(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

/// "100% CPU", "100% GPU", "25%/75% CPU/GPU": where the model's bytes are.
std::string ProcessorText(uint64_t bytes, uint64_t on_device) {
  if (on_device == 0 || bytes == 0) return "100% CPU";
  if (on_device >= bytes) return "100% GPU";
  const auto share = static_cast<int>(static_cast<double>(on_device) / static_cast<double>(bytes) * 100);
  return fmt::format("{}%/{}% CPU/GPU", 100 - share, share);
}

/// "4 minutes from now"; a server that keeps a model for ever, or is using it, tells no time.
std::string UntilText(const std::string& time, int64_t now) {
  std::tm utc{};
  if (std::sscanf(time.c_str(), "%d-%d-%dT%d:%d:%d", &utc.tm_year, &utc.tm_mon, &utc.tm_mday, &utc.tm_hour, &utc.tm_min,
                  &utc.tm_sec) != 6) {
    return "Forever";
  }
  utc.tm_year -= 1900;
  utc.tm_mon -= 1;
  // Only servers of this kind tell the offset as well; "Z" is what this program's own says.
  const int64_t left = static_cast<int64_t>(timegm(&utc)) - now;
  if (left <= 0) return "Stopping...";
  std::string text = HumanAge(0, left);
  if (text.ends_with(" ago")) text.resize(text.size() - 4);
  return text + " from now";
}

void ListLoaded(bool json) {
  const Json answer = AskServer("/api/ps", nullptr);
  if (json) return WriteJson(answer);
  std::vector<std::vector<std::string>> rows = {{"NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"}};
  const auto now = static_cast<int64_t>(std::time(nullptr));
  for (const Json& model : answer.value("models", Json::array())) {
    if (!model.is_object()) continue;
    const uint64_t bytes = NumberOf(model, "size");
    rows.push_back({TextOf(model, "name"), TextOf(model, "digest").substr(0, 12), HumanBytes(bytes),
                    ProcessorText(bytes, NumberOf(model, "size_vram")),
                    std::to_string(NumberOf(model, "context_length")), UntilText(TextOf(model, "expires_at"), now)});
  }
  WriteOutput(Table(rows));
}

void Stop(const std::vector<std::string>& names) {
  for (const auto& name : names) {
    const Json request = {{"model", name}, {"keep_alive", 0}, {"stream", false}};
    AskServer("/api/generate", &request);
    WriteDiagnostic(fmt::format("stopped '{}'\n", name));
  }
}

}  // namespace

void AddPs(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  CLI::App* verb = app.add_subcommand("ps", "List the models that the running server has loaded");
  verb->add_flag("--json", *json, "print JSON");
  verb->callback([json] { ListLoaded(*json); });
}

void AddStop(CLI::App& app) {
  auto names = std::make_shared<std::vector<std::string>>();
  CLI::App* verb = app.add_subcommand("stop", "Unload a model of the running server, once its answers are finished");
  verb->add_option("MODEL", *names, "as `edgellm ps` shows it")->required();
  verb->callback([names] { Stop(*names); });
}

}  // namespace edgellm::app
