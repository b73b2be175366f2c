// The program's edges: standard output that knows when its reader has gone, notes on standard error, and signals as a
// flag. Results go out through here and nowhere else, so that every verb ends cleanly in a pipe and under Ctrl-C.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace edgellm::app {

/// Thrown when the reader of standard output has closed it: the program ends quietly.
struct BrokenPipe {};
/// Thrown where Ctrl-C (or SIGTERM) ends the work: the program cleans up and ends by that signal.
struct Interrupted {};

/// Writes all of it. Throws BrokenPipe, Error(kIo).
void WriteOutput(std::string_view text);
/// One JSON document and a newline; ill-formed UTF-8 in strings is replaced.
void WriteJson(const nlohmann::ordered_json& json);
/// "note: <text>" on standard error.
void WriteNote(std::string_view text);
/// As it is, on standard error; nobody is told when that fails.
void WriteDiagnostic(std::string_view text);

bool InputIsTerminal();
bool OutputIsTerminal();
bool ErrorIsTerminal();

/// Standard input to its end. Ctrl-C ends the program at once meanwhile: there is
/// nothing to clean up yet. Throws as ReadStandardInput does.
std::string ReadInput(size_t max_bytes = size_t{1} << 30);

/// A program may be started with its standard streams closed; the next files opened would become them. First of all
/// calls.
void OpenMissingStreams();

/// SIGPIPE is ignored; SIGINT and SIGTERM set a flag. With `again_kills`, a second one ends the program at once, should
/// the work not look at the flag.
void CatchSignals(bool again_kills);
/// The signal that came, or 0.
int PendingSignal();
void ForgetSignal();
/// Until a signal has come.
void WaitForSignal();
/// Until standard input has something to read, or has ended; false when a signal is pending, whichever thread it came
/// to.
bool WaitForKey();
/// Throws Interrupted when a signal is pending.
void CheckInterrupt();
/// Ends the program by the signal, as shells expect of an interrupted program.
[[noreturn]] void EndBySignal(int signal);

}  // namespace edgellm::app
