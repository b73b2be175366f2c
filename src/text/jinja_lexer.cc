// The lexer: two modes, text and tag. Where a tag begins decides how much of the text before it is kept.
#include "text/jinja_lexer.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/utf8.h"
#include "text/jinja_text.h"

namespace edgellm::text::jinja {

namespace {

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
bool IsNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
bool IsNamePart(char c) {
  return IsNameStart(c) || IsDigit(c);
}

int DigitValue(char c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
  return 99;
}

class Lexer {
 public:
  explicit Lexer(const Source& source) : source_(source), text_(source.text()) {}

  std::vector<Token> Run() {
    while (position_ < text_.size()) LexText();
    Emit(Token::Kind::kEnd, position_, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void FailAt(size_t offset, std::string_view cause) const {
    throw source_.ErrorAt(ErrorCode::kCorrupt, static_cast<uint32_t>(offset), cause);
  }
  void Emit(Token::Kind kind, size_t offset, std::string_view text) {
    tokens_.push_back({kind, static_cast<uint32_t>(offset), std::string(text)});
  }
  void EmitData(size_t offset, std::string_view data) {
    if (!data.empty()) Emit(Token::Kind::kData, offset, data);
  }
  bool At(size_t offset, std::string_view wanted) const { return text_.substr(offset).starts_with(wanted); }
  char Peek(size_t offset) const { return offset < text_.size() ? text_[offset] : '\0'; }
  size_t SkipSpace(size_t offset) const { return text_.size() - Strip(text_.substr(offset), Side::kLeft).size(); }

  void LexText();
  std::string_view KeptBefore(size_t tag, char sign, bool output_tag) const;
  std::optional<size_t> EndOf(size_t offset, std::string_view closing, bool trims_newline, bool takes_plus) const;
  void Comment(size_t tag);
  bool Raw(size_t tag);
  void LexTag(std::string_view closing, bool output_tag);
  void LexNumber();
  void LexString();
  void LexOperator();
  void AppendEscape(std::string& value);
  void MoveTo(size_t position) {
    position_ = position;
    line_starting_ = position > 0 && text_[position - 1] == '\n';
  }

  const Source& source_;
  std::string_view text_;
  size_t position_ = 0;
  bool line_starting_ = true;  // the text from position_ on starts a line
  std::vector<Token> tokens_;
  std::string brackets_;  // the closing ones expected
};

void Lexer::LexText() {
  size_t tag = position_;
  for (; tag < text_.size(); ++tag) {
    tag = std::min(text_.find('{', tag), text_.size());
    const char next = Peek(tag + 1);
    if (next == '%' || next == '{' || next == '#') break;
  }
  if (tag >= text_.size()) {
    EmitData(position_, text_.substr(position_));
    position_ = text_.size();
    return;
  }
  const bool output_tag = text_[tag + 1] == '{';
  const char sign = Peek(tag + 2);
  EmitData(position_, KeptBefore(tag, sign, output_tag));
  if (text_[tag + 1] == '#') return Comment(tag);
  if (!output_tag && Raw(tag)) return;
  Emit(output_tag ? Token::Kind::kOutputBegin : Token::Kind::kBlockBegin, tag, text_.substr(tag, 2));
  position_ = tag + 2 + (sign == '-' || sign == '+');
  LexTag(output_tag ? "}}" : "%}", output_tag);
}

std::string_view Lexer::KeptBefore(size_t tag, char sign, bool output_tag) const {
  const std::string_view data = text_.substr(position_, tag - position_);
  if (sign == '-') return Strip(data, Side::kRight);
  if (sign == '+' || output_tag) return data;
  const size_t line = data.rfind('\n') + 1;  // npos + 1 is 0
  if (line == 0 && !line_starting_) return data;
  return Strip(data.substr(line), Side::kBoth).empty() ? data.substr(0, line) : data;
}

/// Where the text goes on when a tag's end stands at `offset`.
std::optional<size_t> Lexer::EndOf(size_t offset, std::string_view closing, bool trims_newline, bool takes_plus) const {
  if (Peek(offset) == '-' && At(offset + 1, closing)) return SkipSpace(offset + 1 + closing.size());
  if (takes_plus && Peek(offset) == '+' && At(offset + 1, closing)) return offset + 1 + closing.size();
  if (!At(offset, closing)) return std::nullopt;
  const size_t end = offset + closing.size();
  return trims_newline && Peek(end) == '\n' ? end + 1 : end;
}

void Lexer::Comment(size_t tag) {
  const size_t begin = tag + 2 + (Peek(tag + 2) == '-' || Peek(tag + 2) == '+');
  const size_t close = text_.find("#}", begin);
  if (close == std::string_view::npos) FailAt(tag, "this comment has no end");
  const char sign = close > begin ? text_[close - 1] : '\0';
  MoveTo(*EndOf(sign == '-' || sign == '+' ? close - 1 : close, "#}", true, true));
}

/// {% raw %} … {% endraw %}; false where the tag is another one.
bool Lexer::Raw(size_t tag) {
  size_t at = tag + 2;
  if (Peek(at) == '-' || Peek(at) == '+') ++at;
  at = SkipSpace(at);
  if (!At(at, "raw")) return false;
  const auto begin = EndOf(SkipSpace(at + 3), "%}", false, false);
  if (!begin) return false;
  MoveTo(*begin);
  for (size_t close = text_.find("{%", *begin); close != std::string_view::npos; close = text_.find("{%", close + 1)) {
    const char sign = Peek(close + 2);
    const size_t word = SkipSpace(close + 2 + (sign == '-' || sign == '+'));
    if (!At(word, "endraw")) continue;
    const auto end = EndOf(SkipSpace(word + 6), "%}", true, true);
    if (!end) continue;
    EmitData(*begin, KeptBefore(close, sign, false));
    MoveTo(*end);
    return true;
  }
  FailAt(tag, "this raw block has no endraw");
}

void Lexer::LexTag(std::string_view closing, bool output_tag) {
  const size_t tag = tokens_.back().offset;
  brackets_.clear();
  for (;;) {
    position_ = SkipSpace(position_);
    if (position_ >= text_.size()) FailAt(tag, "this tag has no end");
    if (brackets_.empty()) {
      if (const auto end = EndOf(position_, closing, !output_tag, !output_tag)) {
        Emit(output_tag ? Token::Kind::kOutputEnd : Token::Kind::kBlockEnd, position_, closing);
        return MoveTo(*end);
      }
    }
    const char c = text_[position_];
    if (IsDigit(c)) {
      LexNumber();
    } else if (IsNameStart(c)) {
      const size_t begin = position_;
      while (IsNamePart(Peek(position_))) ++position_;
      Emit(Token::Kind::kName, begin, text_.substr(begin, position_ - begin));
    } else if (c == '\'' || c == '"') {
      LexString();
    } else {
      LexOperator();
    }
  }
}

void Lexer::LexNumber() {
  const size_t begin = position_;
  const char prefix = static_cast<char>(Peek(begin + 1) | 0x20);
  const int base = text_[begin] != '0' ? 10 : prefix == 'x' ? 16 : prefix == 'o' ? 8 : prefix == 'b' ? 2 : 10;
  bool is_float = false;
  const auto digits = [&](int base_of_digits) {
    const auto is_digit = [&](char c) { return DigitValue(c) < base_of_digits; };
    while (is_digit(Peek(position_)) || (Peek(position_) == '_' && is_digit(Peek(position_ + 1)))) ++position_;
  };
  if (base != 10) position_ += 2;
  digits(base);
  const bool after_dot = begin > 0 && text_[begin - 1] == '.';  // "a.0.1" subscripts twice
  if (base == 10 && !after_dot) {
    if (Peek(position_) == '.' && IsDigit(Peek(position_ + 1))) {
      is_float = true;
      ++position_;
      digits(10);
    }
    const size_t sign = Peek(position_ + 1) == '+' || Peek(position_ + 1) == '-';
    if ((Peek(position_) | 0x20) == 'e' && IsDigit(Peek(position_ + 1 + sign))) {
      is_float = true;
      position_ += 1 + sign;
      digits(10);
    }
  }
  std::string spelling(text_.substr(begin, position_ - begin));
  std::erase(spelling, '_');
  const bool leading_zero = !is_float && base == 10 && spelling.size() > 1 && spelling[0] == '0' &&
                            spelling.find_first_not_of('0') != std::string::npos;
  if (spelling.size() == 2 && base != 10) FailAt(begin, "this number has no digits");
  if (leading_zero) FailAt(begin, "a number does not start with 0");
  Emit(is_float ? Token::Kind::kFloat : Token::Kind::kInteger, begin, spelling);
}

void Lexer::LexString() {
  const size_t begin = position_;
  const char quote = text_[position_++];
  std::string value;
  for (;;) {
    if (position_ >= text_.size()) FailAt(begin, "this string has no end");
    const char c = text_[position_];
    if (c == quote) break;
    ++position_;
    if (c == '\\') {
      AppendEscape(value);
    } else {
      value += c;
    }
  }
  ++position_;
  Emit(Token::Kind::kString, begin, value);
}

/// What follows a backslash, as Python's unicode-escape reads it.
void Lexer::AppendEscape(std::string& value) {
  static constexpr std::string_view kLetters = "abfnrtv\\'\"";
  static constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v\\'\"";
  const size_t begin = position_;
  const char c = Peek(position_);
  if (position_ < text_.size()) ++position_;
  if (const size_t letter = kLetters.find(c); letter != std::string_view::npos) {
    value += kMeanings[letter];
  } else if (c >= '0' && c <= '7') {
    char32_t code = static_cast<char32_t>(c - '0');
    for (int i = 0; i < 2 && Peek(position_) >= '0' && Peek(position_) <= '7'; ++i) {
      code = code * 8 + static_cast<char32_t>(text_[position_++] - '0');
    }
    utf8::Append(value, code);
  } else if (c == 'x' || c == 'u' || c == 'U') {
    const int length = c == 'x' ? 2 : c == 'u' ? 4 : 8;
    char32_t code = 0;
    for (int i = 0; i < length; ++i) {
      const int digit = DigitValue(Peek(position_));
      if (digit >= 16) FailAt(begin - 1, "this escape needs more hexadecimal digits");
      code = code * 16 + static_cast<char32_t>(digit);
      ++position_;
    }
    if (code > 0x10ffff) FailAt(begin - 1, "no such Unicode character");
    utf8::Append(value, code);
  } else if (c == 'N') {
    throw source_.ErrorAt(ErrorCode::kUnsupported, static_cast<uint32_t>(begin - 1),
                          "characters by name are not supported");
  } else if (c != '\n') {  // a backslash at the end of a line continues the string
    value += '\\';
    position_ = begin;
  }
}

void Lexer::LexOperator() {
  static constexpr std::array<std::string_view, 6> kPairs = {"//", "**", "==", "!=", ">=", "<="};
  static constexpr std::string_view kSingles = "+-/*%~[](){}.:|,;=<>";
  const size_t begin = position_;
  const auto pair = std::find_if(kPairs.begin(), kPairs.end(), [&](std::string_view p) { return At(begin, p); });
  const char c = text_[begin];
  if (pair == kPairs.end() && kSingles.find(c) == std::string_view::npos) {
    FailAt(begin, fmt::format("unexpected character '{}'", text_.substr(begin, 1)));
  }
  position_ += pair == kPairs.end() ? 1 : 2;
  if (pair == kPairs.end()) {
    if (c == '(') brackets_ += ')';
    if (c == '[') brackets_ += ']';
    if (c == '{') brackets_ += '}';
    if (c == ')' || c == ']' || c == '}') {
      if (brackets_.empty()) FailAt(begin, fmt::format("unexpected '{}'", c));
      if (brackets_.back() != c) FailAt(begin, fmt::format("unexpected '{}', expected '{}'", c, brackets_.back()));
      brackets_.pop_back();
    }
  }
  Emit(Token::Kind::kOperator, begin, text_.substr(begin, position_ - begin));
}

}  // namespace

std::vector<Token> Tokenize(const Source& source) {
  return Lexer(source).Run();
}

}  // namespace edgellm::text::jinja
