// See json_parts.h.
#include "constrain/json_parts.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8.h"

namespace edgellm::constrain {
namespace {

/// How RFC 8259 spells a character that cannot stand for itself; empty for all others.
std::string EscapeOf(char32_t c) {
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      return c < 0x20 ? fmt::format("\\u{:04x}", static_cast<unsigned>(c)) : "";
  }
}

std::u32string CodePoints(std::string_view text) {
  std::u32string result;
  while (!text.empty()) {
    const utf8::Decoded decoded = utf8::Decode(text);
    result.push_back(decoded.code_point);
    text.remove_prefix(static_cast<size_t>(decoded.length));
  }
  return result;
}

}  // namespace

template <typename Make>
ExpressionId JsonParts::Once(const std::string& name, const Make& make) {
  const auto [found, added] = rules_.try_emplace(name, -1);
  if (added) {
    const RuleId rule = found->second = grammar_.Declare(name);
    grammar_.Define(rule, make());
    return grammar_.Reference(rule);
  }
  return grammar_.Reference(found->second);
}

ExpressionId JsonParts::Space() {
  if (style_.white_space == JsonStyle::WhiteSpace::kCompact) return grammar_.Text("");
  return Once("space", [&] {
    const ExpressionId spaces = grammar_.Repeat(grammar_.Text(" "), 0, kMaxIndent);
    const ExpressionId tabs = grammar_.Repeat(grammar_.Text("\t"), 1, kMaxTabs);
    const ExpressionId line = grammar_.Sequence({grammar_.Text("\n"), grammar_.Choice({spaces, tabs})});
    return grammar_.Choice({grammar_.Text(""), grammar_.Text(" "), line});
  });
}

ExpressionId JsonParts::Comma() {
  return grammar_.Sequence({grammar_.Text(","), Space()});
}

ExpressionId JsonParts::Spelled(const std::vector<CodePointRange>& ranges) {
  const auto has = [&](char32_t c) {
    return std::any_of(ranges.begin(), ranges.end(), [c](const auto& r) { return r.low <= c && c <= r.high; });
  };
  std::vector<ExpressionId> spellings;
  std::vector<CodePointRange> plain;
  for (CodePointRange range : ranges) {
    for (const char32_t cut : {U'"', U'\\'}) {  // in rising order
      if (cut < range.low || cut > range.high) continue;
      if (cut > range.low) plain.push_back({range.low, cut - 1});
      range.low = cut + 1;
    }
    if (range.low <= range.high) plain.push_back(range);
  }
  for (auto& range : plain) range.low = std::max(range.low, char32_t{0x20});
  std::erase_if(plain, [](const CodePointRange& range) { return range.low > range.high; });
  if (!plain.empty()) spellings.push_back(grammar_.Class(plain));
  for (char32_t c = 0; c < 0x20; ++c) {
    if (has(c)) spellings.push_back(grammar_.Text(EscapeOf(c)));
  }
  for (const char32_t c : {U'"', U'\\'}) {
    if (has(c)) spellings.push_back(grammar_.Text(EscapeOf(c)));
  }
  if (spellings.empty()) return grammar_.Class({});
  return grammar_.Choice(std::move(spellings));
}

ExpressionId JsonParts::AnySpelled() {
  return Spelled({{0, 0x10FFFF}});
}

/// A character of any string, with every escape that the RFC knows. \u may not name half of a surrogate pair alone.
ExpressionId JsonParts::Character() {
  Grammar& g = grammar_;
  const ExpressionId plain = g.Class({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}}, /*negated=*/true);
  const ExpressionId hex = g.Class({{'0', '9'}, {'a', 'f'}, {'A', 'F'}});
  const ExpressionId d = g.Class({{'d', 'd'}, {'D', 'D'}});
  const ExpressionId single = g.Choice(
      {g.Sequence({g.Class({{'0', '9'}, {'a', 'c'}, {'A', 'C'}, {'e', 'f'}, {'E', 'F'}}), g.Repeat(hex, 3, 3)}),
       g.Sequence({d, g.Class({{'0', '7'}}), g.Repeat(hex, 2, 2)})});
  const ExpressionId pair = g.Sequence({d, g.Class({{'8', '9'}, {'a', 'b'}, {'A', 'B'}}), g.Repeat(hex, 2, 2),
                                        g.Text("\\u"), d, g.Class({{'c', 'f'}, {'C', 'F'}}), g.Repeat(hex, 2, 2)});
  std::vector<CodePointRange> letters;
  for (const char32_t letter : {U'"', U'\\', U'/', U'b', U'f', U'n', U'r', U't'}) letters.push_back({letter, letter});
  const ExpressionId escape =
      g.Sequence({g.Text("\\"), g.Choice({g.Class(letters), g.Sequence({g.Text("u"), g.Choice({single, pair})})})});
  return g.Choice({plain, escape});
}

ExpressionId JsonParts::String() {
  return String(0, Grammar::kUnlimited);
}

ExpressionId JsonParts::String(int minimum, int maximum) {
  const bool any = minimum == 0 && maximum == Grammar::kUnlimited;
  return Once(any ? "string" : fmt::format("string{{{},{}}}", minimum, maximum), [&] {
    const ExpressionId quote = grammar_.Text("\"");
    return grammar_.Sequence({quote, grammar_.Repeat(Character(), minimum, maximum), quote});
  });
}

ExpressionId JsonParts::Integer() {
  return Integer(-kLargestInteger, kLargestInteger);
}

ExpressionId JsonParts::Integer(int64_t low, int64_t high) {
  EDGELLM_CHECK(-kLargestInteger <= low && low <= high && high <= kLargestInteger, "a range of integers");
  return Once(fmt::format("integer[{},{}]", low, high), [&] {
    std::vector<ExpressionId> signs;
    if (low < 0) signs.push_back(grammar_.Sequence({grammar_.Text("-"), Natural(std::max<int64_t>(1, -high), -low)}));
    if (high >= 0) signs.push_back(Natural(std::max<int64_t>(0, low), high));
    return grammar_.Choice(std::move(signs));
  });
}

/// 0 <= low <= high: by the number of digits.
ExpressionId JsonParts::Natural(int64_t low, int64_t high) {
  std::vector<ExpressionId> lengths;
  int64_t begin = 0, end = 9;  // of this length
  for (size_t length = 1; begin <= high; ++length) {
    const int64_t from = std::max(low, begin), to = std::min(high, end);
    if (from <= to) lengths.push_back(Digits(std::to_string(from), std::to_string(to)));
    if (end >= kLargestInteger) break;
    begin = end + 1;
    end = end * 10 + 9;
  }
  return grammar_.Choice(std::move(lengths));
}

/// Numbers of equally many digits from `low` to `high`.
ExpressionId JsonParts::Digits(const std::string& low, const std::string& high) {
  Grammar& g = grammar_;
  const auto digit = [&](char from, char to) {
    return g.Class({{static_cast<char32_t>(from), static_cast<char32_t>(to)}});
  };
  if (low.empty()) return g.Text("");
  const std::string low_rest = low.substr(1), high_rest = high.substr(1);
  const std::string zeros(low_rest.size(), '0'), nines(low_rest.size(), '9');
  if (low[0] == high[0]) return g.Sequence({digit(low[0], low[0]), Digits(low_rest, high_rest)});
  char free_low = low[0], free_high = high[0];  // first digits after which all else is free
  std::vector<ExpressionId> choices;
  if (low_rest != zeros) {
    choices.push_back(g.Sequence({digit(low[0], low[0]), Digits(low_rest, nines)}));
    ++free_low;
  }
  if (high_rest != nines) {
    choices.push_back(g.Sequence({digit(high[0], high[0]), Digits(zeros, high_rest)}));
    --free_high;
  }
  if (free_low <= free_high) {
    const auto rest = static_cast<int>(low_rest.size());
    choices.push_back(g.Sequence({digit(free_low, free_high), g.Repeat(digit('0', '9'), rest, rest)}));
  }
  return g.Choice(std::move(choices));
}

ExpressionId JsonParts::Number() {
  return Once("number", [&] {
    Grammar& g = grammar_;
    const ExpressionId digit = g.Class({{'0', '9'}}), nonzero = g.Class({{'1', '9'}});
    const ExpressionId positive = g.Sequence({nonzero, g.Repeat(digit, 0, 17)});
    const ExpressionId fraction = g.Sequence({g.Text("."), g.Repeat(digit, 1, 18)});
    const ExpressionId exponent = g.Sequence(
        {g.Class({{'e', 'e'}, {'E', 'E'}}), g.Optional(g.Class({{'+', '+'}, {'-', '-'}})), g.Repeat(digit, 1, 2)});
    const ExpressionId zero = g.Text("0");
    // A minus before a zero needs something after the point.
    const ExpressionId whole = g.Choice({zero, g.Sequence({g.Optional(g.Text("-")), positive})});
    const ExpressionId broken = g.Sequence({g.Optional(g.Text("-")), g.Choice({zero, positive}), fraction});
    return g.Sequence({g.Choice({whole, broken}), g.Optional(exponent)});
  });
}

ExpressionId JsonParts::Boolean() {
  return grammar_.Choice({grammar_.Text("true"), grammar_.Text("false")});
}

ExpressionId JsonParts::Null() {
  return grammar_.Text("null");
}

ExpressionId JsonParts::Value() {
  return Once("value", [&] { return grammar_.Choice({Object(), Array(), String(), Number(), Boolean(), Null()}); });
}

ExpressionId JsonParts::Object() {
  return Once("object", [&] { return ObjectOf({{Member(String(), Value()), true, true}}); });
}

ExpressionId JsonParts::Array() {
  return Once("array", [&] { return ArrayOf({{Value(), true, true}}); });
}

ExpressionId JsonParts::Member(ExpressionId key, ExpressionId value) {
  const bool compact = style_.white_space == JsonStyle::WhiteSpace::kCompact;
  const ExpressionId space = compact ? grammar_.Text("") : grammar_.Optional(grammar_.Text(" "));
  return grammar_.Sequence({key, grammar_.Text(":"), space, value});
}

ExpressionId JsonParts::ObjectOf(std::vector<JoinItem> members) {
  return grammar_.Sequence(
      {grammar_.Text("{"), grammar_.Join(std::move(members), Comma(), Space(), Space()), grammar_.Text("}")});
}

ExpressionId JsonParts::ArrayOf(std::vector<JoinItem> elements) {
  return grammar_.Sequence(
      {grammar_.Text("["), grammar_.Join(std::move(elements), Comma(), Space(), Space()), grammar_.Text("]")});
}

ExpressionId JsonParts::ArrayAround(ExpressionId elements, bool may_be_empty) {
  const ExpressionId inside = grammar_.Sequence({Space(), elements, Space()});
  return grammar_.Sequence({grammar_.Text("["), may_be_empty ? grammar_.Optional(inside) : inside, grammar_.Text("]")});
}

ExpressionId JsonParts::Constant(const nlohmann::ordered_json& value) {
  std::vector<JoinItem> parts;
  if (value.is_object()) {
    for (const auto& [key, member] : value.items()) {
      parts.push_back({Member(grammar_.Text(nlohmann::json(key).dump()), Constant(member)), false, false});
    }
    return ObjectOf(std::move(parts));
  }
  if (value.is_array()) {
    for (const auto& element : value) parts.push_back({Constant(element), false, false});
    return ArrayOf(std::move(parts));
  }
  return grammar_.Text(value.dump());
}

ExpressionId JsonParts::StringExcept(const std::vector<std::string>& names) {
  constexpr size_t kMaxLength = 200;
  std::vector<std::u32string> spelled;
  for (const std::string& name : names) {
    spelled.push_back(CodePoints(name));
    if (spelled.back().size() > kMaxLength) {
      Fail(ErrorCode::kLimit, "a property's name has more than {} characters", kMaxLength);
    }
  }
  std::sort(spelled.begin(), spelled.end());
  const ExpressionId quote = grammar_.Text("\"");
  return grammar_.Sequence({quote, Except(spelled, 0), quote});
}

/// What follows the first `depth` code points, which `names` (sorted, not empty) share, in a string that is none of
/// them.
ExpressionId JsonParts::Except(const std::vector<std::u32string>& names, size_t depth) {
  Grammar& g = grammar_;
  std::vector<ExpressionId> choices;
  std::vector<CodePointRange> taken;
  size_t i = 0;
  for (; i < names.size() && names[i].size() == depth;) ++i;  // the name that ends here
  if (i == 0) choices.push_back(g.Text(""));
  while (i < names.size()) {
    const char32_t c = names[i][depth];
    std::vector<std::u32string> below;
    for (; i < names.size() && names[i][depth] == c; ++i) below.push_back(names[i]);
    taken.push_back({c, c});
    choices.push_back(g.Sequence({Spelled({{c, c}}), Except(below, depth + 1)}));
  }
  const ExpressionId rest = g.Repeat(AnySpelled(), 0, Grammar::kUnlimited);
  choices.push_back(g.Sequence({Spelled(NormalizeRanges(std::move(taken), /*negated=*/true)), rest}));
  return g.Choice(std::move(choices));
}

Grammar JsonGrammar(JsonRoot root, const JsonStyle& style) {
  Grammar grammar;
  JsonParts parts(&grammar, style);
  const ExpressionId body = root == JsonRoot::kObject ? parts.Object() : parts.Value();
  grammar.root = grammar.AddRule("root", body);
  return grammar;
}

}  // namespace edgellm::constrain
