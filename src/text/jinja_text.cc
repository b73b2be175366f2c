// Code points, searching, stripping and splitting. Case stands in jinja_case.cc.
#include "text/jinja_text.h"

#include <algorithm>
#include <cstring>

#include "base/utf8.h"

namespace edgellm::text::jinja {

namespace {

bool StartsCodePoint(char c) {
  return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
}

/// Length in bytes of the code point that ends the text.
size_t LastLength(std::string_view text) {
  size_t length = 1;
  while (length < text.size() && !StartsCodePoint(text[text.size() - length])) ++length;
  return length;
}

}  // namespace

size_t CodePointCount(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), StartsCodePoint));
}

std::vector<std::string_view> CodePoints(std::string_view text) {
  std::vector<std::string_view> parts;
  parts.reserve(CodePointCount(text));
  for (size_t begin = 0; begin < text.size();) {
    size_t end = begin + 1;
    while (end < text.size() && !StartsCodePoint(text[end])) ++end;
    parts.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return parts;
}

size_t ByteOffset(std::string_view text, size_t code_point) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (StartsCodePoint(text[i]) && code_point-- == 0) return i;
  }
  return text.size();
}

size_t Find(std::string_view text, std::string_view wanted, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (wanted.empty()) return from;
  if (wanted.size() == 1) return text.find(wanted[0], from);
  const void* found = memmem(text.data() + from, text.size() - from, wanted.data(), wanted.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

size_t FindLast(std::string_view text, std::string_view wanted) {
  // Searching the reversed texts forwards keeps the search linear.
  const std::string text_reversed(text.rbegin(), text.rend()), wanted_reversed(wanted.rbegin(), wanted.rend());
  const size_t found = Find(text_reversed, wanted_reversed);
  return found == std::string_view::npos ? found : text.size() - found - wanted.size();
}

size_t CountOf(std::string_view text, std::string_view wanted) {
  if (wanted.empty()) return CodePointCount(text) + 1;
  size_t count = 0;
  for (size_t at = Find(text, wanted); at != std::string_view::npos; at = Find(text, wanted, at + wanted.size()))
    ++count;
  return count;
}

bool IsSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

std::string_view Strip(std::string_view text, Side side, std::optional<std::string_view> characters) {
  std::vector<std::string_view> wanted;
  if (characters) {
    wanted = CodePoints(*characters);
    std::sort(wanted.begin(), wanted.end());
  }
  const auto goes = [&](std::string_view code_point) {
    if (!characters) {
      const auto first = static_cast<unsigned char>(code_point[0]);
      return first < 0x80 ? IsSpace(first) : IsSpace(utf8::Decode(code_point).code_point);
    }
    return std::binary_search(wanted.begin(), wanted.end(), code_point);
  };
  while (side != Side::kRight && !text.empty()) {
    size_t length = 1;
    while (length < text.size() && !StartsCodePoint(text[length])) ++length;
    if (!goes(text.substr(0, length))) break;
    text.remove_prefix(length);
  }
  while (side != Side::kLeft && !text.empty()) {
    const size_t length = LastLength(text);
    if (!goes(text.substr(text.size() - length))) break;
    text.remove_suffix(length);
  }
  return text;
}

std::vector<std::string_view> SplitAtSpace(std::string_view text, int64_t most, bool from_right) {
  std::vector<std::string_view> parts;
  if (from_right) {
    for (text = Strip(text, Side::kRight); !text.empty(); text = Strip(text, Side::kRight)) {
      if (most >= 0 && static_cast<int64_t>(parts.size()) == most) {
        parts.push_back(text);
        break;
      }
      size_t begin = text.size();
      while (begin > 0) {
        const size_t length = LastLength(text.substr(0, begin));
        if (IsSpace(utf8::Decode(text.substr(begin - length)).code_point)) break;
        begin -= length;
      }
      parts.push_back(text.substr(begin));
      text = text.substr(0, begin);
    }
    std::reverse(parts.begin(), parts.end());
    return parts;
  }
  for (text = Strip(text, Side::kLeft); !text.empty(); text = Strip(text, Side::kLeft)) {
    if (most >= 0 && static_cast<int64_t>(parts.size()) == most) {
      parts.push_back(text);
      break;
    }
    size_t end = 0;
    while (end < text.size()) {
      const auto decoded = utf8::Decode(text.substr(end));
      if (IsSpace(decoded.code_point)) break;
      end += static_cast<size_t>(decoded.length);
    }
    parts.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return parts;
}

std::vector<std::string_view> SplitAt(std::string_view text, std::string_view separator, int64_t most,
                                      bool from_right) {
  // From the right, the cuts are those of the reversed texts.
  std::string reversed, separator_reversed;
  std::string_view haystack = text, needle = separator;
  if (from_right) {
    reversed.assign(text.rbegin(), text.rend());
    separator_reversed.assign(separator.rbegin(), separator.rend());
    haystack = reversed;
    needle = separator_reversed;
  }
  std::vector<std::string_view> parts;
  size_t begin = 0;
  while (most < 0 || static_cast<int64_t>(parts.size()) < most) {
    const size_t end = Find(haystack, needle, begin);
    if (end == std::string_view::npos) break;
    parts.push_back(from_right ? text.substr(text.size() - end, end - begin) : text.substr(begin, end - begin));
    begin = end + needle.size();
  }
  parts.push_back(from_right ? text.substr(0, text.size() - begin) : text.substr(begin));
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const auto decoded = utf8::Decode(text.substr(i));
    const char32_t c = decoded.code_point;
    size_t next = i + static_cast<size_t>(decoded.length);
    const bool ends = (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (ends) {
      if (c == '\r' && next < text.size() && text[next] == '\n') ++next;
      lines.push_back(text.substr(begin, (keep_ends ? next : i) - begin));
      begin = next;
    }
    i = next;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

}  // namespace edgellm::text::jinja
