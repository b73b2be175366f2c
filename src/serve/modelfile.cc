// See modelfile.h.
#include "serve/modelfile.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/one_line.h"
#include "base/utf8.h"

namespace edgellm {
namespace {

constexpr size_t kMostBytes = size_t{16} << 20;
constexpr std::string_view kTriple = "\"\"\"";

bool IsBlank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

std::string_view TrimBlanks(std::string_view text) {
  while (!text.empty() && (IsBlank(text.front()) || text.front() == '\n')) text.remove_prefix(1);
  while (!text.empty() && (IsBlank(text.back()) || text.back() == '\n')) text.remove_suffix(1);
  return text;
}

class Reader {
 public:
  Reader(std::string_view text, std::string_view name) : text_(text), name_(name) {}

  Modelfile Read() {
    Modelfile modelfile;
    while (SkipToInstruction()) ReadInstruction(&modelfile);
    if (modelfile.from.empty()) Fail(ErrorCode::kInvalidArgument, "{}: there is no FROM line", name_);
    return modelfile;
  }

 private:
  [[noreturn]] void FailLine(int line, const std::string& what) const {
    Fail(ErrorCode::kInvalidArgument, "{}: line {}: {}", name_, line, what);
  }

  /// Past blank lines and comments; false at the end.
  bool SkipToInstruction() {
    for (;;) {
      while (!text_.empty() && (IsBlank(text_.front()) || text_.front() == '\n')) Take(1);
      if (text_.empty()) return false;
      if (text_.front() != '#') return true;
      TakeLine();
    }
  }

  std::string_view Take(size_t count) {
    const std::string_view taken = text_.substr(0, count);
    line_ += static_cast<int>(std::count(taken.begin(), taken.end(), '\n'));
    text_.remove_prefix(taken.size());
    return taken;
  }

  /// The rest of the line, without blanks around it.
  std::string_view TakeLine() {
    const size_t end = text_.find('\n');
    return TrimBlanks(Take(end == text_.npos ? text_.size() : end + 1));
  }

  void SkipBlanks() {
    while (!text_.empty() && IsBlank(text_.front())) Take(1);
  }

  /// Up to a blank or the end of the line.
  std::string TakeWord() {
    const auto end = std::find_if(text_.begin(), text_.end(), [](char c) { return IsBlank(c) || c == '\n'; });
    const std::string word(Take(static_cast<size_t>(end - text_.begin())));
    SkipBlanks();
    return word;
  }

  std::string TakeValue(const std::string& instruction) {
    SkipBlanks();
    const int begin = line_;
    if (text_.starts_with(kTriple)) {
      Take(kTriple.size());
      const size_t end = text_.find(kTriple);
      if (end == text_.npos) FailLine(begin, instruction + ": the quotes \"\"\" do not end");
      const std::string value(Take(end));
      Take(kTriple.size());
      const int last = line_;
      if (const auto rest = TakeLine(); !rest.empty() && rest.front() != '#') {
        FailLine(last, fmt::format("{}: '{}' stands after the closing quotes", instruction, OneLine(rest)));
      }
      return value;
    }
    const bool quoted = text_.starts_with('"');
    if (!quoted) {
      const std::string value(TakeLine());
      if (value.empty()) FailLine(begin, instruction + " wants a value");
      return value;
    }
    // To the first line that ends in a quote; quotes inside are part of it.
    const std::string_view whole = text_;
    size_t length = 0;
    for (;;) {
      if (text_.empty()) FailLine(begin, instruction + ": the quote does not end");
      const size_t newline = text_.find('\n');
      length += Take(newline == text_.npos ? text_.size() : newline + 1).size();
      const std::string_view value = TrimBlanks(whole.substr(0, length));
      if (value.size() >= 2 && value.back() == '"') return std::string(value.substr(1, value.size() - 2));
    }
  }

  void ReadInstruction(Modelfile* modelfile) {
    const int line = line_;
    const std::string word = TakeWord();
    std::string instruction = word;
    std::transform(instruction.begin(), instruction.end(), instruction.begin(),
                   [](unsigned char c) { return std::toupper(c); });
    if (instruction == "FROM") {
      if (!modelfile->from.empty()) FailLine(line, "there is a FROM line already");
      modelfile->from = TakeValue(instruction);
      if (modelfile->from.empty()) FailLine(line, "FROM wants a model");
    } else if (instruction == "PARAMETER") {
      std::string name = TakeWord();
      if (name.empty()) FailLine(line, "PARAMETER wants a name and a value");
      std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
      const std::string value = TakeValue("PARAMETER " + OneLine(name));
      modelfile->parameters.emplace_back(std::move(name), value);
    } else if (instruction == "TEMPLATE") {
      modelfile->chat_template = TakeValue(instruction);
    } else if (instruction == "SYSTEM") {
      modelfile->system = TakeValue(instruction);
    } else if (instruction == "MESSAGE") {
      const std::string role = TakeWord();
      if (role != "system" && role != "user" && role != "assistant") {
        FailLine(line, fmt::format("MESSAGE wants system, user or assistant before its text, not '{}'", OneLine(role)));
      }
      modelfile->messages.emplace_back(role, TakeValue("MESSAGE " + role));
    } else if (instruction == "LICENSE") {
      modelfile->licenses.push_back(TakeValue(instruction));
    } else if (instruction == "ADAPTER") {
      modelfile->adapters.push_back(TakeValue(instruction));
    } else {
      FailLine(line, fmt::format("unknown instruction '{}': there are FROM, PARAMETER, TEMPLATE, SYSTEM, ADAPTER, "
                                 "MESSAGE and LICENSE",
                                 OneLine(word)));
    }
  }

  std::string_view text_;
  std::string name_;
  int line_ = 1;
};

bool FitsOneLine(const std::string& value) {
  return !value.empty() && value.find('\n') == value.npos && TrimBlanks(value) == value && value.front() != '"';
}

bool FitsTriple(const std::string& value) {
  return value.find(kTriple) == value.npos && (value.empty() || value.back() != '"');
}

/// True where no line but the last ends in a quote.
bool FitsSingle(const std::string& value) {
  if (("\"" + value + "\"").starts_with(kTriple) && !value.empty()) return false;  // reads as the other kind
  for (size_t end = value.find('\n'); end != value.npos; end = value.find('\n', end + 1)) {
    const std::string_view before = TrimBlanks(std::string_view(value).substr(0, end));
    if (before.empty() || before.back() == '"') return false;
  }
  return true;
}

std::string Quoted(const std::string& value, bool plain) {
  if (plain && FitsOneLine(value)) return value;
  if (FitsTriple(value)) return fmt::format("\"\"\"{}\"\"\"", value);
  if (FitsOneLine(value)) return value;
  if (FitsSingle(value)) return fmt::format("\"{}\"", value);
  Fail(ErrorCode::kUnsupported, "a Modelfile cannot hold this text: {}", OneLine(value));
}

}  // namespace

Modelfile ParseModelfile(std::string_view text, std::string_view name) {
  if (text.size() > kMostBytes) Fail(ErrorCode::kLimit, "{}: longer than {} bytes", name, kMostBytes);
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  if (!utf8::IsValid(text) || text.find('\0') != text.npos) {
    Fail(ErrorCode::kInvalidArgument, "{}: is not text in UTF-8", name);
  }
  return Reader(text, name).Read();
}

std::string WriteModelfile(const Modelfile& modelfile) {
  std::string text = fmt::format("FROM {}\n", Quoted(modelfile.from, true));
  for (const auto& adapter : modelfile.adapters) text += fmt::format("ADAPTER {}\n", Quoted(adapter, true));
  if (modelfile.chat_template) text += fmt::format("TEMPLATE {}\n", Quoted(*modelfile.chat_template, false));
  if (modelfile.system) text += fmt::format("SYSTEM {}\n", Quoted(*modelfile.system, false));
  for (const auto& [name, value] : modelfile.parameters) {
    text += fmt::format("PARAMETER {} {}\n", name, Quoted(value, true));
  }
  for (const auto& [role, content] : modelfile.messages) {
    text += fmt::format("MESSAGE {} {}\n", role, Quoted(content, false));
  }
  for (const auto& license : modelfile.licenses) text += fmt::format("LICENSE {}\n", Quoted(license, false));
  return text;
}

}  // namespace edgellm
