// See one_line.h.
#include "base/one_line.h"

#include "base/utf8.h"

namespace edgellm {

std::string OneLine(std::string_view text) {
  constexpr size_t kMost = 200;
  std::string line = utf8::Sanitize(text.substr(0, utf8::CompletePrefix(text.substr(0, kMost))));
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return text.size() > kMost ? line + "..." : line;
}

}  // namespace edgellm
