// edgellm rm NAME...: removes models from the store.
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/terminal.h"
#include "app/verbs.h"
#include "serve/blob_store.h"

namespace edgellm::app {

void AddRm(CLI::App& app) {
  auto names = std::make_shared<std::vector<std::string>>();
  CLI::App* verb = app.add_subcommand("rm", "Remove models from the store");
  verb->add_option("NAME", *names, "NAME[:TAG] as `edgellm list` shows it")->required();
  verb->callback([names] {
    const ModelStore store = ModelStore::Default();
    for (const auto& name : *names) {
      store.Remove(name);
      WriteDiagnostic(fmt::format("deleted '{}'\n", name));
    }
    BlobStore(store).Clean();
  });
}

}  // namespace edgellm::app
