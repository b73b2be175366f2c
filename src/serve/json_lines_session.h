// A conversation in lines of JSON (docs/json-lines.md) with one loaded model: requests as they come, any number at a
// time; their events as they happen. It knows no files: who has pipes gives it lines and writes what it says.
#pragma once

#include <functional>
#include <istream>
#include <memory>
#include <ostream>
#include <string_view>

#include "serve/json_lines.h"
#include "serve/served_model.h"

namespace edgellm {

class JsonLinesSession {
 public:
  /// `write` gets whole lines without their newlines, one call at a time, from several threads. While it blocks, every
  /// answer of the model waits: a reader that does not read holds up itself alone, if the model is its own.
  using Write = std::function<void(std::string_view line)>;

  /// `model` must outlive it.
  JsonLinesSession(ServedModel& model, Write write);
  /// Cancels what is open; nothing is written any more.
  ~JsonLinesSession();
  JsonLinesSession(const JsonLinesSession&) = delete;
  JsonLinesSession& operator=(const JsonLinesSession&) = delete;

  /// What is wrong with a line becomes an event. An empty line is passed over.
  void OnLine(std::string_view line);
  /// An error that is no request's, as a line that was too long.
  void Refuse(ErrorCode code, std::string_view message);
  /// Returns when all requests are answered.
  void Wait();
  void CancelAll();

 private:
  struct State;
  const std::shared_ptr<State> state_;  // listeners may outlive the session
};

/// Longest line that RunJsonLines takes; a longer one is refused, and the next one read.
inline constexpr size_t kMostLineBytes = size_t{64} << 20;

/// Reads lines until `in` ends or `out` takes no more, waits for the answers, and returns. `out` is flushed after each
/// line.
void RunJsonLines(ServedModel& model, std::istream& in, std::ostream& out);

}  // namespace edgellm
