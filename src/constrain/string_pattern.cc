// See string_pattern.h.
#include "constrain/string_pattern.h"

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"

namespace edgellm::constrain {
namespace {

using Ranges = std::vector<CodePointRange>;

constexpr size_t kMaxPatternBytes = 10'000;
constexpr int kMaxGroupDepth = 50;
constexpr int kMaxRepetitions = 10'000;

Ranges Digits() {
  return {{'0', '9'}};
}
Ranges WordCharacters() {
  return {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
}
/// WhiteSpace and LineTerminator of ECMA-262.
Ranges Spaces() {
  return {{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
          {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
}
Ranges LineEnds() {
  return {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};
}

class PatternParser {
 public:
  PatternParser(std::string_view pattern, JsonParts* parts)
      : pattern_(pattern), parts_(*parts), grammar_(parts->grammar()) {}

  ExpressionId Parse() {
    if (pattern_.size() > kMaxPatternBytes) Fail(ErrorCode::kLimit, "the pattern is too long");
    if (!utf8::IsValid(pattern_)) Invalid("it is not UTF-8");
    const ExpressionId quote = grammar_.Text("\"");
    std::vector<ExpressionId> alternatives;
    do {
      alternatives.push_back(ParseTopAlternative());
    } while (Take('|'));
    if (!AtEnd()) Invalid("a ) without its (");
    return grammar_.Sequence({quote, grammar_.Choice(std::move(alternatives)), quote});
  }

 private:
  [[noreturn]] void Invalid(const std::string& cause) const {
    Fail(ErrorCode::kInvalidArgument, "at byte {} of the pattern: {}", at_, cause);
  }
  [[noreturn]] void Unsupported(const std::string& what) const {
    Fail(ErrorCode::kUnsupported, "at byte {} of the pattern: {} is not supported", at_, what);
  }
  bool AtEnd() const { return at_ >= pattern_.size(); }
  char Peek() const { return AtEnd() ? '\0' : pattern_[at_]; }
  bool Take(char c) {
    if (AtEnd() || pattern_[at_] != c) return false;
    ++at_;
    return true;
  }

  ExpressionId Anything() { return grammar_.Repeat(parts_.AnySpelled(), 0, Grammar::kUnlimited); }

  ExpressionId ParseTopAlternative() {
    std::vector<ExpressionId> sequence;
    if (!Take('^')) sequence.push_back(Anything());
    sequence.push_back(ParseSequence(0));
    if (!Take('$')) {
      sequence.push_back(Anything());
    } else if (!AtEnd() && Peek() != '|') {
      Unsupported("$ before the end");
    }
    return grammar_.Sequence(std::move(sequence));
  }

  ExpressionId ParseAlternatives(int depth) {
    std::vector<ExpressionId> alternatives;
    do {
      alternatives.push_back(ParseSequence(depth));
    } while (Take('|'));
    return grammar_.Choice(std::move(alternatives));
  }

  ExpressionId ParseSequence(int depth) {
    std::vector<ExpressionId> sequence;
    while (!AtEnd() && Peek() != '|' && Peek() != ')') {
      if (Peek() == '$' && depth == 0) break;
      sequence.push_back(ParseQuantifier(ParseAtom(depth)));
    }
    return grammar_.Sequence(std::move(sequence));
  }

  ExpressionId ParseAtom(int depth) {
    const char c = Peek();
    switch (c) {
      case '(':
        return ParseGroup(depth);
      case '[':
        return parts_.Spelled(ParseClass());
      case '.':
        ++at_;
        return parts_.Spelled(NormalizeRanges(LineEnds(), true));
      case '^':
      case '$':
        Unsupported("an anchor inside a pattern");
      case '*':
      case '+':
      case '?':
      case '{':
        Invalid("there is nothing to be repeated");
      case '}':
      case ']':
        Invalid("a bracket without its partner");
      case '\\': {
        ++at_;
        if (auto set = ParseSetEscape()) return parts_.Spelled(*set);
        const char32_t character = ParseCharacterEscape();
        return parts_.Spelled(NormalizeRanges({{character, character}}, false));
      }
      default:
        break;
    }
    const char32_t character = NextCodePoint();
    return parts_.Spelled({{character, character}});
  }

  ExpressionId ParseGroup(int depth) {
    if (depth >= kMaxGroupDepth) Fail(ErrorCode::kLimit, "the pattern's groups nest too deep");
    ++at_;
    if (Peek() == '?') {
      ++at_;
      if (!Take(':')) Unsupported("look-around or a named group");
    }
    const ExpressionId group = ParseAlternatives(depth + 1);
    if (!Take(')')) Invalid("a ( without its )");
    return group;
  }

  int ParseNumber() {
    if (Peek() < '0' || Peek() > '9') Invalid("expected a number in {}");
    int value = 0;
    while (Peek() >= '0' && Peek() <= '9') {
      value = value * 10 + (Peek() - '0');
      if (value > kMaxRepetitions) Fail(ErrorCode::kLimit, "the pattern repeats more than {} times", kMaxRepetitions);
      ++at_;
    }
    return value;
  }

  ExpressionId ParseQuantifier(ExpressionId atom) {
    int minimum = 0, maximum = Grammar::kUnlimited;
    if (Take('*')) {
    } else if (Take('+')) {
      minimum = 1;
    } else if (Take('?')) {
      maximum = 1;
    } else if (Take('{')) {
      minimum = maximum = ParseNumber();
      if (Take(',')) maximum = Peek() == '}' ? Grammar::kUnlimited : ParseNumber();
      if (!Take('}')) Invalid("expected }");
      if (maximum != Grammar::kUnlimited && maximum < minimum) Invalid("the second number is below the first");
    } else {
      return atom;
    }
    Take('?');  // lazy: the same texts
    return grammar_.Repeat(atom, minimum, maximum);
  }

  char32_t NextCodePoint() {
    const utf8::Decoded decoded = utf8::Decode(pattern_.substr(at_));
    at_ += static_cast<size_t>(decoded.length);
    return decoded.code_point;
  }

  char32_t ParseHex(int digits) {
    char32_t value = 0;
    for (int i = 0; i < digits; ++i, ++at_) {
      const char c = Peek();
      const char lower = static_cast<char>(c | 0x20);
      if (c >= '0' && c <= '9') {
        value = value * 16 + static_cast<char32_t>(c - '0');
      } else if (lower >= 'a' && lower <= 'f') {
        value = value * 16 + static_cast<char32_t>(lower - 'a' + 10);
      } else {
        Invalid("expected hexadecimal digits");
      }
    }
    return value;
  }

  char32_t ParseUnicodeEscape() {
    char32_t value = 0;
    if (Take('{')) {
      const size_t end = pattern_.find('}', at_);
      if (end == std::string_view::npos || end == at_ || end - at_ > 6) Invalid("expected \\u{H…}");
      value = ParseHex(static_cast<int>(end - at_));
      ++at_;
    } else {
      value = ParseHex(4);
      if (value >= 0xD800 && value < 0xDC00 && pattern_.substr(at_).starts_with("\\u")) {
        at_ += 2;
        const char32_t low = ParseHex(4);
        if (low < 0xDC00 || low > 0xDFFF) Invalid("half of a surrogate pair");
        value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
      }
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) Invalid("that is no code point");
    return value;
  }

  /// After the backslash.
  std::optional<Ranges> ParseSetEscape() {
    const char c = Peek();
    Ranges ranges;
    switch (c) {
      case 'd':
      case 'D':
        ranges = Digits();
        break;
      case 'w':
      case 'W':
        ranges = WordCharacters();
        break;
      case 's':
      case 'S':
        ranges = Spaces();
        break;
      default:
        return std::nullopt;
    }
    ++at_;
    return NormalizeRanges(std::move(ranges), /*negated=*/c < 'a');
  }

  char32_t ParseCharacterEscape() {
    const char c = Peek();
    if (AtEnd()) Invalid("a backslash at the end");
    switch (c) {
      case 't':
        ++at_;
        return '\t';
      case 'n':
        ++at_;
        return '\n';
      case 'r':
        ++at_;
        return '\r';
      case 'f':
        ++at_;
        return '\f';
      case 'v':
        ++at_;
        return '\v';
      case 'x':
        ++at_;
        return ParseHex(2);
      case 'u':
        ++at_;
        return ParseUnicodeEscape();
      default:
        break;
    }
    const bool letter_or_digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (letter_or_digit) Unsupported(std::string("the escape \\") + c);
    return NextCodePoint();
  }

  Ranges ParseClass() {
    ++at_;
    const bool negated = Take('^');
    Ranges ranges;
    while (!Take(']')) {
      if (AtEnd()) Invalid("a [ without its ]");
      const auto low = ParseClassMember(&ranges);
      if (Peek() == '-' && at_ + 1 < pattern_.size() && pattern_[at_ + 1] != ']') {
        ++at_;
        const auto high = ParseClassMember(&ranges);
        if (!low || !high) Invalid("a range from or to a set");
        if (*high < *low) Invalid("a range that ends before it begins");
        ranges.push_back({*low, *high});
      } else if (low) {
        ranges.push_back({*low, *low});
      }
    }
    return NormalizeRanges(std::move(ranges), negated);
  }

  /// A character, or none when it was a set, which goes to `ranges`.
  std::optional<char32_t> ParseClassMember(Ranges* ranges) {
    if (AtEnd()) Invalid("a [ without its ]");
    if (!Take('\\')) return NextCodePoint();
    if (auto set = ParseSetEscape()) {
      ranges->insert(ranges->end(), set->begin(), set->end());
      return std::nullopt;
    }
    return ParseCharacterEscape();
  }

  std::string_view pattern_;
  JsonParts& parts_;
  Grammar& grammar_;
  size_t at_ = 0;
};

}  // namespace

ExpressionId CompilePattern(std::string_view pattern, JsonParts* parts) {
  return PatternParser(pattern, parts).Parse();
}

}  // namespace edgellm::constrain
