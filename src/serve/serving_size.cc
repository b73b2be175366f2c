// See serving_size.h.
#include "serve/serving_size.h"

#include <algorithm>
#include <limits>

namespace edgellm {
namespace {

constexpr int kCpuPlaces = 8;
constexpr int kDevicePlaces = 64;
constexpr int64_t kLeastPages = 256 / kPageTokens;  // for each place
constexpr int64_t kLeastSequences = 2;              // at their longest: one that runs, and what an earlier one has left

}  // namespace

ServingSize ChooseServingSize(int asked, const ServingRoom& room) {
  const int64_t longest = (room.context + kPageTokens - 1) / kPageTokens;
  int64_t affordable = std::numeric_limits<int32_t>::max() / 2;
  if (room.free_bytes > 0 && room.page_bytes > 0) {
    const uint64_t share = room.device ? room.free_bytes / 2 : room.free_bytes / 4;
    affordable = static_cast<int64_t>(std::min<uint64_t>(share / room.page_bytes, static_cast<uint64_t>(affordable)));
  }
  const int64_t usual = room.device ? kDevicePlaces : kCpuPlaces;
  const int64_t least = std::min(longest, kLeastPages);
  const int64_t parallel =
      asked > 0 ? asked : std::clamp<int64_t>(std::max(affordable, longest) / std::max<int64_t>(least, 1), 1, usual);
  const int64_t wanted = std::max(kLeastSequences, (parallel + 3) / 4) * longest;
  const int64_t pages = std::max(longest, std::min(wanted, affordable));
  return {static_cast<int>(parallel), static_cast<int>(pages)};
}

}  // namespace edgellm
