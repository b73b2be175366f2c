// See part_name.h.
#include "base/part_name.h"

#include <charconv>

#include <fmt/format.h>

namespace edgellm {
namespace {

constexpr size_t kDigits = 5;

std::optional<int> Number(std::string_view text) {
  int value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size() || value < 1) return std::nullopt;
  return value;
}

}  // namespace

std::optional<PartName> ParsePartName(std::string_view stem) {
  constexpr size_t kEnding = std::string_view("-00001-of-00003").size();
  if (stem.size() <= kEnding) return std::nullopt;
  const std::string_view ending = stem.substr(stem.size() - kEnding);
  const std::string_view middle = ending.substr(1 + kDigits, ending.size() - 1 - 2 * kDigits);
  if (ending[0] != '-' || (middle != "-of-" && middle != "-OF-")) return std::nullopt;
  const auto number = Number(ending.substr(1, kDigits)), count = Number(ending.substr(ending.size() - kDigits));
  if (!number || !count || *number > *count) return std::nullopt;
  return PartName{std::string(stem.substr(0, stem.size() - kEnding)), *number, *count};
}

std::string PartEnding(int number, int count) {
  return fmt::format("-{:05}-of-{:05}", number, count);
}

}  // namespace edgellm
