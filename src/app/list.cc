// edgellm list: the models of the store, and those that came with the program.
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "app/format.h"
#include "app/terminal.h"
#include "app/verbs.h"
#include "serve/model_store.h"

namespace edgellm::app {
namespace {

void ListModels(bool json) {
  const auto models = ModelStore::Default().List();
  if (json) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const auto& model : models) {
      list.push_back({{"name", model.name},
                      {"id", ShortId(model.path)},
                      {"size", model.bytes},
                      {"modified_at", Rfc3339(model.modified)},
                      {"path", model.path.string()},
                      {"bundled", model.bundled}});
    }
    WriteJson({{"models", list}});
    return;
  }
  std::vector<std::vector<std::string>> rows = {{"NAME", "ID", "SIZE", "MODIFIED"}};
  const auto now = static_cast<int64_t>(std::time(nullptr));
  for (const auto& model : models) {
    rows.push_back({model.name, ShortId(model.path), HumanBytes(model.bytes), HumanAge(model.modified, now)});
  }
  WriteOutput(Table(rows));
}

}  // namespace

void AddList(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  CLI::App* verb = app.add_subcommand("list", "List models")->alias("ls");
  verb->add_flag("--json", *json, "print JSON");
  verb->callback([json] { ListModels(*json); });
}

}  // namespace edgellm::app
