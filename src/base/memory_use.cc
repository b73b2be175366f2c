// See memory_use.h.
#include "base/memory_use.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <sys/resource.h>
#include <unistd.h>

namespace edgellm {
namespace {

/// A file that holds one number. "max" and what cannot be read are none.
std::optional<uint64_t> ReadNumber(const char* path) {
  std::ifstream file(path);
  uint64_t value = 0;
  if (!(file >> value)) return std::nullopt;
  return value;
}

/// The number behind `name` in a file of names and numbers; 0 where there is none.
uint64_t FindNumber(const char* path, std::string_view name) {
  std::ifstream file(path);
  std::string word;
  uint64_t value = 0;
  for (std::string rest; file >> word >> value; std::getline(file, rest)) {
    if (word == name) return value;
  }
  return 0;
}

/// Limit and use of a control group, version 2 and version 1.
struct GroupFiles {
  const char *limit, *use, *statistics, *reclaimable;
};
constexpr GroupFiles kGroups[] = {
    {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat", "inactive_file"},
    {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes",
     "/sys/fs/cgroup/memory/memory.stat", "total_inactive_file"}};

}  // namespace

uint64_t MachineMemoryBytes() {
  uint64_t bytes = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  for (const GroupFiles& group : kGroups) {
    if (const auto limit = ReadNumber(group.limit); limit.value_or(0) > 0) bytes = std::min(bytes, *limit);
  }
  return bytes;
}

uint64_t PeakResidentBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;  // Linux counts in KiB
}

uint64_t AvailableMemoryBytes() {
  uint64_t available = FindNumber("/proc/meminfo", "MemAvailable:") * 1024;
  for (const GroupFiles& group : kGroups) {
    const auto limit = ReadNumber(group.limit), use = ReadNumber(group.use);
    if (!limit || !use) continue;
    // Files that were read count as used, though nobody needs them.
    const uint64_t kept = *use - std::min(*use, FindNumber(group.statistics, group.reclaimable));
    available = std::min(available, *limit - std::min(*limit, kept));
  }
  return available;
}

uint64_t ResidentBytes() {
  std::ifstream counts("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  counts >> total >> resident;
  return counts ? resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) : 0;
}

}  // namespace edgellm
