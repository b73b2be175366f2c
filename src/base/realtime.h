// Asks the system to let nothing delay this process: its memory stays in memory, its threads run before others'.
#pragma once

#include <string>
#include <vector>

namespace edgellm {

/// Locks all memory, present and future, and gives the calling thread, and so every thread that it starts from now on,
/// the lowest real-time priority (SCHED_FIFO). Returns what was refused, a line each, with what would allow it. Threads
/// of this kind take a processor from everything else while they run: leave one free.
std::vector<std::string> EnterRealtime();

}  // namespace edgellm
