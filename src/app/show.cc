// edgellm show MODEL: what a model is, in short. `inspect` has the whole of it.
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "app/model_facts.h"
#include "app/open_model.h"
#include "app/terminal.h"
#include "app/verbs.h"
#include "serve/model_manifest.h"
#include "serve/modelfile.h"

namespace edgellm::app {
namespace {

struct Arguments {
  std::string model;
  bool chat_template = false, modelfile = false, json = false;
};

/// What `create` would make this model of again.
std::string ModelfileOf(const std::string& name) {
  const ModelSource source = FindModelSource(ModelStore::Default(), name);
  if (source.manifest) return WriteModelfile(ToModelfile(*source.manifest));
  Modelfile modelfile;
  modelfile.from = IsModelName(name) ? NameInStore(name) : source.weights.string();
  return WriteModelfile(modelfile);
}

void Show(const Arguments& arguments) {
  if (arguments.modelfile) return WriteOutput(ModelfileOf(arguments.model));
  const Model model = OpenModel(arguments.model);
  if (arguments.json) {
    WriteJson(ShowJson(model));
  } else {
    WriteOutput(arguments.chat_template ? model.chat_template + "\n" : ShowText(model));
  }
}

}  // namespace

void AddShow(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("show", "Show what a model is");
  verb->add_option("MODEL", arguments->model, "name, file or folder")->required();
  verb->add_flag("--template", arguments->chat_template, "print the chat template instead");
  verb->add_flag("--modelfile", arguments->modelfile, "print a Modelfile of it instead");
  verb->add_flag("--json", arguments->json, "print JSON");
  verb->callback([arguments] { Show(*arguments); });
}

}  // namespace edgellm::app
