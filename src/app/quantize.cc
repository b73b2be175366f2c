// edgellm quantize SRC DST --format F: a model file whose matrices are in a smaller format, with golden prompts
// recorded on this machine. A plain checkpoint forced to ternary is always measured: nobody should learn of the damage
// from the answers.
#include "convert/quantize.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/format.h"
#include "app/open_model.h"
#include "app/perplexity.h"
#include "app/progress_bar.h"
#include "app/terminal.h"
#include "app/verbs.h"
#include "base/error.h"
#include "base/file.h"
#include "model/model_file.h"
#include "text/sample_text.h"

namespace edgellm::app {
namespace {

struct Arguments {
  std::string source, destination, format, head, evaluation;
  int group = 0, golden = 3;
  bool zero_point = false, force = false, json = false;
  BackendArguments backend;
};

/// "int8" and "int4" are completed with a group; full names are taken as they are.
WeightFormat ParseFormat(std::string name, int group, bool zero_point) {
  const bool short_name = name == "int8" || name == "int4" || (name == "ternary" && group != 0);
  if (short_name) {
    name += fmt::format("-g{}{}", group, zero_point ? "-z" : "");
  } else if (zero_point && !WeightFormat::Parse(name).zero_point) {
    Fail(ErrorCode::kInvalidArgument, "--zero-point goes with --format int4, not with {}", name);
  }
  return WeightFormat::Parse(name);
}

QuantizeOptions ToQuantizeOptions(const Arguments& arguments) {
  const bool integer = arguments.format == "int8" || arguments.format == "int4";
  if (arguments.group != 0 && !integer && arguments.format != "ternary") {
    Fail(ErrorCode::kInvalidArgument, "--group goes with --format int8, int4 or ternary, not with {}",
         arguments.format);
  }
  QuantizeOptions options;
  // 32 as GGUF has it: the finest group, and files that can be exported bit for bit.
  const int group = arguments.group != 0 ? arguments.group : integer ? 32 : 0;
  options.linear = ParseFormat(arguments.format, group, arguments.zero_point);
  if (!arguments.head.empty()) options.head = ParseFormat(arguments.head, 128, false);
  options.force_ternary = arguments.force;
  return options;
}

std::filesystem::path Destination(const Arguments& arguments) {
  std::filesystem::path path = arguments.destination;
  if (path.extension() != kModelFileSuffix) path += kModelFileSuffix;
  if (std::filesystem::is_directory(path)) Fail(ErrorCode::kInvalidArgument, "{}: is a folder", path.string());
  return path;
}

/// What quantising cost, on the same text with the same windows.
struct Cost {
  std::string text_name;
  Perplexity before, after;
};

std::optional<Cost> Measure(const Arguments& arguments, const WeightFormat& format, const Model& source,
                            const Model& result) {
  const bool forced = arguments.force && format.kind == WeightKind::kTernary && !source.config.native_ternary;
  if (arguments.evaluation.empty() && !forced) return std::nullopt;
  if (source.tokenizer_json.empty()) {
    WriteNote("the model came without a tokenizer: what this costs in perplexity cannot be measured");
    return std::nullopt;
  }
  const bool own = !arguments.evaluation.empty();
  const std::string text = own ? ReadFile(arguments.evaluation) : std::string(text::kSampleText);
  // The built-in page is short: small windows score more of it.
  const std::optional<int> window = own ? std::nullopt : std::optional(std::min(128, source.config.max_context));
  const RuntimeOptions options = ToRuntimeOptions(arguments.backend, 0);
  return Cost{own ? std::filesystem::path(arguments.evaluation).filename().string() : "built-in sample",
              PerplexityOf(source, text, window, options), PerplexityOf(result, text, window, options)};
}

void Report(const Arguments& arguments, const std::filesystem::path& path, const WeightFormat& format,
            const Model& result, uint64_t source_bytes, const std::optional<Cost>& cost) {
  const uint64_t bytes = std::filesystem::file_size(path);
  if (arguments.json) {
    nlohmann::ordered_json json = {{"path", path.string()},
                                   {"bytes", bytes},
                                   {"source_weight_bytes", source_bytes},
                                   {"format", format.Name()},
                                   {"golden_prompts", result.golden.size()}};
    if (cost) {
      json["perplexity"] = {{"text", cost->text_name},
                            {"before", cost->before.value},
                            {"after", cost->after.value},
                            {"scored_tokens", cost->after.scored_tokens}};
    }
    WriteJson(json);
    return;
  }
  std::string text = fmt::format("{}: {}, {} (weights were {}), {} golden prompts\n", path.string(), format.Name(),
                                 HumanBytes(bytes), HumanBytes(source_bytes), result.golden.size());
  if (cost) {
    text += fmt::format("perplexity on {}: {:.4f} -> {:.4f} ({:+.2f}%, {} tokens scored)\n", cost->text_name,
                        cost->before.value, cost->after.value, (cost->after.value / cost->before.value - 1) * 100,
                        cost->after.scored_tokens);
  }
  WriteOutput(text);
}

void QuantizeModel(const Arguments& arguments) {
  const QuantizeOptions options = ToQuantizeOptions(arguments);
  const std::filesystem::path path = Destination(arguments);
  const Model source = OpenModel(arguments.source);
  for (const auto& note : source.provenance.notes) WriteNote(note);
  std::optional<Model> result;
  {
    ProgressBar bar(ProgressBar::Unit::kCount);
    result = Quantize(source, options, bar.callback());
  }
  const auto cost = Measure(arguments, options.linear, source, *result);
  if (arguments.golden > 0) {
    Runtime runtime(*result, ToRuntimeOptions(arguments.backend, 0));
    result->golden = RecordGolden(runtime, arguments.golden);
  }
  {
    ProgressBar bar(ProgressBar::Unit::kBytes);
    WriteModelFile(*result, path, bar.callback());
  }
  uint64_t source_bytes = 0;
  for (const auto& [name, tensor] : source.weights.tensors()) {
    source_bytes += tensor.view.format.TotalBytes(tensor.view.rows, tensor.view.cols);
  }
  Report(arguments, path, options.linear, *result, source_bytes, cost);
}

}  // namespace

void AddQuantize(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("quantize", "Write a model in a smaller format");
  verb->add_option("SRC", arguments->source, "name, file or folder")->required();
  verb->add_option("DST", arguments->destination, "the file to write; .edgellm is added where it is missing")
      ->required();
  verb->add_option("--format", arguments->format, "int8, int4, ternary, or a full name such as int4-g128-z")
      ->required();
  verb->add_option("--group", arguments->group, "values that share a scale: 32 (default), 64 or 128");
  verb->add_flag("--zero-point", arguments->zero_point, "int4: a zero point in every group");
  verb->add_option("--head", arguments->head, "format of embedding and head; default: int8-g128");
  verb->add_flag("--force", arguments->force, "make a plain checkpoint ternary, and print what that costs");
  verb->add_option("--eval", arguments->evaluation, "plain text on which perplexity is measured before and after");
  verb->add_option("--golden", arguments->golden, "golden prompts to record")
      ->check(CLI::Range(0, 8).description(""))
      ->capture_default_str();
  AddBackendOptions(*verb, &arguments->backend);
  verb->add_flag("--json", arguments->json, "print JSON");
  verb->callback([arguments] { QuantizeModel(*arguments); });
}

}  // namespace edgellm::app
