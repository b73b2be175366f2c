// See token_decoder.h.
#include "text/token_decoder.h"

#include <charconv>

#include <nlohmann/json.hpp>

#include "text/component_json.h"
#include "text/normalizer.h"

namespace edgellm::text {

int ByteOfSpelling(std::string_view spelling) {
  if (spelling.size() != 6 || !spelling.starts_with("<0x") || spelling.back() != '>') return -1;
  unsigned byte = 0;
  const char* end = spelling.data() + 5;
  const auto [stop, error] = std::from_chars(spelling.data() + 3, end, byte, 16);
  return error == std::errc() && stop == end ? static_cast<int>(byte) : -1;
}

TokenDecoder::TokenDecoder(const nlohmann::json& config, std::string_view name) {
  ForEachComponent(config, "decoders", name, [&](const std::string& type, const nlohmann::json& part) {
    if (type == "ByteLevel") {
      byte_level_ = true;
    } else if (type == "ByteFallback") {
      byte_fallback_ = true;
    } else if (type == "Fuse") {
      // Tokens are joined in any case.
    } else if (type == "Metaspace") {
      replacements_.emplace_back(StringMember(part, "replacement", name), " ");
      const bool prepends = part.contains("prepend_scheme") ? StringMember(part, "prepend_scheme", name) != "never"
                                                            : BoolMember(part, "add_prefix_space", true, name);
      strips_leading_space_ = strips_leading_space_ || prepends;
    } else if (type == "Replace") {
      const auto pattern = part.find("pattern");
      if (pattern == part.end() || !pattern->is_object())
        Fail(ErrorCode::kCorrupt, "{}: Replace without pattern", name);
      if (!pattern->contains("String")) Fail(ErrorCode::kUnsupported, "{}: a decoder that replaces by Regex", name);
      replacements_.emplace_back(StringMember(*pattern, "String", name), StringMember(part, "content", name));
    } else if (type == "Strip") {
      const auto number = [&](const char* key) {
        const auto found = part.find(key);
        return found != part.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
      };
      if (number("stop") != 0 || number("start") > 1 || StringMember(part, "content", name) != " ") {
        Fail(ErrorCode::kUnsupported, "{}: a Strip decoder that takes more than one leading space", name);
      }
      strips_leading_space_ = strips_leading_space_ || number("start") == 1;
    } else {
      Fail(ErrorCode::kUnsupported, "{}: decoder \"{}\" is not supported", name, type);
    }
  });
  for (const auto& [pattern, content] : replacements_) {
    if (pattern.empty()) Fail(ErrorCode::kCorrupt, "{}: a decoder replaces an empty text", name);
  }
}

std::string TokenDecoder::Decode(std::string_view spelling) const {
  if (byte_fallback_) {
    if (const int byte = ByteOfSpelling(spelling); byte >= 0) return std::string(1, static_cast<char>(byte));
  }
  std::string text(spelling);
  for (const auto& [pattern, content] : replacements_) {
    text = ReplaceAll(text, pattern, content);
    if (text.size() > 64 * spelling.size() + 4096) Fail(ErrorCode::kLimit, "a decoder swells a token beyond use");
  }
  return text;
}

}  // namespace edgellm::text
