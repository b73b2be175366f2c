// json.dumps, to the byte; and the conversion of contexts.
#include "text/jinja_json.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8.h"
#include "text/jinja_operators.h"

namespace edgellm::text::jinja {

namespace {

using Kind = Value::Kind;

Value Converted(Runtime& runtime, const nlohmann::ordered_json& json, int depth) {
  runtime.CheckDepth(depth);  // before the recursion, not only when the value is made
  runtime.Charge(1);
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::object: {
      std::vector<Dict::Entry> entries;
      for (const auto& [key, value] : json.items()) {
        entries.emplace_back(runtime.Text(utf8::Sanitize(key)), Converted(runtime, value, depth + 1));
      }
      return runtime.MakeDict(std::move(entries));
    }
    case nlohmann::ordered_json::value_t::array: {
      std::vector<Value> items;
      for (const auto& item : json) items.push_back(Converted(runtime, item, depth + 1));
      return runtime.List(std::move(items));
    }
    case nlohmann::ordered_json::value_t::string: {
      const auto& text = json.get_ref<const std::string&>();
      return runtime.Text(utf8::IsValid(text) ? text : utf8::Sanitize(text));
    }
    case nlohmann::ordered_json::value_t::boolean:
      return Value(json.get<bool>());
    case nlohmann::ordered_json::value_t::number_integer:
      return Value(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_unsigned: {
      const auto number = json.get<uint64_t>();
      const bool fits = number <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
      return fits ? Value(static_cast<int64_t>(number)) : Value(static_cast<double>(number));
    }
    case nlohmann::ordered_json::value_t::number_float:
      return Value(json.get<double>());
    default:
      return Value(None{});
  }
}

std::string FloatJson(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return FloatRepr(value);
}

class Writer {
 public:
  Writer(Runtime& runtime, const JsonStyle& style) : runtime_(runtime), style_(style) {}

  void Write(const Value& value, int level) {
    runtime_.Charge(1);
    runtime_.CheckLength(out_.size());
    switch (value.kind()) {
      case Kind::kNone:
        out_ += "null";
        return;
      case Kind::kBool:
        out_ += value.boolean() ? "true" : "false";
        return;
      case Kind::kInteger:
        out_ += std::to_string(value.integer());
        return;
      case Kind::kFloat:
        out_ += FloatJson(value.floating());
        return;
      case Kind::kString:
        WriteText(value.string());
        return;
      case Kind::kDict:
        WriteDict(value.dict(), level);
        return;
      case Kind::kSequence:
        if (value.sequence().kind == Sequence::Kind::kList || value.sequence().kind == Sequence::Kind::kTuple) {
          return WriteItems(value.sequence().items, level);
        }
        [[fallthrough]];
      default:
        Fail(ErrorCode::kInvalidArgument, "an object of type {} cannot become JSON", value.TypeName());
    }
  }

  std::string Take() { return std::move(out_); }

 private:
  void NewLine(int level) {
    if (!style_.multi_line) return;
    const size_t bytes = 1 + style_.indent.size() * static_cast<size_t>(level);
    runtime_.CheckLength(out_.size() + bytes);
    runtime_.ChargeText(bytes);
    out_ += '\n';
    for (int i = 0; i < level; ++i) out_ += style_.indent;
  }

  void WriteItems(const std::vector<Value>& items, int level) {
    out_ += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      NewLine(level + 1);
      Write(items[i], level + 1);
    }
    if (!items.empty()) NewLine(level);
    out_ += ']';
  }

  void WriteDict(const Dict& dict, int level) {
    std::vector<const Dict::Entry*> entries;
    for (const Dict::Entry& entry : dict.entries()) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(), [&](const Dict::Entry* a, const Dict::Entry* b) {
        return LessThan(runtime_, a->first, b->first);
      });
    }
    out_ += '{';
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      NewLine(level + 1);
      WriteKey(entries[i]->first);
      out_ += style_.key_separator;
      Write(entries[i]->second, level + 1);
    }
    if (!entries.empty()) NewLine(level);
    out_ += '}';
  }

  void WriteKey(const Value& key) {
    if (key.IsString()) return WriteText(key.string());
    out_ += '"';
    Write(key, 0);  // none, booleans and numbers: their spelling in quotes
    out_ += '"';
  }

  void WriteText(const std::string& text) {
    runtime_.ChargeText(text.size());
    runtime_.CheckLength(out_.size() + text.size());
    out_ += '"';
    for (size_t i = 0; i < text.size();) {
      const auto byte = static_cast<unsigned char>(text[i]);
      if (byte >= 0x80 && style_.ensure_ascii) {
        const auto decoded = utf8::Decode(std::string_view(text).substr(i));
        WriteEscaped(decoded.code_point);
        i += static_cast<size_t>(decoded.length);
        continue;
      }
      WriteByte(text[i++]);
    }
    out_ += '"';
  }

  void WriteByte(char c) {
    static constexpr std::string_view kPlain = "\"\\\n\r\t\f\b", kLetters = "\"\\nrtfb";
    const auto byte = static_cast<unsigned char>(c);
    if (const size_t found = kPlain.find(c); found != std::string_view::npos) {
      out_ += '\\';
      out_ += kLetters[found];
    } else if (byte < 0x20 || (byte == 0x7f && style_.ensure_ascii)) {
      WriteEscaped(byte);
    } else {
      out_ += c;
    }
  }

  void WriteEscaped(char32_t c) {
    if (c < 0x10000) {
      out_ += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
      return;
    }
    const auto rest = static_cast<uint32_t>(c) - 0x10000;
    out_ += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + (rest >> 10), 0xdc00 + (rest & 0x3ff));
  }

  Runtime& runtime_;
  const JsonStyle& style_;
  std::string out_;
};

}  // namespace

Value FromJson(Runtime& runtime, const nlohmann::ordered_json& json) {
  return Converted(runtime, json, 0);
}

Value ToJson(Runtime& runtime, const Value& value, const JsonStyle& style) {
  Writer writer(runtime, style);
  writer.Write(value, 0);
  return runtime.Text(writer.Take());
}

}  // namespace edgellm::text::jinja
