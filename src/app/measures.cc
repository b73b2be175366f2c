// See measures.h.
#include "app/measures.h"

#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/format.h"
#include "base/memory_use.h"
#include "base/worker_pool.h"

namespace edgellm::app {

std::string MachineName() {
  std::ifstream info("/proc/cpuinfo");
  std::string line, name = "unknown processor";
  while (std::getline(info, line)) {
    // x86 names its model; ARM kernels give numbers only, and boards a "Model" line at the end.
    if (!line.starts_with("model name") && !line.starts_with("Model")) continue;
    name = line.substr(line.find(':') + 1);
    name.erase(0, name.find_first_not_of(' '));
    break;
  }
  return fmt::format("{}, {} core(s), {}", name, UsableProcessors(), HumanBytes(MachineMemoryBytes()));
}

nlohmann::ordered_json SpreadJson(const Spread& spread) {
  return {{"min", spread.min}, {"median", spread.median}, {"max", spread.max}};
}

std::string SpreadText(const Spread& spread) {
  return fmt::format("{:.2f} ({:.2f} to {:.2f})", spread.median, spread.min, spread.max);
}

}  // namespace edgellm::app
