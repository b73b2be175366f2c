// edgellm quantize SRC DST --format F: a model file whose matrices are in a smaller format, with golden prompts
// recorded on this machine, fitted to a calibration text where one is given, and what it cost. A plain checkpoint
// forced to ternary is always measured: nobody should learn of the damage from the answers.
#include "convert/quantize.h"

#include <cmath>
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
#include "base/sha256.h"
#include "model/model_file.h"
#include "text/sample_text.h"

namespace edgellm::app {
namespace {

// Enough that more hardly helps (docs/quantisation.md), little enough that the activations of an 8B model fit in 4 GB.
constexpr int64_t kCalibrationTokens = 16384;
// As GPTQ's authors and perplexity have it, less where the model's context is shorter.
constexpr int kCalibrationWindow = 512;

struct Arguments {
  std::string source, destination, format, head, evaluation, calibration, scales = "search";
  int group = 0, golden = 3;
  int64_t calibration_tokens = kCalibrationTokens;
  bool zero_point = false, force = false, report = false, json = false;
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
  if (arguments.scales == "largest") options.scales = ScaleChoice::kLargestValue;
  options.threads = arguments.backend.threads;
  if (!arguments.calibration.empty() && !CanBeCalibrated(options.linear)) {
    Fail(ErrorCode::kInvalidArgument, "--calibrate goes with int4 and int8, not with {}", options.linear.Name());
  }
  return options;
}

Calibration ReadCalibration(const Arguments& arguments, const Model& source) {
  if (source.tokenizer_json.empty()) {
    Fail(ErrorCode::kUnsupported, "{}: the model came without a tokenizer, so no text can calibrate it",
         source.Label());
  }
  const auto tokenizer = text::Tokenizer::FromJson(source.tokenizer_json, source.Label());
  const std::string text = ReadFile(arguments.calibration);
  Calibration calibration;
  calibration.text = std::filesystem::path(arguments.calibration).filename().string();
  calibration.text_sha256 = Sha256Hex(std::as_bytes(std::span(text)));
  calibration.window = std::min(kCalibrationWindow, source.config.max_context);
  std::optional<int32_t> bos;
  if (tokenizer.adds_bos()) bos = tokenizer.bos();
  calibration.tokens = SpreadWindows(tokenizer.Encode(text, {.add_special = true, .parse_special = false}),
                                     calibration.window, arguments.calibration_tokens, bos);
  const auto taken = static_cast<int64_t>(calibration.tokens.size());
  if (taken + calibration.window <= arguments.calibration_tokens) {
    WriteNote(fmt::format("{} holds only {} tokens of the {} that calibration would take", calibration.text, taken,
                          arguments.calibration_tokens));
  }
  return calibration;
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
  Divergence divergence;
};

std::optional<Cost> Measure(const Arguments& arguments, const WeightFormat& format, const Model& source,
                            const Model& result) {
  const bool forced = arguments.force && format.kind == WeightKind::kTernary && !source.config.native_ternary;
  if (arguments.evaluation.empty() && !forced && !arguments.report) return std::nullopt;
  if (source.tokenizer_json.empty()) {
    WriteNote("the model came without a tokenizer: what this costs in perplexity cannot be measured");
    return std::nullopt;
  }
  const bool own = !arguments.evaluation.empty();
  const std::string text = own ? ReadFile(arguments.evaluation) : std::string(text::kSampleText);
  // The built-in page is short: small windows score more of it.
  const std::optional<int> window = own ? std::nullopt : std::optional(std::min(128, source.config.max_context));
  return Cost{own ? std::filesystem::path(arguments.evaluation).filename().string() : "built-in sample",
              DivergenceOf(source, result, text, window, ToRuntimeOptions(arguments.backend, 0))};
}

/// Bytes of all weights, and their number.
struct WeightSize {
  uint64_t bytes = 0, values = 0;
  double BitsPerWeight() const {
    return values == 0 ? 0 : static_cast<double>(bytes) * 8 / static_cast<double>(values);
  }
};

WeightSize SizeOf(const Model& model) {
  WeightSize size;
  for (const auto& [name, tensor] : model.weights.tensors()) {
    size.bytes += tensor.view.format.TotalBytes(tensor.view.rows, tensor.view.cols);
    size.values += static_cast<uint64_t>(tensor.view.rows * tensor.view.cols);
  }
  return size;
}

nlohmann::ordered_json CostJson(const Divergence& cost) {
  return {{"before", cost.reference.value},
          {"before_standard_error", cost.reference.standard_error},
          {"after", cost.other.value},
          {"after_standard_error", cost.other.standard_error},
          {"nll_difference", cost.nll_difference},
          {"nll_difference_standard_error", cost.nll_difference_error},
          {"mean_kl", cost.mean_kl},
          {"mean_kl_standard_error", cost.mean_kl_error},
          {"top1_agreement", cost.top1_agreement},
          {"scored_tokens", cost.other.scored_tokens}};
}

std::string CostText(const Cost& cost) {
  const Divergence& d = cost.divergence;
  // The error of the difference is that of two models on the same tokens: far less than that of either perplexity.
  return fmt::format(
      "perplexity on {}: {:.4f} -> {:.4f} ({:+.2f}% +/- {:.2f}%, {} tokens scored)\n"
      "mean KL divergence: {:.5f} +/- {:.5f} nats a token; same first choice: {:.2f}%\n",
      cost.text_name, d.reference.value, d.other.value, (std::exp(d.nll_difference) - 1) * 100,
      std::exp(d.nll_difference) * d.nll_difference_error * 100, d.other.scored_tokens, d.mean_kl, d.mean_kl_error,
      d.top1_agreement * 100);
}

void Report(const Arguments& arguments, const std::filesystem::path& path, const WeightFormat& format,
            const Model& source, const Model& result, const std::optional<Cost>& cost) {
  const uint64_t bytes = std::filesystem::file_size(path);
  const WeightSize before = SizeOf(source), after = SizeOf(result);
  if (arguments.json) {
    nlohmann::ordered_json json = {{"path", path.string()},
                                   {"bytes", bytes},
                                   {"source_weight_bytes", before.bytes},
                                   {"weight_bytes", after.bytes},
                                   {"source_bits_per_weight", before.BitsPerWeight()},
                                   {"bits_per_weight", after.BitsPerWeight()},
                                   {"format", format.Name()},
                                   {"golden_prompts", result.golden.size()}};
    if (cost) {
      json["perplexity"] = CostJson(cost->divergence);
      json["perplexity"]["text"] = cost->text_name;
    }
    WriteJson(json);
    return;
  }
  std::string text =
      fmt::format("{}: {}, {} (weights: {} -> {}, {:.2f} -> {:.2f} bits each), {} golden prompts\n", path.string(),
                  format.Name(), HumanBytes(bytes), HumanBytes(before.bytes), HumanBytes(after.bytes),
                  before.BitsPerWeight(), after.BitsPerWeight(), result.golden.size());
  if (cost) text += CostText(*cost);
  WriteOutput(text);
}

void QuantizeModel(const Arguments& arguments) {
  QuantizeOptions options = ToQuantizeOptions(arguments);
  const std::filesystem::path path = Destination(arguments);
  const Model source = OpenModel(arguments.source);
  for (const auto& note : source.provenance.notes) WriteNote(note);
  if (!arguments.calibration.empty()) {
    options.calibration = ReadCalibration(arguments, source);
    options.journal = path;
    options.journal += ".partial";
  }
  std::optional<Model> result;
  {
    ProgressBar bar(ProgressBar::Unit::kCount);
    result = Quantize(source, options, bar.callback(), WriteNote);
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
  if (!options.journal.empty()) std::filesystem::remove(options.journal);
  Report(arguments, path, options.linear, source, *result, cost);
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
  verb->add_option("--head", arguments->head,
                   "format of embedding and head; default: int8, with --format int8 in the same groups, else by 128");
  verb->add_flag("--force", arguments->force, "make a plain checkpoint ternary, and print what that costs");
  verb->add_option("--calibrate", arguments->calibration,
                   "int4, int8: plain text like what the model will read; layers are rounded so that it notices least");
  verb->add_option("--calibration-tokens", arguments->calibration_tokens, "how much of that text is used")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24).description(""))
      ->capture_default_str();
  verb->add_option("--scales", arguments->scales,
                   "int4 without a text: search the scale of least error, or take the largest value's, to compare with")
      ->check(CLI::IsMember({"search", "largest"}))
      ->capture_default_str();
  verb->add_flag("--report", arguments->report, "print what it costs: perplexity, KL divergence, same first choice");
  verb->add_option("--eval", arguments->evaluation,
                   "plain text for the report (and asks for it); default: a built-in page");
  verb->add_option("--golden", arguments->golden, "golden prompts to record")
      ->check(CLI::Range(0, 8).description(""))
      ->capture_default_str();
  AddBackendOptions(*verb, &arguments->backend);
  verb->add_flag("--json", arguments->json, "print JSON");
  verb->callback([arguments] { QuantizeModel(*arguments); });
}

}  // namespace edgellm::app
