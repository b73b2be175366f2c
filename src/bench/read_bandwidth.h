// How fast this machine reads memory: the yardstick that decoding is held to. Measured, never looked up, and in the
// same run as what is compared with it, because shared machines drift.
#pragma once

#include <cstddef>

#include "bench/percentiles.h"

namespace edgellm {

/// GB/s (10^9 bytes) at which `threads` pinned threads together read `bytes` of memory once from end to end, each its
/// part; over `passes` passes. `bytes` should be many times the last cache. Memory is on huge pages where the system
/// gives them.
Spread MeasureReadBandwidth(int threads, size_t bytes, int passes);

}  // namespace edgellm
