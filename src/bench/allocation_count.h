// Counts the program's allocations, to show that the decode loop makes none.
#pragma once

#include <cstdint>

namespace edgellm {

/// Calls of operator new in this process so far, by all threads. Linking this in replaces the global operators. 0 in builds
/// with sanitizers, which bring operators of their own.
uint64_t AllocationCount();

}  // namespace edgellm
