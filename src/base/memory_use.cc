// See memory_use.h.
#include "base/memory_use.h"

#include <sys/resource.h>

namespace edgellm {

uint64_t PeakResidentBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;  // Linux counts in KiB
}

}  // namespace edgellm
