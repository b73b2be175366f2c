// See added_tokens.h.
#include "text/added_tokens.h"

#include <utf8proc.h>

#include "base/error.h"
#include "base/utf8.h"
#include "text/normalizer.h"

namespace edgellm::text {
namespace {

/// The last code point of a text that is not empty.
utf8::Decoded DecodeLast(std::string_view text) {
  size_t start = text.size() - 1;
  while (start > 0 && (static_cast<uint8_t>(text[start]) & 0xc0) == 0x80) --start;
  return utf8::Decode(text.substr(start));
}

bool IsWordCharacter(char32_t code_point) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code_point))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

bool StandsAlone(std::string_view text, size_t begin, size_t end) {
  return (begin == 0 || !IsWordCharacter(DecodeLast(text.substr(0, begin)).code_point)) &&
         (end == text.size() || !IsWordCharacter(utf8::Decode(text.substr(end)).code_point));
}

}  // namespace

int32_t TokenMatcher::Child(int32_t node, uint8_t byte) const {
  int32_t child = nodes_[static_cast<size_t>(node)].first_child;
  while (child >= 0 && nodes_[static_cast<size_t>(child)].byte != byte)
    child = nodes_[static_cast<size_t>(child)].sibling;
  return child;
}

void TokenMatcher::Add(std::string_view spelling, const AddedToken& token) {
  EDGELLM_CHECK(!spelling.empty(), "empty spellings are refused where they are read");
  int32_t& root = roots_[static_cast<uint8_t>(spelling[0])];
  if (root == 0) {
    nodes_.emplace_back();
    root = static_cast<int32_t>(nodes_.size());
  }
  int32_t node = root - 1;
  for (const char c : spelling.substr(1)) {
    const auto byte = static_cast<uint8_t>(c);
    int32_t child = Child(node, byte);
    if (child < 0) {
      child = static_cast<int32_t>(nodes_.size());
      nodes_.push_back({-1, nodes_[static_cast<size_t>(node)].first_child, -1, byte});
      nodes_[static_cast<size_t>(node)].first_child = child;
    }
    node = child;
  }
  if (nodes_[static_cast<size_t>(node)].rule >= 0) return;
  nodes_[static_cast<size_t>(node)].rule = static_cast<int32_t>(rules_.size());
  rules_.push_back({token.id, token.special, token.single_word, token.lstrip, token.rstrip});
}

std::optional<TokenMatcher::Found> TokenMatcher::Next(std::string_view text, size_t from, bool special) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    int32_t node = roots_[static_cast<uint8_t>(text[begin])] - 1;
    const Rule* longest = nullptr;
    size_t end = begin;
    for (size_t at = begin + 1; node >= 0; ++at) {
      const int32_t rule_index = nodes_[static_cast<size_t>(node)].rule;
      if (rule_index >= 0) {
        const Rule& rule = rules_[static_cast<size_t>(rule_index)];
        if ((special || !rule.special) && (!rule.single_word || StandsAlone(text, begin, at))) {
          longest = &rule;
          end = at;
        }
      }
      if (at >= text.size()) break;
      node = Child(node, static_cast<uint8_t>(text[at]));
    }
    if (longest == nullptr) continue;
    size_t start = begin;
    while (longest->lstrip && start > from) {
      const utf8::Decoded last = DecodeLast(text.substr(0, start));
      if (!IsWhiteSpace(last.code_point)) break;
      start -= static_cast<size_t>(last.length);
    }
    while (longest->rstrip && end < text.size()) {
      const utf8::Decoded first = utf8::Decode(text.substr(end));
      if (!IsWhiteSpace(first.code_point)) break;
      end += static_cast<size_t>(first.length);
    }
    return Found{start, end, longest->id};
  }
  return std::nullopt;
}

}  // namespace edgellm::text
