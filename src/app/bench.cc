// edgellm bench: what this machine's memory gives, and how much of it a model's decoding uses; prompts, times between
// tokens, memory. Everything that it prints was measured in the same run.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/format.h"
#include "app/measures.h"
#include "app/open_model.h"
#include "app/progress_bar.h"
#include "app/statistics.h"
#include "app/terminal.h"
#include "app/users_report.h"
#include "app/verbs.h"
#include "base/error.h"
#include "base/worker_pool.h"
#include "bench/endpoint.h"
#include "bench/endpoint_users.h"
#include "bench/model_bench.h"
#include "bench/random_model.h"
#include "bench/read_bandwidth.h"
#include "bench/serving_bench.h"
#include "bench/shapes.h"
#include "commit.h"
#include "convert/export_gguf.h"
#include "model/model_file.h"

namespace edgellm::app {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  std::string model, shape, format = "int4-g128", head = "int8-g128", save, endpoint, api_key;
  ModelBenchOptions what;
  BackendArguments backend;
  EndpointUsersOptions users;
  bool serve = false, json = false;
};

/// Rates at 1, 2, 4 … threads and at all that the model will use.
std::vector<std::pair<int, Spread>> Bandwidths(int threads) {
  constexpr size_t kBytes = size_t{512} << 20;  // several times the last cache of any machine that this is for
  constexpr int kPasses = 5;
  std::vector<std::pair<int, Spread>> list;
  for (int count = 1; count < threads; count *= 2)
    list.emplace_back(count, MeasureReadBandwidth(count, kBytes, kPasses));
  list.emplace_back(threads, MeasureReadBandwidth(threads, kBytes, kPasses));
  return list;
}

Json ItlJson(const Percentiles& itl, int count) {
  return {{"tokens", count}, {"p50", itl.p50},   {"p95", itl.p95},
          {"p99", itl.p99},  {"p999", itl.p999}, {"max", itl.max}};
}

struct Report {
  std::string model, format;
  std::vector<std::pair<int, Spread>> bandwidths;
  ModelBenchResult result;

  double read_gb_s() const { return bandwidths.back().second.median; }
};

Json ToJson(const Report& report) {
  const ModelBenchResult& r = report.result;
  Json json = {
      {"machine", MachineName()},     {"commit", EDGELLM_COMMIT},        {"model", report.model},
      {"format", report.format},      {"backend", r.backend.name},       {"isa", r.backend.isa},
      {"threads", r.backend.threads}, {"read_gb_s", report.read_gb_s()}, {"bytes_per_token", r.weight_bytes_per_token},
      {"load_s", r.load_seconds}};
  if (!r.backend.ternary.empty()) json["ternary"] = TernaryJson(r.backend);
  for (const auto& [threads, rate] : report.bandwidths) {
    json["bandwidth"].push_back({{"threads", threads}, {"gb_s", SpreadJson(rate)}});
  }
  json["decode"] = Json::array();
  for (const auto& figure : r.decode) {
    json["decode"].push_back({{"context", figure.context},
                              {"tok_s", SpreadJson(figure.tokens_per_second)},
                              {"gb_s", figure.gb_per_second},
                              {"share", figure.gb_per_second / report.read_gb_s()}});
  }
  json["prefill"] = Json::array();
  for (const auto& figure : r.prefill) {
    json["prefill"].push_back({{"tokens", figure.tokens}, {"tok_s", SpreadJson(figure.tokens_per_second)}});
  }
  json["steps"] = Json::array();
  for (const auto& step : r.steps) {
    json["steps"].push_back({{"step", NameOf(step.kind)}, {"ms", step.milliseconds}, {"bytes", step.bytes}});
  }
  json["prefill_steps"] = Json::array();
  for (const auto& step : r.prefill_steps) {
    json["prefill_steps"].push_back({{"step", NameOf(step.kind)}, {"ms_per_token", step.milliseconds}});
  }
  json["ttft_ms"] = r.ttft_ms;
  json["ttft_prompt_tokens"] = r.ttft_prompt;
  json["itl_ms"] = ItlJson(r.itl_ms, r.itl_tokens);
  json["rss_mb"] = static_cast<double>(r.peak_resident_bytes) / 1e6;
  json["allocations"] = r.allocations;
  json["page_faults"] = {{"minor", r.minor_faults}, {"major", r.major_faults}};
  return json;
}

std::string ToText(const Report& report) {
  const ModelBenchResult& r = report.result;
  std::string text =
      fmt::format("machine: {}\nmodel: {}, {}, {} read per token\nbackend: {} {}, {} thread(s), loaded in {:.2f} s\n",
                  MachineName(), report.model, report.format, HumanBytes(r.weight_bytes_per_token), r.backend.name,
                  r.backend.isa, r.backend.threads, r.load_seconds);
  if (!r.backend.ternary.empty()) text += fmt::format("ternary: {}\n", TernaryText(r.backend));
  for (const auto& [threads, rate] : report.bandwidths) {
    text += fmt::format("read bandwidth, {} thread(s): {} GB/s\n", threads, SpreadText(rate));
  }
  std::vector<std::vector<std::string>> rows = {{"", "TOKENS/S", "GB/S", "OF THE BANDWIDTH"}};
  for (const auto& figure : r.decode) {
    rows.push_back({fmt::format("decode at {}", figure.context), SpreadText(figure.tokens_per_second),
                    fmt::format("{:.2f}", figure.gb_per_second),
                    fmt::format("{:.0f} %", 100 * figure.gb_per_second / report.read_gb_s())});
  }
  for (const auto& figure : r.prefill) {
    rows.push_back({fmt::format("prefill {}", figure.tokens), SpreadText(figure.tokens_per_second), "", ""});
  }
  text += "\n" + Table(rows);
  rows = {{"STEP", "MS/TOKEN", "GB/S", "OF THE BANDWIDTH", "IN PREFILL, MS/TOKEN"}};
  for (size_t i = 0; i < std::max(r.steps.size(), r.prefill_steps.size()); ++i) {
    std::vector<std::string> row = {"", "", "", "", ""};
    if (i < r.steps.size()) {
      const auto& step = r.steps[i];
      const double rate = static_cast<double>(step.bytes) / 1e6 / step.milliseconds;
      row = {std::string(NameOf(step.kind)), fmt::format("{:.3f}", step.milliseconds), fmt::format("{:.2f}", rate),
             fmt::format("{:.0f} %", 100 * rate / report.read_gb_s()), ""};
    }
    if (i < r.prefill_steps.size()) {
      row[0] = NameOf(r.prefill_steps[i].kind);
      row[4] = fmt::format("{:.4f}", r.prefill_steps[i].milliseconds);
    }
    rows.push_back(row);
  }
  text += "\n" + Table(rows);
  text += "\n";
  if (r.ttft_prompt > 0)
    text += fmt::format("time to first token, prompt of {}: {:.1f} ms\n", r.ttft_prompt, r.ttft_ms);
  if (r.itl_tokens > 0) {
    text +=
        fmt::format("time between tokens over {}: p50 {:.3f}, p95 {:.3f}, p99 {:.3f}, p99.9 {:.3f}, max {:.3f} ms\n",
                    r.itl_tokens, r.itl_ms.p50, r.itl_ms.p95, r.itl_ms.p99, r.itl_ms.p999, r.itl_ms.max);
    text += fmt::format("meanwhile: {} allocations, {} minor and {} major page faults\n", r.allocations, r.minor_faults,
                        r.major_faults);
  }
  return text + fmt::format("peak memory: {}\n", HumanBytes(r.peak_resident_bytes));
}

Json ToJson(const EndpointResult& r, const std::string& model) {
  Json json = {{"endpoint", r.url}, {"api", r.api}, {"server", r.server}, {"model", model}};
  json["decode"] = Json::array();
  json["prefill"] = Json::array();
  for (const auto& figure : r.figures) {
    json["decode"].push_back({{"context", figure.prompt_tokens},
                              {"tokens", figure.generated_tokens},
                              {"tok_s", SpreadJson(figure.decode_tok_s)}});
    json["prefill"].push_back({{"tokens", figure.prompt_tokens},
                               {"tok_s", SpreadJson(figure.prompt_tok_s)},
                               {"ttft_ms", SpreadJson(figure.ttft_ms)}});
  }
  json["ttft_ms"] = r.figures.empty() ? 0 : r.figures.front().ttft_ms.median;
  json["itl_ms"] = ItlJson(r.itl_ms, r.pieces);
  return json;
}

std::string ToText(const EndpointResult& r, const std::string& model) {
  std::string text = fmt::format("{} ({} {}), model {}\n\n", r.url, r.api, r.server, model);
  std::vector<std::vector<std::string>> rows = {
      {"PROMPT", "TIME TO FIRST TOKEN, MS", "PROMPT TOKENS/S", "DECODED TOKENS/S"}};
  for (const auto& figure : r.figures) {
    rows.push_back({fmt::format("{} tokens", figure.prompt_tokens), SpreadText(figure.ttft_ms),
                    SpreadText(figure.prompt_tok_s), SpreadText(figure.decode_tok_s)});
  }
  return text + Table(rows) +
         fmt::format("\ntime between pieces over {}: p50 {:.3f}, p95 {:.3f}, p99 {:.3f}, p99.9 {:.3f}, max {:.3f} ms\n",
                     r.pieces, r.itl_ms.p50, r.itl_ms.p95, r.itl_ms.p99, r.itl_ms.p999, r.itl_ms.max);
}

void BenchEndpointUsers(const Arguments& arguments) {
  EndpointUsersOptions options = arguments.users;
  options.url = arguments.endpoint;
  options.model = arguments.model;
  options.api_key = arguments.api_key;
  options.what.rounds = arguments.what.rounds;
  EndpointUsersResult result;
  {
    ProgressBar bar(ProgressBar::Unit::kCount);
    result = MeasureEndpointUsers(options, bar.callback());
  }
  if (arguments.json) {
    WriteJson(UsersJson(result, arguments.model, EDGELLM_COMMIT));
  } else {
    WriteOutput(UsersText(result, arguments.model));
  }
}

void BenchEndpoint(const Arguments& arguments) {
  if (arguments.model.empty()) {
    Fail(ErrorCode::kInvalidArgument,
         "--endpoint needs the name that the model has there: edgellm bench NAME --endpoint URL");
  }
  if (arguments.serve) return BenchEndpointUsers(arguments);
  EndpointOptions options;
  options.url = arguments.endpoint;
  options.model = arguments.model;
  options.api_key = arguments.api_key;
  options.prompts = arguments.what.prefills;
  options.tokens = arguments.what.tokens;
  options.repetitions = arguments.what.rounds;
  EndpointResult result;
  {
    ProgressBar bar(ProgressBar::Unit::kCount);
    result = MeasureEndpoint(options, bar.callback());
  }
  if (arguments.json) {
    WriteJson(ToJson(result, arguments.model));
  } else {
    WriteOutput(ToText(result, arguments.model));
  }
}

Model Subject(const Arguments& arguments) {
  if (arguments.model.empty() == arguments.shape.empty()) {
    Fail(ErrorCode::kInvalidArgument, "give either a model or --shape with the name of one");
  }
  if (!arguments.model.empty()) return OpenModel(arguments.model);
  ProgressBar bar(ProgressBar::Unit::kCount);
  return RandomModel(arguments.shape, ShapeByName(arguments.shape),
                     {.linear = WeightFormat::Parse(arguments.format), .head = WeightFormat::Parse(arguments.head)},
                     bar.callback());
}

/// The format of the layers' matrices.
WeightFormat MainFormat(const Model& model) {
  for (const auto& [name, tensor] : model.weights.tensors()) {
    if (!tensor.is_vector && name.ends_with("down_proj.weight")) return tensor.view.format;
  }
  return {};
}

void Save(const Model& model, const std::filesystem::path& path) {
  ProgressBar bar(path.extension() == ".gguf" ? ProgressBar::Unit::kCount : ProgressBar::Unit::kBytes);
  if (path.extension() == kModelFileSuffix) return WriteModelFile(model, path, bar.callback());
  if (path.extension() != ".gguf") {
    Fail(ErrorCode::kInvalidArgument, "{}: the name must end in .gguf or {}", path.string(), kModelFileSuffix);
  }
  const WeightFormat format = MainFormat(model);
  const GgufType type = format.is_float()                     ? GgufType::kF16
                        : format.kind == WeightKind::kInt4    ? GgufType::kQ4_0
                        : format.kind == WeightKind::kTernary ? GgufType::kTQ2_0
                                                              : GgufType::kQ8_0;
  ExportGguf(model, type, path, bar.callback());
}

void BenchServing(const Arguments& arguments, const Model& model) {
  ServingBenchResult result;
  {
    ProgressBar bar(ProgressBar::Unit::kCount);
    ServingBenchOptions what = arguments.users.what;
    what.rounds = arguments.what.rounds;
    result = MeasureServing(model, ToRuntimeOptions(arguments.backend, 0), what, bar.callback());
  }
  const std::string name = arguments.shape.empty() ? model.name : arguments.shape;
  if (arguments.json) {
    WriteJson(UsersJson(result, name, EDGELLM_COMMIT));
  } else {
    WriteOutput(UsersText(result, name));
  }
}

void RunBench(const Arguments& arguments) {
  if (!arguments.endpoint.empty()) return BenchEndpoint(arguments);
  const Model model = Subject(arguments);
  if (!arguments.save.empty()) return Save(model, arguments.save);
  if (arguments.serve) return BenchServing(arguments, model);
  Report report;
  report.model = arguments.shape.empty() ? model.name : arguments.shape;
  report.format = MainFormat(model).Name();
  const int threads = arguments.backend.threads > 0 ? arguments.backend.threads : UsableProcessors();
  report.bandwidths = Bandwidths(threads);
  ProgressBar bar(ProgressBar::Unit::kCount);
  report.result = MeasureModel(model, ToRuntimeOptions(arguments.backend, 0), arguments.what, bar.callback());
  if (arguments.json) {
    WriteJson(ToJson(report));
  } else {
    WriteOutput(ToText(report));
  }
}

}  // namespace

void AddBench(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("bench", "Measure a model's speed against what the machine's memory gives");
  verb->add_option("MODEL", arguments->model, "name, file or folder; with --endpoint the name that the server knows");
  verb->add_option("--shape", arguments->shape,
                   "random weights of this shape instead: " + fmt::format("{}", fmt::join(ShapeNames(), ", ")) +
                       "; NAME-llama for a plain Llama of these sizes");
  verb->add_option("--format", arguments->format, "with --shape: format of the layers")->capture_default_str();
  verb->add_option("--head", arguments->head, "with --shape: format of embedding and head")->capture_default_str();
  verb->add_option("--save", arguments->save, "only write the model: FILE.edgellm or FILE.gguf");
  verb->add_option("--endpoint", arguments->endpoint,
                   "measure MODEL on a server instead: one that speaks Ollama's API or OpenAI's");
  verb->add_option("--api-key", arguments->api_key, "with --endpoint, where the server wants one");
  verb->add_option("--contexts", arguments->what.contexts, "positions filled when decoding is measured")
      ->delimiter(',')
      ->capture_default_str();
  verb->add_option("--prefill", arguments->what.prefills, "lengths of prompts")->delimiter(',')->capture_default_str();
  const auto count = [&](const char* name, int* value, int least, const char* help) {
    verb->add_option(name, *value, help)->check(CLI::Range(least, 1 << 24).description(""))->capture_default_str();
  };
  count("--tokens", &arguments->what.tokens, 1, "tokens decoded for each figure");
  count("--rounds", &arguments->what.rounds, 1, "repetitions of each figure");
  count("--itl", &arguments->what.itl_tokens, 0, "tokens decoded in a row for the times between tokens");
  verb->add_flag("--users", arguments->serve,
                 "measure many users at once instead: streams beside a long prompt, a shared prompt; with --endpoint "
                 "many clients, too. A count of 0 leaves a part out");
  ServingBenchOptions& serving = arguments->users.what;
  count("--users-streams", &serving.streams, 0, "with --users: streams beside the long prompt");
  count("--users-context", &serving.context, 1, "with --users: tokens that the streams stand at");
  count("--users-long", &serving.long_prompt, 1, "with --users: tokens of the long prompt");
  count("--users-gaps", &serving.tokens, 1, "with --users: tokens of each stream before the long prompt, and after it");
  count("--users-count", &serving.users, 0, "with --users: requests over the shared prompt");
  count("--users-shared", &serving.shared, 1, "with --users: tokens of the shared prompt");
  count("--users-turn", &arguments->users.turn, 0,
        "with --users --endpoint: tokens after which a stream begins anew where it stood; 0: never");
  count("--users-clients", &arguments->users.clients, 0, "with --users --endpoint: clients that stream at once");
  count("--users-client-prompt", &arguments->users.client_prompt, 1,
        "with --users --endpoint: tokens of their prompts");
  count("--users-client-tokens", &arguments->users.client_tokens, 1,
        "with --users --endpoint: tokens of their answers");
  AddBackendOptions(*verb, &arguments->backend);
  verb->add_flag("--json", arguments->json, "print JSON");
  verb->callback([arguments] { RunBench(*arguments); });
}

}  // namespace edgellm::app
