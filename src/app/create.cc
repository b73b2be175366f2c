// edgellm create NAME -f Modelfile: a model over another one, with its own parameters, template and system message,
// perhaps in a smaller format.
#include <filesystem>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/terminal.h"
#include "app/verbs.h"
#include "base/error.h"
#include "base/file.h"
#include "serve/create_model.h"

namespace edgellm::app {
namespace {

namespace fs = std::filesystem;

void Create(const std::string& name, const std::string& file, const std::string& quantize) {
  const bool piped = file == "-";
  const std::string text = piped ? ReadInput() : ReadFile(file);
  CreateOptions options;
  options.name = name;
  options.modelfile = ParseModelfile(text, piped ? "standard input" : file);
  options.quantize = quantize;
  options.folder = piped ? fs::current_path() : fs::absolute(file).parent_path();
  CreateModel(ModelStore::Default(), options, [](const std::string& status) {
    if (status.starts_with("quantizing")) WriteDiagnostic(status + "\n");
  });
  WriteDiagnostic(fmt::format("created '{}'\n", NameInStore(name)));
}

}  // namespace

void AddCreate(CLI::App& app) {
  struct Arguments {
    std::string name, file = "Modelfile", quantize;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("create", "Make a model of another one, by a Modelfile");
  verb->add_option("NAME", arguments->name, "NAME[:TAG]")->required();
  verb->add_option("-f,--file", arguments->file, "the Modelfile; '-' for standard input")->capture_default_str();
  verb->add_option("-q,--quantize", arguments->quantize,
                   "a format for weights of F32, F16, BF16: q8_0, q4_0, int4-g64 …");
  verb->callback([arguments] { Create(arguments->name, arguments->file, arguments->quantize); });
}

}  // namespace edgellm::app
