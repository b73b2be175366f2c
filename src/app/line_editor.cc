// See line_editor.h.
#include "app/line_editor.h"

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstring>
#include <cwchar>
#include <langinfo.h>
#include <termios.h>
#include <unistd.h>

#include <histedit.h>

#include "app/terminal.h"

namespace edgellm::app {
namespace {

constexpr int kHistoryEntries = 1000;

/// libedit reads characters by the locale; in the "C" locale of small systems it would take UTF-8 apart.
void UseUtf8() {
  std::setlocale(LC_CTYPE, "");
  if (std::strcmp(nl_langinfo(CODESET), "UTF-8") != 0) std::setlocale(LC_CTYPE, "C.UTF-8");
}

/// Between lines, while an answer is drawn, keys are neither echoed into it nor gathered to lines by the terminal: what
/// is typed ahead reaches the editor as it was typed. (Gathered by the terminal, a Ctrl-D would be lost.) Ctrl-C stays.
class QuietTerminal {
 public:
  QuietTerminal() : is_terminal_(tcgetattr(STDIN_FILENO, &original_) == 0) {}
  ~QuietTerminal() {
    if (is_terminal_) tcsetattr(STDIN_FILENO, TCSADRAIN, &original_);
  }
  QuietTerminal(const QuietTerminal&) = delete;
  QuietTerminal& operator=(const QuietTerminal&) = delete;

  /// After every line: the editor leaves the terminal gathering and echoing.
  void Quiet() const {
    if (!is_terminal_) return;
    termios quiet = original_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &quiet);
  }

 private:
  termios original_{};
  bool is_terminal_;
};

}  // namespace

struct LineEditor::State {
  QuietTerminal terminal;
  EditLine* edit = nullptr;
  History* history = nullptr;
  std::filesystem::path file;
  std::string prompt;

  /// Reads a character, as el_wset(EL_GETCFN) wants it: 1, 0 at the end, -1 on failure. libedit's own would miss a
  /// signal that comes between drawing the prompt and waiting for a key.
  static int ReadCharacter(EditLine*, wchar_t* character) {
    std::mbstate_t state{};
    for (;;) {
      char byte = 0;
      if (!WaitForKey()) return -1;
      const ssize_t got = read(STDIN_FILENO, &byte, 1);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return static_cast<int>(got);
      const size_t used = std::mbrtowc(character, &byte, 1, &state);
      if (used == static_cast<size_t>(-2)) continue;  // more bytes belong to it
      if (used != static_cast<size_t>(-1)) return 1;
      state = {};  // no text in this locale: the bytes so far are dropped
    }
  }

  static char* Prompt(EditLine* edit) {
    State* self = nullptr;
    el_get(edit, EL_CLIENTDATA, &self);
    return self->prompt.data();
  }
};

LineEditor::LineEditor(std::filesystem::path history_file) : state_(std::make_unique<State>()) {
  UseUtf8();
  State& s = *state_;
  s.file = std::move(history_file);
  s.history = history_init();
  HistEvent event;
  history(s.history, &event, H_SETSIZE, kHistoryEntries);
  history(s.history, &event, H_SETUNIQUE, 1);
  if (!s.file.empty()) history(s.history, &event, H_LOAD, s.file.c_str());
  // Answers are the results and own standard output; where that is a file, the dialogue is drawn on standard error.
  std::FILE* screen = OutputIsTerminal() ? stdout : stderr;
  s.edit = el_init("edgellm", stdin, screen, stderr);
  el_set(s.edit, EL_CLIENTDATA, &s);
  el_set(s.edit, EL_PROMPT, &State::Prompt);
  el_set(s.edit, EL_EDITOR, "emacs");
  el_set(s.edit, EL_SIGNAL, 0);
  el_wset(s.edit, EL_GETCFN, &State::ReadCharacter);
  el_set(s.edit, EL_HIST, history, s.history);
  el_source(s.edit, nullptr);  // the user's ~/.editrc
  s.terminal.Quiet();
}

LineEditor::~LineEditor() {
  el_end(state_->edit);
  history_end(state_->history);
}

LineEditor::Outcome LineEditor::Read(const std::string& prompt, std::string* line) {
  State& s = *state_;
  s.prompt = prompt;
  int count = 0;
  errno = 0;
  const char* text = el_gets(s.edit, &count);
  s.terminal.Quiet();
  if (PendingSignal() != 0) {
    el_reset(s.edit);  // forget what was typed of the line
    return Outcome::kInterrupted;
  }
  if (text == nullptr || count <= 0) return Outcome::kEnd;
  line->assign(text, static_cast<size_t>(count));
  if (line->ends_with('\n')) line->pop_back();
  return Outcome::kLine;
}

void LineEditor::Remember(const std::string& entry) {
  if (entry.empty()) return;
  State& s = *state_;
  HistEvent event;
  history(s.history, &event, H_ENTER, entry.c_str());
  if (!keep_history_ || s.file.empty()) return;
  std::error_code failed;
  std::filesystem::create_directories(s.file.parent_path(), failed);
  history(s.history, &event, H_SAVE, s.file.c_str());  // a read-only home keeps no history; the session goes on
  using std::filesystem::perms;
  std::filesystem::permissions(s.file, perms::owner_read | perms::owner_write, failed);  // conversations are private
}

}  // namespace edgellm::app
