// edgellm: the entry. Builds the command line from the verbs and turns every failure into one line and an exit code:
// 0 done, 1 failed, 2 wrong usage; a closed pipe and Ctrl-C end the program by their signal.
#include <csignal>
#include <exception>
#include <new>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/terminal.h"
#include "app/verbs.h"

namespace edgellm::app {
namespace {

void WriteError(std::string text) {
  for (char& c : text) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  text.erase(text.find_last_not_of(' ') + 1);
  WriteDiagnostic("error: " + text + "\n");
}

void Build(CLI::App& app) {
  app.set_version_flag("--version,-v", "edgellm version " EDGELLM_VERSION);
  app.set_help_flag("--help,-h", "what there is to say");
  app.require_subcommand(0, 1);
  AddRun(app);
  AddServe(app);
  AddList(app);
  AddShow(app);
  AddCp(app);
  AddRm(app);
  AddPull(app);
  AddCreate(app);
  AddPs(app);
  AddStop(app);
  AddQuantize(app);
  AddConvert(app);
  AddVerify(app);
  AddInspect(app);
  AddPerplexity(app);
  AddBench(app);
  AddTokenize(app);
  AddDetokenize(app);
  AddTemplate(app);
  AddHelp(app);
}

int Main(int argc, char** argv) {
  OpenMissingStreams();
  CatchSignals(/*again_kills=*/true);
  CLI::App app("Runs language models on the device in front of you.", "edgellm");
  try {
    Build(app);
    app.parse(argc, argv);
    if (app.get_subcommands().empty()) WriteOutput(app.help());
    return 0;
  } catch (const CLI::CallForHelp&) {
    WriteOutput(app.help());  // the chosen verb's, where there is one
    return 0;
  } catch (const CLI::CallForVersion& version) {
    WriteOutput(std::string(version.what()) + "\n");
    return 0;
  } catch (const CLI::ExtrasError& wrong) {
    const bool verb_known = !app.get_subcommands().empty();
    WriteError(verb_known ? wrong.what()
                          : fmt::format("there is no verb '{}': see `edgellm help`", app.remaining().front()));
    return 2;
  } catch (const CLI::ParseError& wrong) {
    WriteError(wrong.what());
    return 2;
  }
}

}  // namespace
}  // namespace edgellm::app

int main(int argc, char** argv) {
  using namespace edgellm::app;
  try {
    return Main(argc, argv);
  } catch (const BrokenPipe&) {
    EndBySignal(SIGPIPE);
  } catch (const Interrupted&) {
    EndBySignal(PendingSignal() != 0 ? PendingSignal() : SIGINT);
  } catch (const std::bad_alloc&) {
    WriteError("out of memory");
  } catch (const std::exception& failure) {
    WriteError(failure.what());
  }
  return 1;
}
