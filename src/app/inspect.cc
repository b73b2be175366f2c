// edgellm inspect FILE: everything a model file, GGUF or Hugging Face folder says about itself, tensors and plan
// included.
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/format.h"
#include "app/model_facts.h"
#include "app/open_model.h"
#include "app/terminal.h"
#include "app/verbs.h"
#include "model/lower.h"
#include "serve/generate_options.h"

namespace edgellm::app {
namespace {

using nlohmann::ordered_json;

struct Arguments {
  std::string model;
  bool plan = false, tensors = false, json = false;
};

std::string ShapeText(const Tensor& tensor) {
  return tensor.is_vector ? fmt::format("[{}]", tensor.view.cols)
                          : fmt::format("[{}, {}]", tensor.view.rows, tensor.view.cols);
}

uint64_t BytesOf(const Tensor& tensor) {
  return tensor.view.format.TotalBytes(tensor.view.rows, tensor.view.cols);
}

std::string TensorTable(const Model& model) {
  std::vector<std::vector<std::string>> rows = {{"NAME", "SHAPE", "FORMAT", "BYTES"}};
  for (const auto& [name, tensor] : model.weights.tensors()) {
    rows.push_back({name, ShapeText(tensor), tensor.view.format.Name(), std::to_string(BytesOf(tensor))});
  }
  return Table(rows) + "\n";
}

/// One value for people: objects (a recipe's tensors) are counted, not printed; floats as the file's author wrote them.
std::string ValueText(const ordered_json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return fmt::format("{:.6g}", value.get<double>());
  if (value.is_object()) return fmt::format("{} entries (--json prints them)", value.size());
  return value.dump();
}

/// A JSON object as rows of a section.
std::vector<std::pair<std::string, std::string>> Rows(const ordered_json& object) {
  std::vector<std::pair<std::string, std::string>> rows;
  if (!object.is_object()) return rows;
  for (const auto& [name, value] : object.items()) rows.emplace_back(name, ValueText(value));
  return rows;
}

ordered_json RecipeOf(const Model& model) {
  ordered_json recipe = ordered_json::parse(model.provenance.recipe_json, nullptr, /*allow_exceptions=*/false);
  return recipe.is_discarded() ? ordered_json::object() : recipe;
}

ordered_json InspectJson(const Model& model, const Arguments& arguments) {
  ordered_json json = ShowJson(model);
  json["config"] = ToJson(model.config);
  json["provenance"] = {{"source", model.provenance.source},
                        {"source_format", model.provenance.source_format},
                        {"source_digest", model.provenance.source_digest},
                        {"created_by", model.provenance.created_by},
                        {"notes", model.provenance.notes}};
  json["recipe"] = RecipeOf(model);
  json["has_tokenizer"] = !model.tokenizer_json.empty();
  json["bytes_by_format"] = FactsOf(model).bytes_by_format;
  ordered_json tensors = ordered_json::array();
  for (const auto& [name, tensor] : model.weights.tensors()) {
    const WeightView& view = tensor.view;
    tensors.push_back({{"name", name},
                       {"shape", tensor.is_vector ? ordered_json{view.cols} : ordered_json{view.rows, view.cols}},
                       {"format", view.format.Name()},
                       {"bytes", BytesOf(tensor)}});
  }
  json["tensors"] = std::move(tensors);
  if (arguments.plan) json["plan"] = ToText(Lower(model.config));
  return json;
}

std::string InspectText(const Model& model, const Arguments& arguments) {
  std::string text = Section("Model", ModelRows(model));
  text += Section("Configuration", Rows(ToJson(model.config)));
  auto generation = Describe(model.generation);
  for (const int32_t token : model.generation.stop_tokens) generation.emplace_back("stop token", std::to_string(token));
  text += Section("Generation", generation);
  const Provenance& provenance = model.provenance;
  std::vector<std::pair<std::string, std::string>> origin = {{"source", provenance.source},
                                                             {"source format", provenance.source_format},
                                                             {"source digest", provenance.source_digest},
                                                             {"created by", provenance.created_by}};
  std::erase_if(origin, [](const auto& row) { return row.second.empty(); });
  for (const auto& note : provenance.notes) origin.emplace_back("note", note);
  text += Section("Provenance", origin) + Section("Recipe", Rows(RecipeOf(model)));
  const ModelFacts facts = FactsOf(model);
  std::vector<std::pair<std::string, std::string>> contents;
  for (const auto& [format, bytes] : facts.bytes_by_format) contents.emplace_back(format, HumanBytes(bytes));
  contents.emplace_back("tensors", std::to_string(model.weights.tensors().size()));
  contents.emplace_back("tokenizer", model.tokenizer_json.empty() ? "no" : "yes");
  contents.emplace_back("chat template", model.chat_template.empty() ? "no" : "yes");
  contents.emplace_back("golden prompts", std::to_string(model.golden.size()));
  text += Section("Contents", contents);
  if (arguments.tensors) text += TensorTable(model);
  if (arguments.plan) text += ToText(Lower(model.config)) + "\n";
  while (text.ends_with("\n\n")) text.pop_back();
  return text;
}

void Inspect(const Arguments& arguments) {
  const Model model = OpenModel(arguments.model);
  if (arguments.json) {
    WriteJson(InspectJson(model, arguments));
  } else {
    WriteOutput(InspectText(model, arguments));
  }
}

}  // namespace

void AddInspect(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("inspect", "Show all that a model says about itself");
  verb->add_option("FILE", arguments->model, "name, file or folder")->required();
  verb->add_flag("--tensors", arguments->tensors, "list the tensors (JSON always does)");
  verb->add_flag("--plan", arguments->plan, "print the plan of the forward pass");
  verb->add_flag("--json", arguments->json, "print JSON");
  verb->callback([arguments] { Inspect(*arguments); });
}

}  // namespace edgellm::app
