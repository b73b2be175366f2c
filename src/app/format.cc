// See format.h.
#include "app/format.h"

#include <algorithm>
#include <array>
#include <ctime>

#include <fmt/format.h>

namespace edgellm::app {
namespace {

/// The value in the largest unit that leaves it at least 1: one decimal.
std::string Scaled(double value, double step, std::initializer_list<const char*> units) {
  auto unit = units.begin();
  // 999.95 would be printed as 1000.0.
  while (value >= step * 0.99995 && unit + 1 != units.end()) {
    value /= step;
    ++unit;
  }
  return unit == units.begin() ? fmt::format("{:.0f}{}", value, *unit) : fmt::format("{:.1f}{}", value, *unit);
}

}  // namespace

std::string HumanBytes(uint64_t bytes) {
  return Scaled(static_cast<double>(bytes), 1000, {" B", " kB", " MB", " GB", " TB"});
}

std::string HumanCount(uint64_t count) {
  if (count < 10'000) return std::to_string(count);
  return Scaled(static_cast<double>(count), 1000, {"", "K", "M", "B", "T"});
}

std::string HumanDuration(int64_t nanoseconds) {
  const double value = static_cast<double>(nanoseconds);
  if (nanoseconds < 1'000) return fmt::format("{}ns", nanoseconds);
  if (nanoseconds < 1'000'000) return fmt::format("{:.4g}µs", value / 1e3);
  if (nanoseconds < 1'000'000'000) return fmt::format("{:.4g}ms", value / 1e6);
  if (nanoseconds < 60'000'000'000) return fmt::format("{:.4g}s", value / 1e9);
  const int64_t minutes = nanoseconds / 60'000'000'000;
  const double seconds = static_cast<double>(nanoseconds % 60'000'000'000) / 1e9;
  if (minutes < 60) return fmt::format("{}m{:.1f}s", minutes, seconds);
  return fmt::format("{}h{}m{:.0f}s", minutes / 60, minutes % 60, seconds);
}

std::string HumanAge(int64_t then_unix_seconds, int64_t now_unix_seconds) {
  const int64_t seconds = now_unix_seconds - then_unix_seconds;
  if (seconds < 1) return "just now";
  struct Unit {
    int64_t seconds;
    const char* name;
  };
  constexpr std::array<Unit, 7> kUnits = {{{365 * 86400, "year"},
                                           {30 * 86400, "month"},
                                           {7 * 86400, "week"},
                                           {86400, "day"},
                                           {3600, "hour"},
                                           {60, "minute"},
                                           {1, "second"}}};
  for (const auto& unit : kUnits) {
    const int64_t count = seconds / unit.seconds;
    if (count >= 1) return fmt::format("{} {}{} ago", count, unit.name, count == 1 ? "" : "s");
  }
  return "just now";
}

std::string Rfc3339(int64_t unix_seconds) {
  const std::time_t time = static_cast<std::time_t>(unix_seconds);
  std::tm utc{};
  gmtime_r(&time, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                     utc.tm_hour, utc.tm_min, utc.tm_sec);
}

size_t DisplayWidth(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string Table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], DisplayWidth(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      text += row[i];
      if (i + 1 < row.size()) text.append(widths[i] - DisplayWidth(row[i]) + 4, ' ');
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

std::string Section(std::string_view title, const std::vector<std::pair<std::string, std::string>>& rows) {
  if (rows.empty()) return {};
  size_t width = 0;
  for (const auto& [name, value] : rows) width = std::max(width, DisplayWidth(name));
  std::string text = fmt::format("  {}\n", title);
  for (const auto& [name, value] : rows) {
    text += fmt::format("    {}{}{}\n", name, std::string(width - DisplayWidth(name) + 4, ' '), value);
  }
  return text + "\n";
}

}  // namespace edgellm::app
