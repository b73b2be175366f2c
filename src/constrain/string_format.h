// The formats of JSON schemas that are enforced, as patterns (string_pattern.h): what is produced is valid, though not
// every valid string can be produced (names have bounded lengths).
#pragma once

#include <string>
#include <string_view>

namespace edgellm::constrain {

/// The pattern of date, time, date-time, duration, uuid, email, hostname, ipv4, ipv6; empty for any other.
std::string FormatPattern(std::string_view format);

}  // namespace edgellm::constrain
