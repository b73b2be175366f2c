// See gbnf.h.
#include "constrain/gbnf.h"

#include <map>
#include <string>

#include "base/error.h"
#include "base/utf8.h"

namespace edgellm::constrain {
namespace {

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

class Parser {
 public:
  Parser(std::string_view text, std::string_view name, const GbnfLimits& limits)
      : text_(text), name_(name), limits_(limits) {}

  Grammar Parse() {
    if (text_.size() > limits_.bytes) {
      Fail(ErrorCode::kLimit, "{}: a grammar of {} bytes is longer than the limit of {}", name_, text_.size(),
           limits_.bytes);
    }
    for (SkipSpace(true); !AtEnd(); SkipSpace(true)) ParseRule();
    for (const auto& [rule, place] : first_use_) {
      if (grammar_.defined(rule)) continue;
      at_ = place;
      Error("the rule '" + grammar_.name(rule) + "' is not defined");
    }
    const auto root = rules_.find("root");
    if (root == rules_.end() || !grammar_.defined(root->second)) {
      Fail(ErrorCode::kInvalidArgument, "{}: the grammar has no rule 'root'", name_);
    }
    grammar_.root = root->second;
    return std::move(grammar_);
  }

 private:
  [[noreturn]] void Error(const std::string& cause) const {
    int line = 1, column = 1;
    for (char c : text_.substr(0, at_)) {
      if (c == '\n') {
        ++line;
        column = 1;
      } else if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) {
        ++column;
      }
    }
    Fail(ErrorCode::kInvalidArgument, "{}:{}:{}: {}", name_, line, column, cause);
  }

  bool AtEnd() const { return at_ >= text_.size(); }
  char Peek() const { return AtEnd() ? '\0' : text_[at_]; }
  bool Take(std::string_view expected) {
    if (!text_.substr(at_).starts_with(expected)) return false;
    at_ += expected.size();
    return true;
  }

  void SkipSpace(bool over_lines) {
    for (; !AtEnd(); ++at_) {
      const char c = Peek();
      if (c == '#') {
        while (!AtEnd() && Peek() != '\n' && Peek() != '\r') ++at_;
        if (AtEnd()) return;
        --at_;
        continue;
      }
      if (c != ' ' && c != '\t' && (!over_lines || (c != '\n' && c != '\r'))) return;
    }
  }

  std::string ParseName() {
    const size_t begin = at_;
    while (!AtEnd() && IsNameCharacter(Peek())) ++at_;
    if (at_ == begin) Error("expected the name of a rule");
    return std::string(text_.substr(begin, at_ - begin));
  }

  RuleId RuleNamed(const std::string& name) {
    const auto [found, added] = rules_.try_emplace(name, -1);
    if (added) found->second = grammar_.Declare(name);
    return found->second;
  }

  void ParseRule() {
    const size_t begin = at_;
    const std::string name = ParseName();
    const RuleId rule = RuleNamed(name);
    SkipSpace(false);
    if (!Take("::=")) Error("expected ::= after the name of a rule");
    if (grammar_.defined(rule)) {
      at_ = begin;
      Error("the rule '" + name + "' is defined twice");
    }
    SkipSpace(true);
    grammar_.Define(rule, ParseAlternatives(0));
    if (!AtEnd() && Peek() != '\n' && Peek() != '\r') {
      Error(Peek() == ')' ? "a ) without its (" : "expected the end of the rule");
    }
  }

  ExpressionId ParseAlternatives(int depth) {
    std::vector<ExpressionId> alternatives = {ParseSequence(depth)};
    while (Take("|")) {
      SkipSpace(true);
      alternatives.push_back(ParseSequence(depth));
    }
    return grammar_.Choice(std::move(alternatives));
  }

  /// Inside a group a sequence goes on over the end of a line.
  ExpressionId ParseSequence(int depth) {
    std::vector<ExpressionId> parts;
    while (!AtEnd()) {
      const char c = Peek();
      ExpressionId part;
      if (c == '"') {
        part = ParseText();
      } else if (c == '[') {
        part = ParseClass();
      } else if (c == '(') {
        part = ParseGroup(depth);
      } else if (c == '.') {
        ++at_;
        part = grammar_.Class({}, /*negated=*/true);
      } else if (IsNameCharacter(c)) {
        const size_t place = at_;
        const RuleId rule = RuleNamed(ParseName());
        first_use_.try_emplace(rule, place);
        part = grammar_.Reference(rule);
      } else if (c == '<' || c == '!') {
        Error("references to tokens are not supported: a grammar speaks of text");
      } else {
        break;
      }
      SkipSpace(depth > 0);
      parts.push_back(ParseRepetitions(part, depth));
    }
    if (std::string_view("*+?{").find(Peek()) != std::string_view::npos && !AtEnd()) {
      Error(std::string("there is nothing before '") + Peek() + "' to be repeated");
    }
    return grammar_.Sequence(std::move(parts));
  }

  ExpressionId ParseGroup(int depth) {
    const size_t begin = at_++;
    if (depth >= limits_.depth) {
      Fail(ErrorCode::kLimit, "{}: groups nest deeper than {}", name_, limits_.depth);
    }
    SkipSpace(true);
    const ExpressionId group = ParseAlternatives(depth + 1);
    if (!Take(")")) {
      if (!AtEnd()) Error("expected ) or more of the group");
      at_ = begin;
      Error("a ( without its )");
    }
    return group;
  }

  int ParseNumber() {
    if (!IsDigit(Peek())) Error("expected a number");
    int value = 0;
    while (IsDigit(Peek())) {
      value = value * 10 + (Peek() - '0');
      if (value > limits_.repetitions) {
        Fail(ErrorCode::kLimit, "{}: more than {} repetitions", name_, limits_.repetitions);
      }
      ++at_;
    }
    return value;
  }

  ExpressionId ParseRepetitions(ExpressionId part, int depth) {
    for (int count = 0;; ++count) {
      int minimum = 0, maximum = Grammar::kUnlimited;
      if (Take("*")) {
      } else if (Take("+")) {
        minimum = 1;
      } else if (Take("?")) {
        maximum = 1;
      } else if (Take("{")) {
        SkipSpace(false);
        minimum = maximum = ParseNumber();
        SkipSpace(false);
        if (Take(",")) {
          SkipSpace(false);
          maximum = Peek() == '}' ? Grammar::kUnlimited : ParseNumber();
          SkipSpace(false);
        }
        if (maximum != Grammar::kUnlimited && maximum < minimum) Error("the second number is below the first");
        if (!Take("}")) Error("expected }");
      } else {
        return part;
      }
      if (count >= limits_.depth) Fail(ErrorCode::kLimit, "{}: too many repetitions in a row", name_);
      part = grammar_.Repeat(part, minimum, maximum);
      SkipSpace(depth > 0);
    }
  }

  char32_t ParseHex(int digits) {
    char32_t value = 0;
    for (int i = 0; i < digits; ++i, ++at_) {
      const char c = Peek();
      int digit;
      if (IsDigit(c)) {
        digit = c - '0';
      } else if (c >= 'a' && c <= 'f') {
        digit = c - 'a' + 10;
      } else if (c >= 'A' && c <= 'F') {
        digit = c - 'A' + 10;
      } else {
        Error(fmt::format("expected {} hexadecimal digits", digits));
      }
      value = value * 16 + static_cast<char32_t>(digit);
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) Error("that is no code point");
    return value;
  }

  char32_t ParseCharacter() {
    if (AtEnd()) Error("the grammar ends inside quotes or brackets");
    if (Take("\\")) {
      const char c = Peek();
      ++at_;
      switch (c) {
        case 'n':
          return '\n';
        case 'r':
          return '\r';
        case 't':
          return '\t';
        case 'x':
          return ParseHex(2);
        case 'u':
          return ParseHex(4);
        case 'U':
          return ParseHex(8);
        case '\\':
        case '"':
        case '[':
        case ']':
        case '-':
        case '^':
          return static_cast<char32_t>(c);
        default:
          break;
      }
      --at_;
      Error("an unknown escape: there are \\n \\r \\t \\xHH \\uHHHH \\UHHHHHHHH \\\\ \\\" \\[ \\] \\- \\^");
    }
    const utf8::Decoded decoded = utf8::Decode(text_.substr(at_));
    if (decoded.state != utf8::Decoded::kWhole) Error("broken UTF-8");
    if (decoded.code_point == '\n' || decoded.code_point == '\r') Error("the line ends inside quotes or brackets");
    at_ += static_cast<size_t>(decoded.length);
    return decoded.code_point;
  }

  ExpressionId ParseText() {
    ++at_;
    std::string bytes;
    while (!Take("\"")) utf8::Append(bytes, ParseCharacter());
    return grammar_.Text(bytes);
  }

  ExpressionId ParseClass() {
    const size_t begin = at_++;
    const bool negated = Take("^");
    std::vector<CodePointRange> ranges;
    while (!Take("]")) {
      const char32_t low = ParseCharacter();
      char32_t high = low;
      if (Peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        high = ParseCharacter();
        if (high < low) Error("a range that ends before it begins");
      }
      ranges.push_back({low, high});
    }
    if (ranges.empty() && !negated) {
      at_ = begin;
      Error("an empty class matches nothing");
    }
    return grammar_.Class(std::move(ranges), negated);
  }

  std::string_view text_, name_;
  GbnfLimits limits_;
  size_t at_ = 0;
  Grammar grammar_;
  std::map<std::string, RuleId> rules_;
  std::map<RuleId, size_t> first_use_;
};

}  // namespace

Grammar ParseGbnf(std::string_view text, std::string_view name, const GbnfLimits& limits) {
  return Parser(text, name, limits).Parse();
}

}  // namespace edgellm::constrain
