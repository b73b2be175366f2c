// edgellm verify FILE: proves a model file on this machine. Checksums, shapes, and every golden prompt run again.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/open_model.h"
#include "app/progress_bar.h"
#include "app/terminal.h"
#include "app/verbs.h"
#include "base/error.h"
#include "model/lower.h"
#include "model/model_file.h"
#include "serve/model_store.h"

namespace edgellm::app {
namespace {

struct Arguments {
  std::string model;
  BackendArguments backend;
  bool json = false;
};

struct Check {
  std::string name, detail;
  bool ok = false;
};

/// Runs `work`, which returns a detail or throws an Error. Lines are printed as they come: golden prompts take their
/// time.
class Report {
 public:
  explicit Report(bool json) : json_(json) {}

  bool Run(const std::string& name, const std::function<std::string()>& work) {
    Check check{name, "", false};
    try {
      check.detail = work();
      check.ok = true;
    } catch (const Error& error) {
      check.detail = error.what();
    }
    if (!json_) {
      WriteOutput(fmt::format("{:<6}  {}{}{}\n", check.ok ? "OK" : "FAILED", name, check.detail.empty() ? "" : ": ",
                              check.detail));
    }
    checks_.push_back(check);
    return check.ok;
  }

  /// Throws Error when a check failed.
  void Finish(const std::string& file) const {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    size_t failed = 0;
    for (const auto& check : checks_) {
      list.push_back({{"check", check.name}, {"ok", check.ok}, {"detail", check.detail}});
      if (!check.ok) ++failed;
    }
    if (json_) WriteJson({{"file", file}, {"ok", failed == 0}, {"checks", list}});
    if (failed > 0) Fail(ErrorCode::kCorrupt, "{}: {} of {} checks failed", file, failed, checks_.size());
  }

 private:
  bool json_;
  std::vector<Check> checks_;
};

std::string RunGolden(Runtime& runtime, const GoldenPrompt& golden) {
  const auto tokens = runtime.Greedy(golden.prompt, static_cast<int>(golden.expected.size()));
  for (size_t i = 0; i < golden.expected.size(); ++i) {
    if (i < tokens.size() && tokens[i] == golden.expected[i]) continue;
    Fail(ErrorCode::kCorrupt, "token {} of the continuation is {} and should be {}", i + 1,
         i < tokens.size() ? std::to_string(tokens[i]) : "missing", golden.expected[i]);
  }
  return fmt::format("{} prompt tokens, {} as recorded", golden.prompt.size(), golden.expected.size());
}

void Verify(const Arguments& arguments) {
  const std::filesystem::path path = ModelStore::Default().Resolve(arguments.model);
  // By its suffix too: a file that was cut short is told what is wrong with it, not that it is none of ours.
  if (path.extension() != kModelFileSuffix && !IsModelFile(path)) {
    Fail(ErrorCode::kUnsupported, "{}: is not an EdgeLLM model file", path.string());
  }
  Report report(arguments.json);
  report.Run("checksums", [&] {
    ProgressBar bar(ProgressBar::Unit::kBytes);
    VerifyChecksums(path, bar.callback());
    return std::string();
  });
  std::optional<Model> model;
  const bool whole = report.Run("shapes", [&] {
    model = ReadModelFile(path);
    model->weights.Bind(Lower(model->config), model->name);
    return fmt::format("{} tensors", model->weights.tensors().size());
  });
  if (whole) {
    const size_t count = model->golden.size();
    if (count == 0) WriteNote("the file carries no golden prompts");
    std::optional<Runtime> runtime;
    const auto load = [&] {
      runtime.emplace(*model, ToRuntimeOptions(arguments.backend, 0));
      const BackendInfo info = runtime->backend();
      return fmt::format("{} {}, {} threads", info.name, info.isa, info.threads);
    };
    if (report.Run("backend", load)) {
      for (size_t i = 0; i < count; ++i) {
        CheckInterrupt();
        report.Run(fmt::format("golden prompt {} of {}", i + 1, count),
                   [&] { return RunGolden(*runtime, model->golden[i]); });
      }
    }
  }
  report.Finish(path.string());
}

}  // namespace

void AddVerify(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("verify", "Prove a model file: checksums, shapes, golden prompts");
  verb->add_option("FILE", arguments->model, "model file, or its name in the store")->required();
  AddBackendOptions(*verb, &arguments->backend);
  verb->add_flag("--json", arguments->json, "print JSON");
  verb->callback([arguments] { Verify(*arguments); });
}

}  // namespace edgellm::app
