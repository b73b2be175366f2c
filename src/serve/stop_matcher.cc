// See stop_matcher.h.
#include "serve/stop_matcher.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"

namespace edgellm {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const auto& stop : stops_) {
    if (stop.empty()) Fail(ErrorCode::kInvalidArgument, "a stop string must not be empty");
    // Text is cut where a stop string begins: only a well-formed one begins where a character does.
    if (!utf8::IsValid(stop)) Fail(ErrorCode::kInvalidArgument, "a stop string must be UTF-8");
  }
}

std::string StopMatcher::Push(std::string_view piece) {
  if (matched_) return {};
  held_ += piece;
  size_t first_end = std::string::npos;
  const std::string* first = nullptr;
  for (const auto& stop : stops_) {
    const size_t begin = held_.find(stop);
    if (begin == std::string::npos) continue;
    const size_t end = begin + stop.size();
    if (end > first_end || (end == first_end && stop.size() <= first->size())) continue;
    first_end = end;
    first = &stop;
  }
  if (first != nullptr) {
    matched_ = true;
    stop_ = *first;
    return std::exchange(held_, {}).substr(0, first_end - stop_.size());
  }
  size_t kept = 0;
  for (const auto& stop : stops_) {
    size_t length = std::min(stop.size() - 1, held_.size());
    while (length > kept && !held_.ends_with(std::string_view(stop).substr(0, length))) --length;
    kept = std::max(kept, length);
  }
  std::string certain = held_.substr(0, held_.size() - kept);
  held_.erase(0, certain.size());
  return certain;
}

std::string StopMatcher::Finish() {
  return matched_ ? std::string() : std::exchange(held_, {});
}

}  // namespace edgellm
