// Upper and lower case, titles, and the classes of characters that Python's str methods ask for.
#include <utf8proc.h>

#include "base/utf8.h"
#include "text/jinja_text.h"

namespace edgellm::text::jinja {

namespace {

utf8proc_category_t CategoryOf(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool IsCased(char32_t c) {
  const auto category = CategoryOf(c);
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT;
}

bool IsAlpha(char32_t c) {
  const auto category = CategoryOf(c);
  return IsCased(c) || category == UTF8PROC_CATEGORY_LM || category == UTF8PROC_CATEGORY_LO;
}

bool IsNumeric(char32_t c) {
  const auto category = CategoryOf(c);
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_NO;
}

bool IsAsciiLetter(char32_t c) {
  return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

void AppendUpper(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(IsAsciiLetter(c) ? c & ~char32_t{0x20} : c);
  } else if (c == 0xdf) {
    out += "SS";
  } else {
    utf8::Append(out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
  }
}

void AppendTitle(std::string& out, char32_t c) {
  if (c < 0x80) {
    AppendUpper(out, c);
  } else if (c == 0xdf) {
    out += "Ss";
  } else {
    utf8::Append(out, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))));
  }
}

void AppendLower(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(IsAsciiLetter(c) ? c | char32_t{0x20} : c);
  } else {
    utf8::Append(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
  }
}

/// Calls visit(code point) for each.
template <typename Visit>
void ForEach(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const auto decoded = static_cast<unsigned char>(text[0]) < 0x80
                             ? utf8::Decoded{static_cast<char32_t>(text[0]), 1, utf8::Decoded::kWhole}
                             : utf8::Decode(text);
    visit(decoded.code_point);
    text.remove_prefix(static_cast<size_t>(decoded.length));
  }
}

}  // namespace

std::string Upper(std::string_view text) {
  std::string out;
  ForEach(text, [&](char32_t c) { AppendUpper(out, c); });
  return out;
}

std::string Lower(std::string_view text) {
  std::string out;
  ForEach(text, [&](char32_t c) { AppendLower(out, c); });
  return out;
}

std::string Title(std::string_view text) {
  std::string out;
  bool inside = false;
  ForEach(text, [&](char32_t c) {
    inside ? AppendLower(out, c) : AppendTitle(out, c);
    inside = IsCased(c);
  });
  return out;
}

std::string TitleOfWords(std::string_view text) {
  std::string out;
  bool inside = false;
  ForEach(text, [&](char32_t c) {
    inside ? AppendLower(out, c) : AppendUpper(out, c);
    inside = !(IsSpace(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<');
  });
  return out;
}

std::string Capitalize(std::string_view text) {
  std::string out;
  bool first = true;
  ForEach(text, [&](char32_t c) {
    first ? AppendTitle(out, c) : AppendLower(out, c);
    first = false;
  });
  return out;
}

bool AllOf(std::string_view text, Class wanted) {
  bool all = true, any_cased = false;
  ForEach(text, [&](char32_t c) {
    const auto category = CategoryOf(c);
    any_cased = any_cased || IsCased(c);
    switch (wanted) {
      case Class::kAlpha:
        all = all && IsAlpha(c);
        break;
      case Class::kDigit:
        all = all && category == UTF8PROC_CATEGORY_ND;
        break;
      case Class::kAlphanumeric:
        all = all && (IsAlpha(c) || IsNumeric(c));
        break;
      case Class::kSpace:
        all = all && IsSpace(c);
        break;
      case Class::kUpper:
        all = all && category != UTF8PROC_CATEGORY_LL && category != UTF8PROC_CATEGORY_LT;
        break;
      case Class::kLower:
        all = all && category != UTF8PROC_CATEGORY_LU && category != UTF8PROC_CATEGORY_LT;
        break;
    }
  });
  const bool needs_case = wanted == Class::kUpper || wanted == Class::kLower;
  return all && !text.empty() && (any_cased || !needs_case);
}

size_t WordCount(std::string_view text) {
  size_t count = 0;
  bool inside = false;
  ForEach(text, [&](char32_t c) {
    const bool belongs = c == '_' || IsAlpha(c) || IsNumeric(c);
    count += belongs && !inside;
    inside = belongs;
  });
  return count;
}

}  // namespace edgellm::text::jinja
