// See serve_settings.h.
#include "serve/serve_settings.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace edgellm {
namespace {

constexpr std::pair<std::string_view, double> kUnits[] = {{"ns", 1},     {"us", 1e3}, {"µs", 1e3}, {"ms", 1e6},
                                                          {"h", 3600e9}, {"m", 60e9}, {"s", 1e9}};

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// Takes a number without a sign off the front; negative where there is none.
double TakeNumber(std::string_view* text) {
  if (text->empty() || !((text->front() >= '0' && text->front() <= '9') || text->front() == '.')) return -1;
  double number = 0;
  const auto [end, failed] =
      std::from_chars(text->data(), text->data() + text->size(), number, std::chars_format::fixed);
  if (failed != std::errc()) return -1;
  text->remove_prefix(static_cast<size_t>(end - text->data()));
  return number;
}

/// 0 where there is no unit.
double TakeUnit(std::string_view* text) {
  for (const auto& [name, nanoseconds] : kUnits) {
    if (!text->starts_with(name)) continue;
    text->remove_prefix(name.size());
    return nanoseconds;
  }
  return 0;
}

}  // namespace

ListenAddress ParseListenAddress(std::string_view text, ListenAddress address) {
  const std::string_view whole = text;
  text = Trim(text);
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (text.starts_with(scheme)) text.remove_prefix(scheme.size());
  }
  while (text.ends_with('/')) text.remove_suffix(1);
  std::string_view host = text, port;
  const size_t colon = text.rfind(':');
  const bool bare_ipv6 = !text.starts_with('[') && text.find(':') != colon;
  if (colon != text.npos && !bare_ipv6 && !text.ends_with(']')) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
  }
  const bool has_port = host.size() != text.size();
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (!host.empty()) address.host = host;
  unsigned number = 0;
  const auto [end, failed] = std::from_chars(port.data(), port.data() + port.size(), number);
  const bool sound = failed == std::errc() && end == port.data() + port.size() && number <= 65535;
  if ((has_port && !sound) || address.host.find_first_of("/ []") != std::string::npos) {
    Fail(ErrorCode::kInvalidArgument, "'{}' is no address to listen on: say HOST, HOST:PORT or [IPV6]:PORT", whole);
  }
  if (has_port) address.port = static_cast<uint16_t>(number);
  return address;
}

std::chrono::nanoseconds ParseDuration(std::string_view text) {
  const std::string_view whole = text;
  const auto refuse = [&] {
    Fail(ErrorCode::kInvalidArgument, "'{}' is no duration: say 90 (seconds), 5m, 1h30m, or -1 for ever", whole);
  };
  text = Trim(text);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.empty()) refuse();
  double nanoseconds = 0;
  for (bool first = true; !text.empty(); first = false) {
    const double number = TakeNumber(&text);
    if (number < 0) refuse();
    double unit = TakeUnit(&text);
    if (unit == 0 && first && text.empty()) unit = 1e9;
    if (unit == 0) refuse();
    nanoseconds += number * unit;
  }
  if (negative) return std::chrono::nanoseconds(-1);
  constexpr double kLongest = 9e18;  // three hundred years
  return std::chrono::nanoseconds(nanoseconds > kLongest ? int64_t{9000000000000000000} : std::llround(nanoseconds));
}

std::vector<std::string> SplitList(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(','), text.size());
    const std::string_view part = Trim(text.substr(0, end));
    if (!part.empty()) parts.emplace_back(part);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

}  // namespace edgellm
