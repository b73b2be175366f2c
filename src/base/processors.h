// Which processors work should be spread over: those that this process may use, one of each core's hardware threads,
// and the fast ones where a chip has fast and slow cores (ARM's big.LITTLE).
#pragma once

#include <filesystem>
#include <span>
#include <vector>

namespace edgellm {

struct ProcessorChoice {
  std::vector<int> order;  // all that are allowed, those to be used first
  int recommended = 0;     // how many of them work should be spread over
};

/// From this process's affinity mask and the kernel's description of the machine.
ProcessorChoice ChooseProcessors();

/// `allowed`: processor numbers. `description`: a folder like /sys/devices/system/cpu, of which
/// cpuN/topology/thread_siblings_list and cpuN/cpu_capacity are read; what is not there counts as a core of its own, as
/// fast as any. All parts of a step take as long as its slowest worker, so cores of less than half the greatest
/// capacity are left out.
ProcessorChoice ChooseProcessors(std::span<const int> allowed, const std::filesystem::path& description);

}  // namespace edgellm
