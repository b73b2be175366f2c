// The text of a template with its name: turns offsets into lines and columns, and causes into error texts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace edgellm::text::jinja {

class Source {
 public:
  /// Normalises line ends to "\n" and drops one at the end, as jinja2 does. Throws Error: kCorrupt (not UTF-8), kLimit.
  Source(std::string_view name, std::string_view text);

  const std::string& text() const { return text_; }
  const std::string& name() const { return name_; }

  /// An Error whose text is "name:line:column: cause", on one line however the cause is written.
  Error ErrorAt(ErrorCode code, uint32_t offset, std::string_view cause) const;

 private:
  std::string name_, text_;
};

}  // namespace edgellm::text::jinja
