// Filters that make text or single values: case, trimming, replacing, tojson, numbers, default.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <utility>

#include "base/error.h"
#include "text/jinja_arguments.h"
#include "text/jinja_format.h"
#include "text/jinja_json.h"
#include "text/jinja_text.h"

namespace edgellm::text::jinja {

namespace {

template <std::string (*kChange)(std::string_view)>
Value Change(Runtime& runtime, const Value& self, const BoundArguments&) {
  const std::string text = ToText(runtime, self);
  runtime.ChargeCharacters(text.size());
  return runtime.Text(kChange(text));
}

Value Trim(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const std::string text = ToText(runtime, self);
  runtime.ChargeCharacters(text.size());
  if (!Given(arguments[0])) return runtime.Text(std::string(Strip(text, Side::kBoth)));
  return runtime.Text(std::string(Strip(text, Side::kBoth, NeedText(*arguments[0], "the characters to trim"))));
}

Value AsString(Runtime& runtime, const Value& self, const BoundArguments&) {
  return self.IsString() ? self : runtime.Text(ToText(runtime, self));
}

Value Replace(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const Value text = self.IsString() ? self : runtime.Text(ToText(runtime, self));
  const Builtin* method = FindMethod(text, "replace");
  Arguments forwarded;
  for (const size_t i : {0u, 1u}) forwarded.positional.push_back(runtime.Text(ToText(runtime, *arguments[i])));
  if (Given(arguments[2])) forwarded.positional.push_back(*arguments[2]);
  return CallBuiltin(runtime, *method, text, forwarded);
}

Value Escape(Runtime& runtime, const Value& self, const BoundArguments&) {
  std::string out;
  for (const char c : ToText(runtime, self)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return runtime.Text(std::move(out));
}

Value Default(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const bool replace = self.IsUndefined() || (TruthOr(arguments[1], false) && !Truth(self));
  if (!replace) return self;
  return arguments[0] != nullptr ? *arguments[0] : runtime.Text("");
}

Value ToJsonFilter(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  JsonStyle style;
  style.ensure_ascii = TruthOr(arguments[0], false);
  if (Given(arguments[1])) {
    style.multi_line = true;
    style.item_separator = ",";
    if (arguments[1]->IsString()) {
      style.indent = arguments[1]->string();
    } else {
      const int64_t width = NeedInteger(*arguments[1], "tojson's indent");
      runtime.CheckLength(static_cast<size_t>(std::max<int64_t>(width, 0)));
      style.indent.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
    }
  }
  if (Given(arguments[2])) {
    const auto separators = ItemsOf(runtime, *arguments[2]);
    if (separators->items.size() != 2) Fail(ErrorCode::kInvalidArgument, "tojson needs two separators");
    style.item_separator = NeedText(separators->items[0], "a separator");
    style.key_separator = NeedText(separators->items[1], "a separator");
  }
  style.sort_keys = TruthOr(arguments[3], false);
  runtime.ChargeText(style.indent.size() + style.item_separator.size() + style.key_separator.size());
  return ToJson(runtime, self, style);
}

/// Reads all of a text as Python's int(text, base) does.
std::optional<int64_t> ParseInteger(std::string_view text, int64_t base) {
  text = Strip(text, Side::kBoth);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  const auto prefixed = [&](char letter) { return text.size() > 2 && text[0] == '0' && (text[1] | 0x20) == letter; };
  for (const auto& [letter, meaning] : {std::pair{'x', 16}, {'o', 8}, {'b', 2}}) {
    if (!prefixed(letter) || (base != meaning && base != 0)) continue;
    base = meaning;
    text.remove_prefix(2);
    break;
  }
  if (base == 0) base = 10;
  if (base < 2 || base > 36 || text.empty() || text[0] == '-') return std::nullopt;
  uint64_t magnitude = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), magnitude, static_cast<int>(base));
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (magnitude > static_cast<uint64_t>(INT64_MAX))
    Fail(ErrorCode::kInvalidArgument, "an integer does not fit in 64 bits");
  return negative ? -static_cast<int64_t>(magnitude) : static_cast<int64_t>(magnitude);
}

std::optional<double> ParseFloat(std::string_view text) {
  text = Strip(text, Side::kBoth);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || text[0] == '-' || text[0] == '+' || text.find('(') != std::string_view::npos) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) value = std::strtod(std::string(text).c_str(), nullptr);
  return negative ? -value : value;
}

int64_t Truncated(double value) {
  if (!(std::abs(value) < 9.2e18)) Fail(ErrorCode::kInvalidArgument, "a float does not fit in an int of 64 bits");
  return static_cast<int64_t>(value);
}

Value Int(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  if (self.IsUndefined()) FailUndefined(self.undefined());
  const Value otherwise = arguments[0] != nullptr ? *arguments[0] : Value(int64_t{0});
  if (self.IsIntegral()) return Value(self.integer());
  if (self.Is(Value::Kind::kFloat)) return std::isnan(self.floating()) ? otherwise : Value(Truncated(self.floating()));
  if (!self.IsString()) return otherwise;
  runtime.ChargeText(self.string().size());
  if (const auto whole = ParseInteger(self.string(), IntegerOr(arguments[1], 10, "the base"))) return Value(*whole);
  const auto number = ParseFloat(self.string());
  return number && std::isfinite(*number) ? Value(Truncated(*number)) : otherwise;
}

Value Float(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  if (self.IsUndefined()) FailUndefined(self.undefined());
  if (self.IsNumber()) return Value(self.number());
  const Value otherwise = arguments[0] != nullptr ? *arguments[0] : Value(0.0);
  if (!self.IsString()) return otherwise;
  runtime.ChargeText(self.string().size());
  const auto number = ParseFloat(self.string());
  return number ? Value(*number) : otherwise;
}

Value Abs(Runtime&, const Value& self, const BoundArguments&) {
  if (self.IsUndefined()) FailUndefined(self.undefined());
  if (self.IsIntegral()) return self.integer() < 0 ? Negative(self) : Positive(self);
  if (!self.IsNumber()) Fail(ErrorCode::kInvalidArgument, "{} has no absolute value", self.TypeWithArticle());
  return Value(std::abs(self.floating()));
}

Value Round(Runtime&, const Value& self, const BoundArguments& arguments) {
  if (self.IsUndefined()) FailUndefined(self.undefined());
  if (!self.IsNumber()) Fail(ErrorCode::kInvalidArgument, "{} cannot be rounded", self.TypeWithArticle());
  const int64_t precision = IntegerOr(arguments[0], 0, "the precision");
  const std::string method = arguments[1] == nullptr ? "common" : NeedText(*arguments[1], "the method");
  if (precision < -300 || precision > 300) Fail(ErrorCode::kInvalidArgument, "rounding to {} digits", precision);
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (method == "ceil") return Value(std::ceil(self.number() * scale) / scale);
  if (method == "floor") return Value(std::floor(self.number() * scale) / scale);
  if (method != "common") Fail(ErrorCode::kInvalidArgument, "rounding is common, ceil or floor");
  if (self.IsIntegral() && precision >= 0) return Positive(self);
  if (self.IsIntegral()) return Value(Truncated(std::nearbyint(self.number() * scale) / scale));
  if (!std::isfinite(self.floating()) || precision > 17) return self;
  if (precision < 0) return Value(std::nearbyint(self.number() * scale) / scale);
  // Printing rounds the exact binary value, as Python's round does; scaling would round twice.
  return Value(std::strtod(fmt::format("{:.{}f}", self.floating(), precision).c_str(), nullptr));
}

Value Indent(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  std::string margin;
  if (arguments[0] != nullptr && arguments[0]->IsString()) {
    margin = arguments[0]->string();
  } else {
    const int64_t width = std::max<int64_t>(IntegerOr(arguments[0], 4, "the width"), 0);
    runtime.CheckLength(static_cast<size_t>(width));
    margin.assign(static_cast<size_t>(width), ' ');
  }
  const bool first = TruthOr(arguments[1], false), blank = TruthOr(arguments[2], false);
  // jinja2 adds a line end and splits into lines: an empty last line is one that the text's own end leaves.
  const std::string text = NeedText(self, "what is indented") + "\n";
  std::string out;
  bool is_first = true;
  for (const std::string_view line : SplitLines(text, false)) {
    if (!is_first) out += '\n';
    if ((is_first && first) || (!is_first && (blank || !line.empty()))) out += margin;
    runtime.Charge(1 + margin.size() / 128);
    runtime.CheckLength(out.size() + line.size());
    out += line;
    is_first = false;
  }
  return runtime.Text(std::move(out));
}

Value Truncate(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const std::string text = self.IsUndefined() ? "" : NeedText(self, "what is truncated");
  runtime.ChargeText(text.size());
  const int64_t length = IntegerOr(arguments[0], 255, "the length");
  const std::string end = TextOr(runtime, arguments[2], "...");
  const int64_t leeway = IntegerOr(arguments[3], 5, "the leeway");
  const auto end_length = static_cast<int64_t>(CodePointCount(end));
  if (length < end_length || leeway < 0 || leeway > INT32_MAX || length > INT32_MAX) {
    Fail(ErrorCode::kInvalidArgument, "truncate needs a length of at least {} and a leeway of at least 0", end_length);
  }
  if (static_cast<int64_t>(CodePointCount(text)) <= length + leeway) return runtime.Text(text);
  std::string kept = text.substr(0, ByteOffset(text, static_cast<size_t>(length - end_length)));
  if (!TruthOr(arguments[1], false)) kept = kept.substr(0, kept.rfind(' '));
  return runtime.Text(kept + end);
}

Value Center(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  Arguments forwarded;
  forwarded.positional.push_back(arguments[0] != nullptr ? *arguments[0] : Value(int64_t{80}));
  const Value text = runtime.Text(ToText(runtime, self));
  return CallBuiltin(runtime, *FindMethod(text, "center"), text, forwarded);
}

Value WordCountFilter(Runtime& runtime, const Value& self, const BoundArguments&) {
  const std::string text = ToText(runtime, self);
  runtime.ChargeCharacters(text.size());
  return Value(static_cast<int64_t>(WordCount(text)));
}

Value Format(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const std::string format = ToText(runtime, self);
  if (arguments.all->keyword.empty()) {
    return FormatPercent(runtime, format, runtime.MakeSequence(Sequence::Kind::kTuple, arguments.all->positional));
  }
  if (!arguments.all->positional.empty())
    Fail(ErrorCode::kInvalidArgument, "format takes values by place or by name, not both");
  std::vector<Dict::Entry> entries;
  for (const auto& [name, value] : arguments.all->keyword) entries.emplace_back(runtime.Text(std::string(name)), value);
  return FormatPercent(runtime, format, runtime.MakeDict(std::move(entries)));
}

constexpr std::array<Builtin, 23> kFilters = {{
    {"upper", Change<Upper>},
    {"lower", Change<Lower>},
    {"title", Change<TitleOfWords>},
    {"capitalize", Change<Capitalize>},
    {"trim", Trim, "chars"},
    {"string", AsString},
    {"safe", AsString},
    {"replace", Replace, "old! new! count"},
    {"escape", Escape},
    {"e", Escape},
    {"forceescape", Escape},
    {"default", Default, "default_value boolean"},
    {"d", Default, "default_value boolean"},
    {"tojson", ToJsonFilter, "ensure_ascii indent separators sort_keys"},
    {"int", Int, "default base"},
    {"float", Float, "default"},
    {"abs", Abs},
    {"round", Round, "precision method"},
    {"indent", Indent, "width first blank"},
    {"truncate", Truncate, "length killwords end leeway"},
    {"center", Center, "width"},
    {"wordcount", WordCountFilter},
    {"format", Format, "*"},
}};

}  // namespace

std::span<const Builtin> TextFilters() {
  return kFilters;
}

}  // namespace edgellm::text::jinja
