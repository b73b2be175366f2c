// How much memory this process has used, and how much it may still use, as the operating system counts it.
#pragma once

#include <cstdint>

namespace edgellm {

/// The most bytes that were resident at one time so far.
uint64_t PeakResidentBytes();
/// Bytes that are resident now; 0 where the system does not tell.
uint64_t ResidentBytes();

/// What the machine has, or the container where that is less.
uint64_t MachineMemoryBytes();

/// What can be used without pushing anything out: what Linux calls available, within the limits of control groups. 0
/// where the system does not tell.
uint64_t AvailableMemoryBytes();

}  // namespace edgellm
