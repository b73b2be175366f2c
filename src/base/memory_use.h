// How much memory this process has used, as the operating system counts it.
#pragma once

#include <cstdint>

namespace edgellm {

/// The most bytes that were resident at one time so far.
uint64_t PeakResidentBytes();
/// Bytes that are resident now; 0 where the system does not tell.
uint64_t ResidentBytes();

}  // namespace edgellm
