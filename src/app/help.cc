// edgellm help [VERB]
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "app/terminal.h"
#include "app/verbs.h"
#include "base/error.h"

namespace edgellm::app {

void AddHelp(CLI::App& app) {
  auto name = std::make_shared<std::string>();
  CLI::App* verb = app.add_subcommand("help", "Explain a verb");
  verb->add_option("VERB", *name, "the verb; without one, all of them");
  verb->callback([name, &app] {
    if (name->empty()) {
      // Not app.help(), which explains the chosen verb: that is this one.
      return WriteOutput(app.get_formatter()->make_help(&app, app.get_name(), CLI::AppFormatMode::Normal));
    }
    const auto found = app.get_subcommands([&](const CLI::App* candidate) { return candidate->get_name() == *name; });
    if (found.empty()) Fail(ErrorCode::kInvalidArgument, "there is no verb '{}': see `edgellm help`", *name);
    WriteOutput(found.front()->help(app.get_name()));
  });
}

}  // namespace edgellm::app
