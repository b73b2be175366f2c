// edgellm run MODEL [PROMPT]: one answer on standard output, or a conversation at the terminal (repl.h).
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/open_model.h"
#include "app/repl.h"
#include "app/statistics.h"
#include "app/terminal.h"
#include "app/verbs.h"
#include "base/error.h"
#include "base/file.h"
#include "base/steady_now.h"
#include "base/utf8.h"

namespace edgellm::app {
namespace {

struct Arguments {
  std::string model, system, prompt, format, grammar;
  GenerateOptions options;
  int context = 0;
  int64_t seed = -1;
  BackendArguments backend;
  bool raw = false, verbose = false, json = false;
};

/// What is on standard input, unless a person sits there. A shell's newline at the end is no part of what was said,
/// but with --raw every byte counts.
std::string ReadPipedPrompt(bool raw) {
  if (InputIsTerminal()) return {};
  std::string text = ReadInput(size_t{64} << 20);
  if (!raw && text.ends_with('\n')) text.pop_back();
  return text;
}

std::string JoinPrompt(const std::string& given, const std::string& piped) {
  if (given.empty()) return piped;
  return piped.empty() ? given : given + "\n\n" + piped;
}

/// "run demo why is the sky blue": words that no quotes hold together. A list as CLI11 has it would do, but for its
/// habit of taking "[a,b]" apart.
void AddWords(const std::vector<std::string>& words, std::string* prompt) {
  bool options_end = false;
  for (const auto& word : words) {
    if (word == "--" && !options_end) {
      options_end = true;
      continue;
    }
    if (word.size() > 1 && word.front() == '-' && !options_end) {
      Fail(ErrorCode::kInvalidArgument, "there is no option '{}': see `edgellm help run`", word);
    }
    *prompt += " " + word;
  }
}

Prompt EncodeOnce(Runtime& runtime, const Arguments& arguments, const std::string& text) {
  const bool chat = runtime.has_chat_template() && !arguments.raw;
  if (!chat && !arguments.system.empty()) {
    Fail(ErrorCode::kInvalidArgument, "--system needs a chat template, and {}",
         arguments.raw ? "--raw uses none" : "the model has none");
  }
  if (!chat && !arguments.raw) WriteNote("the model has no chat template: the prompt is continued as it is");
  if (!chat) return runtime.EncodeText(text);
  std::vector<Message> messages;
  const Preamble& preamble = runtime.model().preamble;
  const std::string& system = arguments.system.empty() ? preamble.system : arguments.system;
  if (!system.empty()) messages.push_back({"system", system});
  for (const auto& [role, content] : preamble.messages) messages.push_back({role, content});
  messages.push_back({"user", text});
  return runtime.EncodeChat(messages);
}

void AnswerOnce(Runtime& runtime, const Arguments& arguments, const std::string& text, int64_t started, int64_t load) {
  const Prompt prompt = EncodeOnce(runtime, arguments, text);
  std::string response;
  GenerateListener listener;
  listener.cancelled = [] { return PendingSignal() != 0; };
  listener.text = [&](std::string_view piece) {
    if (arguments.json) {
      response += piece;
    } else {
      WriteOutput(piece);
    }
  };
  const Generation generation = runtime.Generate(prompt, arguments.options, listener);
  const AnswerTimes times = {load, SteadyNow() - started};
  if (arguments.json) {
    WriteJson(AnswerJson(runtime, generation, times, arguments.model, response));
  } else if (OutputIsTerminal()) {
    WriteOutput("\n");
  }
  if (generation.finish == FinishReason::kContextFull) WriteNote(ContextFullText(runtime, generation));
  if (generation.finish == FinishReason::kDeadEnd) {
    Fail(ErrorCode::kLimit, "the answer's format cannot go on: no token of this model's vocabulary continues it");
  }
  if (arguments.verbose) WriteDiagnostic("\n" + StatisticsText(runtime, generation, times));
  if (generation.finish == FinishReason::kCancelled) throw Interrupted();
}

/// --format json, --format FILE (a JSON schema), --grammar FILE.
std::optional<AnswerFormat> ReadFormat(const Arguments& arguments) {
  if (!arguments.format.empty() && !arguments.grammar.empty()) {
    Fail(ErrorCode::kInvalidArgument, "--format and --grammar cannot be used together");
  }
  if (!arguments.grammar.empty()) return AnswerFormat{AnswerFormat::Kind::kGrammar, ReadFile(arguments.grammar)};
  if (arguments.format.empty()) return std::nullopt;
  if (arguments.format == "json") return AnswerFormat{};
  return AnswerFormat{AnswerFormat::Kind::kJsonSchema, ReadFile(arguments.format)};
}

void Run(Arguments& arguments) {
  const int64_t started = SteadyNow();
  arguments.options.format = ReadFormat(arguments);
  if (arguments.options.format) GrammarOf(*arguments.options.format);  // what is wrong with it is said before the load
  if (arguments.seed >= 0) arguments.options.seed = static_cast<uint64_t>(arguments.seed);
  const bool interactive = arguments.prompt.empty() && InputIsTerminal();
  if (interactive && arguments.json) Fail(ErrorCode::kInvalidArgument, "--json needs a prompt");
  const std::string text = interactive ? "" : JoinPrompt(arguments.prompt, ReadPipedPrompt(arguments.raw));
  if (!interactive && text.empty() && !arguments.raw) {
    Fail(ErrorCode::kInvalidArgument, "no prompt: give one as an argument or on standard input");
  }
  const int64_t load_started = SteadyNow();
  Model model = OpenModel(arguments.model);
  const int context = arguments.context != 0 ? arguments.context : model.generation.context.value_or(0);
  Runtime runtime(std::move(model), ToRuntimeOptions(arguments.backend, context));
  const int64_t load = SteadyNow() - load_started;
  CheckInterrupt();
  if (interactive) {
    RunRepl(runtime, {.options = arguments.options,
                      .system = arguments.system.empty() ? runtime.model().preamble.system : arguments.system,
                      .model = arguments.model,
                      .raw = arguments.raw,
                      .verbose = arguments.verbose});
  } else {
    AnswerOnce(runtime, arguments, text, started, load);
  }
}

void AddSamplingOptions(CLI::App& verb, Arguments* arguments) {
  GenerateOptions& options = arguments->options;
  verb.add_option("-n,--max-tokens", options.max_tokens, "most tokens of the answer; -1: until it ends by itself");
  verb.add_option("--temperature", options.temperature, "0: always the likeliest token (greedy)");
  verb.add_option("--top-k", options.top_k, "draw from the K likeliest tokens only; 0: from all");
  verb.add_option("--top-p", options.top_p, "draw from the likeliest tokens that reach this probability together");
  verb.add_option("--min-p", options.min_p, "leave out tokens below this share of the likeliest one's probability");
  verb.add_option("--repeat-penalty", options.repetition_penalty, "above 1: tokens just used become less likely");
  verb.add_option("--repeat-last-n", options.repeat_last_n, "how many tokens the penalties look back on; -1: all");
  verb.add_option("--presence-penalty", options.presence_penalty, "subtracted once from tokens just used");
  verb.add_option("--frequency-penalty", options.frequency_penalty, "subtracted for each time a token was just used");
  verb.add_option("--seed", arguments->seed, "same seed, same answer; default: a random one")
      ->check(CLI::Range(int64_t{-1}, int64_t{INT64_MAX}).description(""));
  verb.add_option("--stop", options.stop, "text that ends the answer and is no part of it; may be given several times")
      ->allow_extra_args(false);
}

}  // namespace

void AddRun(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("run", "Run a model: answer a prompt, or talk");
  verb->add_option("MODEL", arguments->model, "name, file or folder")->required();
  verb->add_option("PROMPT", arguments->prompt, "the prompt; what is piped in follows it. Without any, a conversation");
  verb->allow_extras();  // the prompt's further words
  AddSamplingOptions(*verb, arguments.get());
  verb->add_option("--format", arguments->format,
                   "json: the answer is a JSON object; FILE: one that its JSON schema takes");
  verb->add_option("--grammar", arguments->grammar, "FILE: the answer is a text of its GBNF grammar");
  verb->add_option("--system", arguments->system, "system message of the conversation");
  verb->add_flag("--raw", arguments->raw, "no chat template: print exactly how the model continues the prompt");
  verb->add_option("--ctx", arguments->context, "positions of the context; default: 4096, or the model's own if less");
  AddBackendOptions(*verb, &arguments->backend);
  verb->add_flag("--verbose", arguments->verbose, "print counts, times and rates on standard error");
  verb->add_flag("--json", arguments->json, "print one JSON object when the answer is complete");
  verb->callback([arguments, verb] {
    AddWords(verb->remaining(), &arguments->prompt);
    Run(*arguments);
  });
}

}  // namespace edgellm::app
