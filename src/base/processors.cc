// See processors.h.
#include "base/processors.h"

#include <algorithm>
#include <fstream>
#include <sched.h>
#include <set>
#include <string>

namespace edgellm {
namespace {

constexpr int kFullCapacity = 1024;  // the kernel's scale: the fastest core of the machine

std::string FirstLine(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

int CapacityOf(const std::filesystem::path& processor) {
  const std::string line = FirstLine(processor / "cpu_capacity");
  const int capacity = std::atoi(line.c_str());
  return capacity > 0 ? capacity : kFullCapacity;
}

std::vector<int> AllowedProcessors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> processors;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int i = 0; i < CPU_SETSIZE; ++i) {
      if (CPU_ISSET(i, &set)) processors.push_back(i);
    }
  }
  if (processors.empty()) processors.push_back(0);
  return processors;
}

}  // namespace

ProcessorChoice ChooseProcessors() {
  return ChooseProcessors(AllowedProcessors(), "/sys/devices/system/cpu");
}

ProcessorChoice ChooseProcessors(std::span<const int> allowed, const std::filesystem::path& description) {
  const auto folder = [&](int processor) { return description / ("cpu" + std::to_string(processor)); };
  int greatest = 0;
  for (const int processor : allowed) greatest = std::max(greatest, CapacityOf(folder(processor)));
  ProcessorChoice choice;
  std::vector<int> others;
  std::set<std::string> cores;
  for (const int processor : allowed) {
    const std::string siblings = FirstLine(folder(processor) / "topology" / "thread_siblings_list");
    const bool is_first = siblings.empty() || cores.insert(siblings).second;
    const bool is_fast = CapacityOf(folder(processor)) * 2 >= greatest;
    (is_first && is_fast ? choice.order : others).push_back(processor);
  }
  choice.recommended = static_cast<int>(choice.order.size());
  choice.order.insert(choice.order.end(), others.begin(), others.end());
  return choice;
}

}  // namespace edgellm
