// The clock that durations are measured with. No clock that tells the time of day.
#pragma once

#include <chrono>
#include <cstdint>

namespace edgellm {

/// Nanoseconds since some moment; never goes back.
inline int64_t SteadyNow() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace edgellm
