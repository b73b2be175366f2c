// edgellm perplexity MODEL FILE: how well a model predicts a plain text, scored as llama.cpp scores it.
#include "app/perplexity.h"

#include <algorithm>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/open_model.h"
#include "app/progress_bar.h"
#include "app/terminal.h"
#include "app/verbs.h"
#include "base/error.h"
#include "base/file.h"

namespace edgellm::app {
namespace {

struct Arguments {
  std::string model, file;
  std::optional<int> context;
  BackendArguments backend;
  bool json = false;
};

void PrintPerplexity(const Arguments& arguments) {
  const Model model = OpenModel(arguments.model);
  const std::string text = arguments.file == "-" ? ReadInput() : ReadFile(arguments.file);
  const Perplexity result = PerplexityOf(model, text, arguments.context, ToRuntimeOptions(arguments.backend, 0));
  if (arguments.json) {
    WriteJson({{"perplexity", result.value},
               {"standard_error", result.standard_error},
               {"mean_nll", result.mean_nll},
               {"scored_tokens", result.scored_tokens},
               {"windows", result.windows},
               {"context", result.window}});
  } else {
    WriteOutput(fmt::format("perplexity: {:.4f} +/- {:.5f} ({} tokens scored in {} windows of {})\n", result.value,
                            result.standard_error, result.scored_tokens, result.windows, result.window));
  }
}

/// A text as a model's ids, and how to score it.
struct Prepared {
  std::vector<int32_t> tokens;
  PerplexityOptions options;
};

Prepared Prepare(const Model& model, std::string_view text, std::optional<int> asked) {
  if (model.tokenizer_json.empty()) {
    Fail(ErrorCode::kUnsupported, "{}: the model came without a tokenizer", model.Label());
  }
  const auto tokenizer = text::Tokenizer::FromJson(model.tokenizer_json, model.Label());
  Prepared prepared;
  prepared.tokens = tokenizer.Encode(text, {.add_special = true, .parse_special = false});
  prepared.options.window = asked ? *asked : std::min(512, model.config.max_context);
  if (prepared.options.window > model.config.max_context) {
    Fail(ErrorCode::kInvalidArgument, "windows of {} tokens are longer than the {} that the model was trained for",
         prepared.options.window, model.config.max_context);
  }
  if (tokenizer.adds_bos()) prepared.options.bos = tokenizer.bos();
  return prepared;
}

}  // namespace

Perplexity PerplexityOf(const Model& model, std::string_view text, std::optional<int> window,
                        const RuntimeOptions& options) {
  const Prepared prepared = Prepare(model, text, window);
  const auto limits = PerplexityLimits(prepared.options.window, options.kv ? *options.kv : DefaultKv(model));
  const auto backend = BindBackend(model, limits, options);
  ProgressBar bar(ProgressBar::Unit::kCount);
  return MeasurePerplexity(*backend, limits, prepared.tokens, prepared.options, bar.callback());
}

Divergence DivergenceOf(const Model& reference, const Model& other, std::string_view text, std::optional<int> window,
                        const RuntimeOptions& options) {
  const Prepared prepared = Prepare(reference, text, window);
  // One KV type for both, so that only the weights differ.
  const auto limits = PerplexityLimits(prepared.options.window, options.kv ? *options.kv : DefaultKv(reference));
  const auto first = BindBackend(reference, limits, options), second = BindBackend(other, limits, options);
  ProgressBar bar(ProgressBar::Unit::kCount);
  return MeasureDivergence(*first, *second, limits, prepared.tokens, prepared.options, bar.callback());
}

void AddPerplexity(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("perplexity", "Measure how well a model predicts a plain text");
  verb->add_option("MODEL", arguments->model, "name, file or folder")->required();
  verb->add_option("FILE", arguments->file, "plain text, UTF-8; - for standard input")->required();
  verb->add_option("--ctx", arguments->context, "tokens in a window; default: 512, or the model's context if less");
  AddBackendOptions(*verb, &arguments->backend);
  verb->add_flag("--json", arguments->json, "print JSON");
  verb->callback([arguments] { PrintPerplexity(*arguments); });
}

}  // namespace edgellm::app
