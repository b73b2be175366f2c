// Numbers and tables for people: bytes, durations and ages as Ollama prints them. Pure text, no terminal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace edgellm::app {

/// "812 B", "1.2 kB", "2.0 GB": powers of 1000.
std::string HumanBytes(uint64_t bytes);
/// "135.1M", "8.0B".
std::string HumanCount(uint64_t count);
/// "350.2µs", "12.35ms", "4.21s", "2m5.03s".
std::string HumanDuration(int64_t nanoseconds);
/// "2 hours ago".
std::string HumanAge(int64_t then_unix_seconds, int64_t now_unix_seconds);
/// "2026-10-31T12:00:00Z".
std::string Rfc3339(int64_t unix_seconds);

/// Columns padded to their widest cell and divided by four spaces; no trailing spaces; a line each, with a newline.
std::string Table(const std::vector<std::vector<std::string>>& rows);

/// "  Title\n    name    value\n …\n\n", as `show` prints its sections; empty for no rows.
std::string Section(std::string_view title, const std::vector<std::pair<std::string, std::string>>& rows);

/// How many columns a terminal needs for the text: code points, which is right for all but wide scripts.
size_t DisplayWidth(std::string_view text);

}  // namespace edgellm::app
