// See utf8.h.
#include "base/utf8.h"

namespace edgellm::utf8 {
namespace {

/// Length and the bounds of the second byte for a leading byte; length 0 for a byte that starts nothing.
struct Lead {
  int length;
  uint8_t low = 0x80, high = 0xbf;
};

Lead ClassifyLead(uint8_t byte) {
  if (byte < 0x80) return {1};
  if (byte < 0xc2) return {0};  // continuation bytes, and overlong two-byte forms
  if (byte < 0xe0) return {2};
  if (byte == 0xe0) return {3, 0xa0, 0xbf};  // no overlong forms
  if (byte == 0xed) return {3, 0x80, 0x9f};  // no surrogates
  if (byte < 0xf0) return {3};
  if (byte == 0xf0) return {4, 0x90, 0xbf};  // no overlong forms
  if (byte < 0xf4) return {4};
  if (byte == 0xf4) return {4, 0x80, 0x8f};  // nothing past U+10FFFF
  return {0};
}

}  // namespace

Decoded Decode(std::string_view text) {
  if (text.empty()) return {0xfffd, 0, Decoded::kIncomplete};
  const uint8_t first = static_cast<uint8_t>(text[0]);
  const Lead lead = ClassifyLead(first);
  if (lead.length == 0) return {0xfffd, 1, Decoded::kBroken};
  if (lead.length == 1) return {first, 1, Decoded::kWhole};
  char32_t code_point = first & (0x7fu >> lead.length);
  for (int i = 1; i < lead.length; ++i) {
    if (static_cast<size_t>(i) == text.size()) return {0xfffd, i, Decoded::kIncomplete};
    const uint8_t byte = static_cast<uint8_t>(text[static_cast<size_t>(i)]);
    const uint8_t low = i == 1 ? lead.low : 0x80, high = i == 1 ? lead.high : 0xbf;
    if (byte < low || byte > high) return {0xfffd, i, Decoded::kBroken};
    code_point = (code_point << 6) | (byte & 0x3fu);
  }
  return {code_point, lead.length, Decoded::kWhole};
}

void Append(std::string& out, char32_t code_point) {
  if (code_point > 0x10ffff || (code_point >= 0xd800 && code_point <= 0xdfff)) code_point = 0xfffd;
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xc0 | (code_point >> 6));
    put(0x80 | (code_point & 0x3f));
  } else if (code_point < 0x10000) {
    put(0xe0 | (code_point >> 12));
    put(0x80 | ((code_point >> 6) & 0x3f));
    put(0x80 | (code_point & 0x3f));
  } else {
    put(0xf0 | (code_point >> 18));
    put(0x80 | ((code_point >> 12) & 0x3f));
    put(0x80 | ((code_point >> 6) & 0x3f));
    put(0x80 | (code_point & 0x3f));
  }
}

bool IsValid(std::string_view text) {
  while (!text.empty()) {
    const Decoded decoded = Decode(text);
    if (decoded.state != Decoded::kWhole) return false;
    text.remove_prefix(static_cast<size_t>(decoded.length));
  }
  return true;
}

size_t CompletePrefix(std::string_view text) {
  // Only the last three bytes can belong to a code point that is still being written.
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const std::string_view tail = text.substr(text.size() - back);
    const uint8_t first = static_cast<uint8_t>(tail[0]);
    if ((first & 0xc0) == 0x80) continue;
    const Decoded decoded = Decode(tail);
    const bool cut = decoded.state == Decoded::kIncomplete && static_cast<size_t>(decoded.length) == back;
    return cut ? text.size() - back : text.size();
  }
  return text.size();
}

std::string Sanitize(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Decoded decoded = Decode(text);
    Append(out, decoded.code_point);
    text.remove_prefix(static_cast<size_t>(decoded.length));
  }
  return out;
}

}  // namespace edgellm::utf8
