// Foreign text made fit for an error text. Not a way to show text to people as it is.
#pragma once

#include <string>
#include <string_view>

namespace edgellm {

/// Text out of a file or an answer: one line, valid UTF-8, at most about 200 bytes.
std::string OneLine(std::string_view text);

}  // namespace edgellm
