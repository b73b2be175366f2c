// edgellm convert SRC DST: another container for the same model. DST.gguf is written for the peers, in the type asked
// for; DST.edgellm is an import that quantises nothing.
#include <filesystem>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/format.h"
#include "app/open_model.h"
#include "app/progress_bar.h"
#include "app/terminal.h"
#include "app/verbs.h"
#include "base/error.h"
#include "convert/export_gguf.h"
#include "model/model_file.h"

namespace edgellm::app {
namespace {

struct Arguments {
  std::string source, destination, type;
  bool json = false;
};

void Convert(const Arguments& arguments) {
  const std::filesystem::path destination = arguments.destination;
  const bool to_gguf = destination.extension() == ".gguf";
  if (!to_gguf && destination.extension() != kModelFileSuffix) {
    Fail(ErrorCode::kInvalidArgument, "{}: the name must end in .gguf or {}", arguments.destination, kModelFileSuffix);
  }
  if (to_gguf && arguments.type.empty()) {
    Fail(ErrorCode::kInvalidArgument, "a GGUF file needs --type f16, q8_0, q4_0 or tq2_0");
  }
  if (!to_gguf && !arguments.type.empty()) {
    Fail(ErrorCode::kInvalidArgument, "--type is for GGUF files; `edgellm quantize` changes a model's formats");
  }
  const std::optional<GgufType> type = to_gguf ? std::optional(ParseGgufType(arguments.type)) : std::nullopt;
  const Model model = OpenModel(arguments.source);
  for (const auto& note : model.provenance.notes) WriteNote(note);
  {
    ProgressBar bar(type ? ProgressBar::Unit::kCount : ProgressBar::Unit::kBytes);
    if (type) {
      ExportGguf(model, *type, destination, bar.callback());
    } else {
      WriteModelFile(model, destination, bar.callback());
    }
  }
  const uint64_t bytes = std::filesystem::file_size(destination);
  if (arguments.json) {
    WriteJson({{"path", destination.string()}, {"bytes", bytes}});
  } else {
    WriteOutput(fmt::format("{}: {}\n", destination.string(), HumanBytes(bytes)));
  }
}

}  // namespace

void AddConvert(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("convert", "Write a model as a GGUF file, or as a model file without quantising");
  verb->add_option("SRC", arguments->source, "name, file or folder")->required();
  verb->add_option("DST", arguments->destination, "FILE.gguf or FILE.edgellm")->required();
  verb->add_option("--type", arguments->type, "for GGUF: f16, q8_0, q4_0, or tq2_0 (ternary weights)");
  verb->add_flag("--json", arguments->json, "print JSON");
  verb->callback([arguments] { Convert(*arguments); });
}

}  // namespace edgellm::app
