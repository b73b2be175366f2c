// str() and repr() as Python has them.
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "base/error.h"
#include "text/jinja_operators.h"

namespace edgellm::text::jinja {

namespace {

using Kind = Value::Kind;

void AppendQuoted(std::string& out, const std::string& text) {
  const bool has_single = text.find('\'') != std::string::npos, has_double = text.find('"') != std::string::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  out += quote;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const auto byte = static_cast<unsigned char>(c);
    if (c == quote || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  out += quote;
}

void AppendItems(Runtime& runtime, std::string& out, const std::vector<Value>& items) {
  const char* separator = "";
  for (const Value& item : items) {
    out += separator;
    separator = ", ";
    AppendRepr(runtime, out, item);
  }
}

void AppendSequence(Runtime& runtime, std::string& out, const Sequence& sequence) {
  const auto& items = sequence.items;
  switch (sequence.kind) {
    case Sequence::Kind::kTuple:
      out += '(';
      AppendItems(runtime, out, items);
      out += items.size() == 1 ? ",)" : ")";
      return;
    case Sequence::Kind::kRange: {
      const int64_t first = items.empty() ? 0 : items.front().integer();
      const int64_t step = items.size() < 2 ? 1 : items[1].integer() - first;
      int64_t stop = 0;
      if (!items.empty() && __builtin_add_overflow(items.back().integer(), step, &stop)) {
        stop = step > 0 ? INT64_MAX : INT64_MIN;
      }
      out +=
          step == 1 ? fmt::format("range({}, {})", first, stop) : fmt::format("range({}, {}, {})", first, stop, step);
      return;
    }
    case Sequence::Kind::kItems:
    case Sequence::Kind::kKeys:
    case Sequence::Kind::kValues:
      out += sequence.kind == Sequence::Kind::kItems  ? "dict_items(["
             : sequence.kind == Sequence::Kind::kKeys ? "dict_keys(["
                                                      : "dict_values([";
      AppendItems(runtime, out, items);
      out += "])";
      return;
    case Sequence::Kind::kList:
    case Sequence::Kind::kGenerator:  // Python would print an address
      out += '[';
      AppendItems(runtime, out, items);
      out += ']';
      return;
  }
}

void AppendDict(Runtime& runtime, std::string& out, const Dict& dict) {
  out += '{';
  const char* separator = "";
  for (const auto& [key, value] : dict.entries()) {
    out += separator;
    separator = ", ";
    AppendRepr(runtime, out, key);
    out += ": ";
    AppendRepr(runtime, out, value);
  }
  out += '}';
}

}  // namespace

std::string FloatRepr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const std::string_view text(buffer, static_cast<size_t>(end - buffer));
  const size_t e = text.find('e');
  const int exponent = std::atoi(std::string(text.substr(e + 1)).c_str());
  std::string digits;
  for (const char c : text.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  std::string out = text[0] == '-' ? "-" : "";
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {  // where Python turns to exponents
    out += digits.substr(0, 1);
    if (count > 1) out += "." + digits.substr(1);
    return out + fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0) return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) return out + digits + std::string(whole - digits.size(), '0') + ".0";
  return out + digits.substr(0, whole) + "." + digits.substr(whole);
}

void AppendText(Runtime& runtime, std::string& out, const Value& value) {
  if (value.IsString()) {
    runtime.ChargeText(value.string().size());
    runtime.CheckLength(out.size() + value.string().size());
    out += value.string();
  } else if (!value.IsUndefined()) {
    AppendRepr(runtime, out, value);
  }
}

void AppendRepr(Runtime& runtime, std::string& out, const Value& value) {
  runtime.Charge(1);
  runtime.CheckLength(out.size());
  switch (value.kind()) {
    case Kind::kUndefined:
      out += "Undefined";
      return;
    case Kind::kNone:
      out += "None";
      return;
    case Kind::kBool:
      out += value.boolean() ? "True" : "False";
      return;
    case Kind::kInteger:
      out += std::to_string(value.integer());
      return;
    case Kind::kFloat:
      out += FloatRepr(value.floating());
      return;
    case Kind::kString:
      runtime.ChargeText(value.string().size());
      AppendQuoted(out, value.string());
      return;
    case Kind::kSequence:
      AppendSequence(runtime, out, value.sequence());
      return;
    case Kind::kDict:
      AppendDict(runtime, out, value.dict());
      return;
    case Kind::kObject:
      out += fmt::format("<{}>", value.object().TypeName());
      return;
  }
}

std::string ToText(Runtime& runtime, const Value& value) {
  std::string out;
  AppendText(runtime, out, value);
  return out;
}

}  // namespace edgellm::text::jinja
