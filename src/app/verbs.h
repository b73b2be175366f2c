// The verbs of the command line. Each adds its subcommand, options and action to the application; each lives in the
// file of its name.
#pragma once

namespace CLI {
class App;
}

namespace edgellm::app {

void AddRun(CLI::App& app);
void AddServe(CLI::App& app);
void AddList(CLI::App& app);
void AddShow(CLI::App& app);
void AddCp(CLI::App& app);
void AddRm(CLI::App& app);
void AddPull(CLI::App& app);
void AddCreate(CLI::App& app);
void AddPs(CLI::App& app);
void AddStop(CLI::App& app);
void AddQuantize(CLI::App& app);
void AddConvert(CLI::App& app);
void AddVerify(CLI::App& app);
void AddInspect(CLI::App& app);
void AddPerplexity(CLI::App& app);
void AddBench(CLI::App& app);
void AddTokenize(CLI::App& app);
void AddDetokenize(CLI::App& app);
void AddTemplate(CLI::App& app);
void AddHelp(CLI::App& app);

}  // namespace edgellm::app
