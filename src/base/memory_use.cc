// See memory_use.h.
#include "base/memory_use.h"

#include <fstream>
#include <sys/resource.h>
#include <unistd.h>

namespace edgellm {

uint64_t PeakResidentBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;  // Linux counts in KiB
}

uint64_t ResidentBytes() {
  std::ifstream counts("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  counts >> total >> resident;
  return counts ? resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) : 0;
}

}  // namespace edgellm
