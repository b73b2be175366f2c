// edgellm create NAME -f Modelfile: a model over another one, with its own parameters, template and system message.
#include <filesystem>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/terminal.h"
#include "app/verbs.h"
#include "base/error.h"
#include "base/file.h"
#include "serve/model_manifest.h"

namespace edgellm::app {
namespace {

namespace fs = std::filesystem;

void Create(const std::string& name, const std::string& file) {
  const bool piped = file == "-";
  const std::string text = piped ? ReadInput() : ReadFile(file);
  const Modelfile modelfile = ParseModelfile(text, piped ? "standard input" : file);
  const ModelStore store = ModelStore::Default();
  const fs::path folder = piped ? fs::current_path() : fs::absolute(file).parent_path();
  StoreManifest(store, name, ResolveModelfile(modelfile, store, folder));
  WriteDiagnostic(fmt::format("created '{}'\n", NameInStore(name)));
}

}  // namespace

void AddCreate(CLI::App& app) {
  struct Arguments {
    std::string name, file = "Modelfile";
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("create", "Make a model of another one, by a Modelfile");
  verb->add_option("NAME", arguments->name, "NAME[:TAG]")->required();
  verb->add_option("-f,--file", arguments->file, "the Modelfile; '-' for standard input")->capture_default_str();
  verb->callback([arguments] { Create(arguments->name, arguments->file); });
}

}  // namespace edgellm::app
