// Lines from a person at a terminal: editing, history, multi-line text. The cover over libedit.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace edgellm::app {

class LineEditor {
 public:
  /// `history_file` may be empty: then nothing is kept beyond this session.
  explicit LineEditor(std::filesystem::path history_file);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  enum class Outcome { kLine, kInterrupted, kEnd };

  /// One line without its newline, after `prompt`. kInterrupted: Ctrl-C; kEnd: Ctrl-D on an empty line, or the terminal
  /// went.
  Outcome Read(const std::string& prompt, std::string* line);

  /// Remembers an entry, in the file too.
  void Remember(const std::string& entry);
  void KeepHistory(bool keep) { keep_history_ = keep; }

 private:
  struct State;
  std::unique_ptr<State> state_;
  bool keep_history_ = true;
};

}  // namespace edgellm::app
