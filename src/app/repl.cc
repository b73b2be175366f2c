// See repl.h.
#include "app/repl.h"

#include <csignal>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "app/format.h"
#include "app/line_editor.h"
#include "app/model_facts.h"
#include "app/statistics.h"
#include "app/terminal.h"
#include "base/error.h"
#include "base/steady_now.h"
#include "serve/environment.h"

namespace edgellm::app {
namespace {

constexpr std::string_view kQuotes = "\"\"\"";

constexpr std::string_view kHelp =
    "Available commands:\n"
    "  /set parameter NAME VALUE   change how answers are drawn (temperature, top_k, top_p, min_p, seed, num_predict, "
    "…)\n"
    "  /set system TEXT            set the system message\n"
    "  /set verbose, /set quiet    print counts and rates after each answer, or do not\n"
    "  /set history, /set nohistory  keep what you type for later sessions, or do not\n"
    "  /show info, parameters, system, template\n"
    "  /clear                      forget the conversation\n"
    "  /bye                        leave (Ctrl-D too)\n"
    "  /?, /help                   this text\n"
    "\n"
    "Ctrl-C stops an answer. Begin and end a text of several lines with \"\"\".\n";

/// The first word of `text`, which is then removed from it with the blanks around.
std::string_view TakeWord(std::string_view* text) {
  const size_t begin = std::min(text->find_first_not_of(' '), text->size());
  text->remove_prefix(begin);
  const size_t end = std::min(text->find(' '), text->size());
  const std::string_view word = text->substr(0, end);
  text->remove_prefix(std::min(text->find_first_not_of(' ', end), text->size()));
  return word;
}

std::filesystem::path HistoryFile() {
  const auto folder = DataFolder();
  return folder.empty() || IsSwitchedOn("NOHISTORY") ? std::filesystem::path() : folder / "history";
}

class Repl {
 public:
  Repl(Runtime& runtime, ReplOptions options)
      : runtime_(runtime),
        options_(std::move(options)),
        editor_(HistoryFile()),
        chat_(runtime.has_chat_template() && !options_.raw) {}

  void Loop();

 private:
  LineEditor::Outcome ReadEntry(std::string* entry);
  bool Command(std::string_view line);  // false: leave
  void Set(std::string_view rest);
  void SetParameter(std::string_view rest);
  void Show(std::string_view what);
  void Answer(const std::string& text);
  Prompt Encode(const std::string& text);

  Runtime& runtime_;
  ReplOptions options_;
  LineEditor editor_;
  bool chat_;
  std::vector<Message> conversation_;  // without the system message
};

/// A line; or, from an opening """ (alone, or after "/set system ") to the closing one, several.
LineEditor::Outcome Repl::ReadEntry(std::string* entry) {
  auto outcome = editor_.Read(">>> ", entry);
  if (outcome != LineEditor::Outcome::kLine) return outcome;
  const size_t open = entry->find(kQuotes);
  if (open == std::string::npos || (open != 0 && !entry->starts_with("/set system "))) return outcome;
  const std::string before = entry->substr(0, open);
  std::string text = entry->substr(open + kQuotes.size());
  while (!text.ends_with(kQuotes)) {
    std::string line;
    outcome = editor_.Read("... ", &line);
    if (outcome != LineEditor::Outcome::kLine) return outcome;
    text += "\n" + line;
  }
  text.resize(text.size() - kQuotes.size());
  if (text.starts_with('\n')) text.erase(0, 1);
  if (text.ends_with('\n')) text.pop_back();
  *entry = before + text;
  return outcome;
}

void Repl::Loop() {
  CatchSignals(/*again_kills=*/false);
  if (!chat_ && !options_.raw) {
    WriteNote("the model has no chat template: what you type is continued as it is, each prompt by itself");
  }
  WriteDiagnostic("Send a message (/? for help, /bye to leave)\n");
  for (;;) {
    ForgetSignal();
    std::string entry;
    switch (ReadEntry(&entry)) {
      case LineEditor::Outcome::kEnd:
        WriteDiagnostic("\n");
        return;
      case LineEditor::Outcome::kInterrupted:
        if (PendingSignal() == SIGTERM) throw Interrupted();
        WriteDiagnostic("\nUse Ctrl + d or /bye to exit.\n");
        continue;
      case LineEditor::Outcome::kLine:
        break;
    }
    if (entry.find_first_not_of(" \t") == std::string::npos) continue;
    editor_.Remember(entry);
    try {
      if (entry.starts_with('/')) {
        if (!Command(entry)) return;
      } else {
        Answer(entry);
      }
    } catch (const Error& error) {
      WriteDiagnostic(fmt::format("error: {}\n", error.what()));
    }
    if (PendingSignal() == SIGTERM) throw Interrupted();
  }
}

bool Repl::Command(std::string_view line) {
  std::string_view rest = line;
  const std::string_view command = TakeWord(&rest);
  if (command == "/bye" || command == "/exit") return false;
  if (command == "/?" || command == "/help") {
    WriteOutput(kHelp);
  } else if (command == "/clear") {
    conversation_.clear();
    WriteDiagnostic("Cleared the conversation.\n");
  } else if (command == "/set") {
    Set(rest);
  } else if (command == "/show") {
    Show(TakeWord(&rest));
  } else {
    Fail(ErrorCode::kInvalidArgument, "unknown command '{}': /? lists them", command);
  }
  return true;
}

void Repl::Set(std::string_view rest) {
  const std::string_view what = TakeWord(&rest);
  if (what == "parameter") {
    SetParameter(rest);
  } else if (what == "system") {
    if (!chat_) Fail(ErrorCode::kInvalidArgument, "a system message needs a chat template");
    options_.system = rest;
    WriteDiagnostic(rest.empty() ? "No system message.\n" : "Set system message.\n");
  } else if (what == "verbose" || what == "quiet") {
    options_.verbose = what == "verbose";
    WriteDiagnostic(fmt::format("Set '{}' mode.\n", what));
  } else if (what == "history" || what == "nohistory") {
    editor_.KeepHistory(what == "history");
  } else {
    Fail(ErrorCode::kInvalidArgument, "/set takes parameter, system, verbose, quiet, history or nohistory");
  }
}

void Repl::SetParameter(std::string_view rest) {
  const std::string_view name = TakeWord(&rest);
  if (name.empty() || rest.empty()) Fail(ErrorCode::kInvalidArgument, "/set parameter takes a name and a value");
  if (name == "num_ctx") {
    Fail(ErrorCode::kInvalidArgument, "the context is made when the model is loaded: start again with --ctx {}", rest);
  }
  SetOption(&options_.options, name, rest);
  WriteDiagnostic(fmt::format("Set parameter '{}' to '{}'\n", name, rest));
}

void Repl::Show(std::string_view what) {
  if (what == "info") {
    WriteOutput(ShowText(runtime_.model()));
  } else if (what == "parameters") {
    const std::string text = Section("Model defined parameters", Describe(runtime_.model().generation)) +
                             Section("User defined parameters", Describe(options_.options));
    WriteOutput(text.empty() ? "No parameters are set.\n" : text);
  } else if (what == "system") {
    WriteOutput(options_.system.empty() ? "No system message is set.\n" : options_.system + "\n");
  } else if (what == "template") {
    const std::string& source = runtime_.model().chat_template;
    WriteOutput(source.empty() ? "The model has no chat template.\n" : source + "\n");
  } else {
    Fail(ErrorCode::kInvalidArgument, "/show takes info, parameters, system or template");
  }
}

Prompt Repl::Encode(const std::string& text) {
  if (!chat_) return runtime_.EncodeText(text);
  std::vector<Message> messages;
  if (!options_.system.empty()) messages.push_back({"system", options_.system});
  for (const auto& [role, content] : runtime_.model().preamble.messages) messages.push_back({role, content});
  messages.insert(messages.end(), conversation_.begin(), conversation_.end());
  messages.push_back({"user", text});
  return runtime_.EncodeChat(messages);
}

void Repl::Answer(const std::string& text) {
  const int64_t started = SteadyNow();
  const Prompt prompt = Encode(text);
  if (static_cast<int>(prompt.tokens.size()) >= runtime_.context()) {
    Fail(ErrorCode::kLimit, "the conversation has {} tokens and the context {}: /clear begins anew{}",
         prompt.tokens.size(), runtime_.context(),
         runtime_.context() < runtime_.model().config.max_context
             ? fmt::format(", or start with --ctx (up to {})", runtime_.model().config.max_context)
             : "");
  }
  std::string answer;
  GenerateListener listener;
  listener.cancelled = [] { return PendingSignal() != 0; };
  listener.text = [&](std::string_view piece) {
    answer += piece;
    WriteOutput(piece);
  };
  const Generation generation = runtime_.Generate(prompt, options_.options, listener);
  WriteOutput("\n");
  if (OutputIsTerminal()) WriteOutput("\n");
  if (generation.finish == FinishReason::kContextFull) WriteNote(ContextFullText(runtime_, generation));
  if (options_.verbose) WriteDiagnostic(StatisticsText(runtime_, generation, {0, SteadyNow() - started}));
  // A turn that was stopped before it said anything did not happen.
  if (!chat_ || (answer.empty() && generation.finish == FinishReason::kCancelled)) return;
  conversation_.push_back({"user", text});
  conversation_.push_back({"assistant", answer});
}

}  // namespace

void RunRepl(Runtime& runtime, ReplOptions options) {
  Repl(runtime, std::move(options)).Loop();
}

std::string ContextFullText(const Runtime& runtime, const Generation& generation) {
  const RequestStatistics& s = generation.statistics;
  std::string text =
      fmt::format("the answer ends because the context of {} positions is full: {} tokens of prompt, {} of answer",
                  runtime.context(), s.prompt_tokens, s.generated_tokens);
  const int most = runtime.model().config.max_context;
  if (runtime.context() < most) text += fmt::format("; --ctx takes up to {}", most);
  return text;
}

}  // namespace edgellm::app
