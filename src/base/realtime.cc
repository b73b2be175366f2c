// See realtime.h.
#include "base/realtime.h"

#include <cerrno>
#include <cstring>
#include <sched.h>
#include <sys/mman.h>

namespace edgellm {

std::vector<std::string> EnterRealtime() {
  std::vector<std::string> refused;
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
    refused.push_back(std::string("memory could not be locked (") + std::strerror(errno) +
                      "): raise `ulimit -l`, or grant CAP_IPC_LOCK");
  }
  const sched_param priority{.sched_priority = sched_get_priority_min(SCHED_FIFO)};
  if (sched_setscheduler(0, SCHED_FIFO, &priority) != 0) {
    refused.push_back(std::string("no real-time priority (") + std::strerror(errno) +
                      "): raise `ulimit -r`, or grant CAP_SYS_NICE");
  }
  return refused;
}

}  // namespace edgellm
