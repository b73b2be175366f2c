// Line ends, positions and error texts.
#include "text/jinja_source.h"

#include <algorithm>

#include "base/utf8.h"

namespace edgellm::text::jinja {

namespace {

constexpr size_t kMostSourceBytes = 1u << 20;  // a hundred times the longest template seen
constexpr size_t kMostCauseBytes = 1000;       // a template may raise an exception with any text

std::string NormaliseLineEnds(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\r') {
      out += text[i];
    } else if (i + 1 == text.size() || text[i + 1] != '\n') {
      out += '\n';
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

std::string OneLine(std::string_view cause) {
  const bool cut = cause.size() > kMostCauseBytes;
  if (cut) cause = cause.substr(0, kMostCauseBytes);
  std::string line(cause.substr(0, utf8::CompletePrefix(cause)));
  std::replace_if(
      line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return cut ? line + " …" : line;
}

}  // namespace

Source::Source(std::string_view name, std::string_view text) : name_(OneLine(name)) {
  if (text.size() > kMostSourceBytes) Fail(ErrorCode::kLimit, "{}: longer than {} bytes", name_, kMostSourceBytes);
  if (!utf8::IsValid(text)) Fail(ErrorCode::kCorrupt, "{}: not valid UTF-8", name_);
  text_ = NormaliseLineEnds(text);
}

Error Source::ErrorAt(ErrorCode code, uint32_t offset, std::string_view cause) const {
  const std::string_view before = std::string_view(text_).substr(0, offset);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  const auto is_start = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; };
  const auto column = 1 + std::count_if(before.begin() + static_cast<ptrdiff_t>(line_start), before.end(), is_start);
  return Error(code, fmt::format("{}:{}:{}: {}", name_, line, column, OneLine(cause)));
}

}  // namespace edgellm::text::jinja
