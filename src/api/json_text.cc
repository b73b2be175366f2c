// See json_text.h.
#include "api/json_text.h"

#include <charconv>
#include <cmath>

#include "base/utf8.h"

namespace edgellm::api {
namespace {

bool IsPlain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x80 && c != '"' && c != '\\';
}

void AppendEscape(std::string* out, char c) {
  switch (c) {
    case '"':
      *out += "\\\"";
      return;
    case '\\':
      *out += "\\\\";
      return;
    case '\n':
      *out += "\\n";
      return;
    case '\r':
      *out += "\\r";
      return;
    case '\t':
      *out += "\\t";
      return;
    default:
      break;
  }
  constexpr char kDigits[] = "0123456789abcdef";
  *out += "\\u00";
  *out += kDigits[static_cast<unsigned char>(c) >> 4];
  *out += kDigits[static_cast<unsigned char>(c) & 15];
}

void AppendToken(std::string* out, std::string_view bytes, float log_probability) {
  *out += "{\"token\":";
  AppendString(out, bytes);
  *out += ",\"logprob\":";
  AppendNumber(out, log_probability);
  *out += ",\"bytes\":[";
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i > 0) *out += ',';
    AppendInteger(out, static_cast<unsigned char>(bytes[i]));
  }
  *out += ']';
}

}  // namespace

void AppendString(std::string* out, std::string_view text) {
  *out += '"';
  size_t i = 0;
  while (i < text.size()) {
    size_t end = i;
    while (end < text.size() && IsPlain(text[end])) ++end;
    out->append(text, i, end - i);
    i = end;
    if (i == text.size()) break;
    if (static_cast<unsigned char>(text[i]) < 0x80) {
      AppendEscape(out, text[i++]);
      continue;
    }
    const utf8::Decoded decoded = utf8::Decode(text.substr(i));
    const auto length = static_cast<size_t>(decoded.length);
    if (decoded.state == utf8::Decoded::kWhole) {
      out->append(text, i, length);
    } else {
      *out += "\xEF\xBF\xBD";
    }
    i += length;
  }
  *out += '"';
}

void AppendInteger(std::string* out, int64_t value) {
  char digits[24];
  const auto result = std::to_chars(digits, digits + sizeof digits, value);
  out->append(digits, result.ptr);
}

void AppendNumber(std::string* out, float value) {
  if (std::isnan(value)) value = 0;
  if (std::isinf(value)) value = std::copysign(9999.0f, value);
  char digits[32];
  const auto result = std::to_chars(digits, digits + sizeof digits, value);
  out->append(digits, result.ptr);
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string Quoted(std::string_view text) {
  std::string quoted;
  AppendString(&quoted, text);
  return quoted;
}

void AppendTokens(std::string* out, std::span<const TokenFacts> tokens) {
  *out += '[';
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0) *out += ',';
    AppendToken(out, tokens[i].bytes, tokens[i].log_probability);
    *out += ",\"top_logprobs\":[";
    for (size_t j = 0; j < tokens[i].likeliest.size(); ++j) {
      if (j > 0) *out += ',';
      AppendToken(out, tokens[i].likeliest[j].bytes, tokens[i].likeliest[j].log_probability);
      *out += '}';
    }
    *out += "]}";
  }
  *out += ']';
}

Json TokensJson(std::span<const TokenFacts> tokens) {
  std::string text;
  AppendTokens(&text, tokens);
  return Json::parse(text);
}

}  // namespace edgellm::api
