// See normalizer.h.
#include "text/normalizer.h"

#include <algorithm>
#include <cstdint>

#include <nlohmann/json.hpp>
#include <utf8proc.h>

#include "base/utf8.h"
#include "text/component_json.h"

namespace edgellm::text {
namespace {

/// A text may grow to this many times its length plus a constant: the Unicode forms reach 18 times for single
/// characters.
constexpr size_t kMaxGrowth = 20, kMaxGrowthConstant = 1 << 16;

/// Below U+0300 a text is its own NFC, below U+00A0 its own NFKC and decompositions.
bool IsTriviallyNormal(std::string_view text, NormalForm form) {
  const uint8_t limit = form == NormalForm::kNfc ? 0xcc : 0x80;  // 0xCC opens U+0300 … U+033F
  return std::all_of(text.begin(), text.end(), [&](char c) { return static_cast<uint8_t>(c) < limit; });
}

int CombiningClass(int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

}  // namespace

std::string Normalize(std::string_view text, NormalForm form) {
  if (IsTriviallyNormal(text, form)) return std::string(text);
  const bool compatible = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  const bool compose = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  const auto options =
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0));
  std::vector<utf8proc_int32_t> points;
  points.reserve(text.size());
  while (!text.empty()) {
    const utf8::Decoded decoded = utf8::Decode(text);
    text.remove_prefix(static_cast<size_t>(decoded.length));
    utf8proc_int32_t parts[32];  // the longest decomposition has 18 parts
    int boundary = 0;
    const auto count =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(decoded.code_point), parts, 32, options, &boundary);
    EDGELLM_CHECK(count >= 0 && count <= 32, "a code point decomposes into at most 18");
    points.insert(points.end(), parts, parts + count);
  }
  // utf8proc orders combining marks by insertion, quadratic in their number; a stable sort of each run is the same
  // thing.
  for (size_t i = 0; i < points.size(); ++i) {
    if (CombiningClass(points[i]) == 0) continue;
    size_t end = i;
    while (end < points.size() && CombiningClass(points[end]) != 0) ++end;
    std::stable_sort(points.begin() + static_cast<ptrdiff_t>(i), points.begin() + static_cast<ptrdiff_t>(end),
                     [](int32_t a, int32_t b) { return CombiningClass(a) < CombiningClass(b); });
    i = end;
  }
  if (compose) {
    const auto count = utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()),
                                                static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    EDGELLM_CHECK(count >= 0, "composing cannot fail on assigned memory");
    points.resize(static_cast<size_t>(count));
  }
  std::string out;
  for (const utf8proc_int32_t point : points) utf8::Append(out, static_cast<char32_t>(point));
  return out;
}

std::string ReplaceAll(std::string_view text, std::string_view pattern, std::string_view content) {
  std::string out;
  for (size_t from = 0;;) {
    const size_t at = text.find(pattern, from);
    out.append(text.substr(from, at - from));
    if (at == std::string_view::npos) return out;
    out.append(content);
    from = at + pattern.size();
  }
}

bool IsWhiteSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

Normalizer::Normalizer(const nlohmann::json& config, std::string_view name) {
  ForEachComponent(config, "normalizers", name, [&](const std::string& type, const nlohmann::json& part) {
    if (type == "NFC") {
      steps_.emplace_back(NormalForm::kNfc);
    } else if (type == "NFD") {
      steps_.emplace_back(NormalForm::kNfd);
    } else if (type == "NFKC") {
      steps_.emplace_back(NormalForm::kNfkc);
    } else if (type == "NFKD") {
      steps_.emplace_back(NormalForm::kNfkd);
    } else if (type == "Prepend") {
      steps_.emplace_back(Prepend{StringMember(part, "prepend", name)});
    } else if (type == "Lowercase") {
      steps_.emplace_back(Lowercase{});
    } else if (type == "Strip") {
      steps_.emplace_back(
          Strip{BoolMember(part, "strip_left", true, name), BoolMember(part, "strip_right", true, name)});
    } else if (type == "Replace") {
      const auto pattern = part.find("pattern");
      if (pattern == part.end() || !pattern->is_object())
        Fail(ErrorCode::kCorrupt, "{}: Replace without pattern", name);
      std::string content = StringMember(part, "content", name);
      if (pattern->contains("Regex")) {
        steps_.emplace_back(ReplaceMatches{{StringMember(*pattern, "Regex", name), name}, std::move(content)});
      } else {
        std::string text = StringMember(*pattern, "String", name);
        if (text.empty()) Fail(ErrorCode::kCorrupt, "{}: Replace with an empty pattern", name);
        steps_.emplace_back(ReplaceText{std::move(text), std::move(content)});
      }
    } else {
      Fail(ErrorCode::kUnsupported, "{}: normalizer \"{}\" is not supported", name, type);
    }
  });
}

std::string Normalizer::Apply(std::string_view text) const {
  std::string out(text);
  for (const Step& step : steps_) {
    out = Run(step, std::move(out));
    if (out.size() > kMaxGrowth * text.size() + kMaxGrowthConstant) {
      Fail(ErrorCode::kLimit, "a normalizer swells a text of {} bytes to {}", text.size(), out.size());
    }
  }
  return out;
}

namespace {

std::string ReplaceEachMatch(const RegularExpression& pattern, std::string_view content, std::string_view text) {
  std::string out;
  RegularExpression::Search search(pattern);
  RegularExpression::Match match{};
  size_t copied = 0, from = 0;
  while (from <= text.size() && search.Next(text, from, match) == RegularExpression::Result::kMatch) {
    out.append(text.substr(copied, match.begin - copied)).append(content);
    copied = match.end;
    // After an empty match the search moves on by one character, or it would stay for ever.
    from = match.end > match.begin ? match.end : match.end + std::max(1, utf8::Decode(text.substr(match.end)).length);
  }
  return out.append(text.substr(copied));
}

std::string LowerCase(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const utf8::Decoded decoded = utf8::Decode(text);
    text.remove_prefix(static_cast<size_t>(decoded.length));
    utf8::Append(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(decoded.code_point))));
    if (decoded.code_point == 0x130) out += "\u0307";  // İ: the one letter whose lower case is always two code points
  }
  return out;
}

std::string StripWhiteSpace(std::string_view text, bool left, bool right) {
  while (left && !text.empty()) {
    const utf8::Decoded decoded = utf8::Decode(text);
    if (!IsWhiteSpace(decoded.code_point)) break;
    text.remove_prefix(static_cast<size_t>(decoded.length));
  }
  while (right && !text.empty()) {
    size_t start = text.size() - 1;
    while (start > 0 && (static_cast<uint8_t>(text[start]) & 0xc0) == 0x80) --start;
    if (!IsWhiteSpace(utf8::Decode(text.substr(start)).code_point)) break;
    text.remove_suffix(text.size() - start);
  }
  return std::string(text);
}

}  // namespace

std::string Normalizer::Run(const Step& step, std::string text) {
  struct Visitor {
    std::string text;
    std::string operator()(NormalForm form) { return Normalize(text, form); }
    std::string operator()(const Prepend& prepend) { return text.empty() ? text : prepend.text + text; }
    std::string operator()(const ReplaceText& replace) { return ReplaceAll(text, replace.pattern, replace.content); }
    std::string operator()(const ReplaceMatches& replace) {
      return ReplaceEachMatch(replace.pattern, replace.content, text);
    }
    std::string operator()(const Lowercase&) { return LowerCase(text); }
    std::string operator()(const Strip& strip) { return StripWhiteSpace(text, strip.left, strip.right); }
  };
  return std::visit(Visitor{std::move(text)}, step);
}

}  // namespace edgellm::text
