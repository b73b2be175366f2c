// edgellm cp SOURCE NAME: copies a model, or a model's file or folder, to a name of the store.
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/terminal.h"
#include "app/verbs.h"
#include "serve/model_store.h"

namespace edgellm::app {

void AddCp(CLI::App& app) {
  struct Arguments {
    std::string source, destination;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("cp", "Copy a model to a name of the store");
  verb->add_option("SOURCE", arguments->source, "name, file or folder")->required();
  verb->add_option("NAME", arguments->destination, "NAME[:TAG]")->required();
  verb->callback([arguments] {
    ModelStore::Default().Copy(arguments->source, arguments->destination);
    WriteDiagnostic(fmt::format("copied '{}' to '{}'\n", arguments->source, arguments->destination));
  });
}

}  // namespace edgellm::app
