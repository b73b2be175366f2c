// See string_format.h. RFC 3339 (date, time, duration), RFC 4122 (uuid), RFC 5321 (email: dot-string at a host name),
// RFC 1123 (hostname), RFC 2673 (ipv4), RFC 4291 (ipv6).
#include "constrain/string_format.h"

namespace edgellm::constrain {
namespace {

std::string Group(const std::string& pattern) {
  return "(?:" + pattern + ")";
}

/// Months have their lengths, and February 29 comes in leap years only; no year 0000.
std::string Date() {
  const std::string year = Group("000[1-9]|00[1-9]\\d|0[1-9]\\d\\d|[1-9]\\d{3}");
  const std::string of_31 = "(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])";
  const std::string of_30 = "(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)";
  const std::string february = "02-(?:0[1-9]|1\\d|2[0-8])";
  const std::string by_4 = "(?:0[48]|[2468][048]|[13579][26])";  // but 00
  const std::string leap_year = Group("\\d\\d" + by_4 + "|" + by_4 + "00");
  return Group(year + "-" + Group(of_31 + "|" + of_30 + "|" + february) + "|" + leap_year + "-02-29");
}

std::string Time() {
  const std::string hour_minute = "(?:[01]\\d|2[0-3]):[0-5]\\d";
  return hour_minute + ":[0-5]\\d(?:\\.\\d{1,9})?(?:Z|[+-]" + hour_minute + ")";
}

std::string Duration() {
  const std::string number = "\\d{1,6}";
  const std::string seconds = number + "S";
  const std::string minutes = number + "M(?:" + seconds + ")?";
  const std::string hours = number + "H(?:" + minutes + ")?";
  const std::string time = "T" + Group(hours + "|" + minutes + "|" + seconds);
  const std::string days = number + "D";
  const std::string months = number + "M(?:" + days + ")?";
  const std::string years = number + "Y(?:" + months + ")?";
  const std::string date = Group(years + "|" + months + "|" + days) + Group(time) + "?";
  return "P" + Group(date + "|" + time + "|" + number + "W");
}

std::string Label(int inner) {
  return "[A-Za-z0-9](?:[A-Za-z0-9-]{0," + std::to_string(inner) + "}[A-Za-z0-9])?";
}

std::string Ipv6() {
  const std::string h = "[0-9A-Fa-f]{1,4}", h_colon = Group(h + ":");
  std::string all = h_colon + "{7}" + h;
  // "::" stands for at least one group of zeros; `before` groups come before it and at most 6 - before after it.
  for (int before = 0; before <= 7; ++before) {
    const std::string left = before == 0 ? ":" : h_colon + "{" + std::to_string(before) + "}";
    const int after = 7 - before;
    std::string right;
    if (after > 0) right = Group(h_colon + "{0," + std::to_string(after - 1) + "}" + h) + "?";
    all += "|" + left + ":" + right;
  }
  return Group(all);
}

}  // namespace

std::string FormatPattern(std::string_view format) {
  const auto whole = [](const std::string& pattern) { return "^" + pattern + "$"; };
  const std::string octet = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
  if (format == "date") return whole(Date());
  if (format == "time") return whole(Time());
  if (format == "date-time") return whole(Date() + "T" + Time());
  if (format == "duration") return whole(Duration());
  if (format == "uuid") return whole("[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}");
  if (format == "email") {
    const std::string atom = "[A-Za-z0-9_+-]";
    return whole(atom + "{1,30}(?:\\." + atom + "{1,15}){0,2}@" + Label(30) + "(?:\\." + Label(30) + "){1,3}");
  }
  if (format == "hostname") return whole(Label(61) + "(?:\\." + Label(61) + "){0,2}");
  if (format == "ipv4") return whole(octet + "(?:\\." + octet + "){3}");
  if (format == "ipv6") return whole(Ipv6());
  return {};
}

}  // namespace edgellm::constrain
