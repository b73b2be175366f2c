// How much memory this process has used, as the operating system counts it.
#pragma once

#include <cstdint>

namespace edgellm {

/// The most bytes that were resident at one time so far.
uint64_t PeakResidentBytes();

}  // namespace edgellm
