// A progress bar on standard error, drawn only on a terminal and only for work that has taken a second:
//   quantising 42% |########          | 1.2 GB/2.0 GB  35 MB/s  22s
// It also is where long work notices Ctrl-C: its callback throws Interrupted.
#pragma once

#include <chrono>
#include <string>

#include "base/progress.h"

namespace edgellm::app {

class ProgressBar {
 public:
  enum class Unit { kBytes, kCount };  // what `done` and `total` count

  explicit ProgressBar(Unit unit);
  ~ProgressBar();  // wipes the bar
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// To be handed to the work; must not outlive this object.
  Progress callback();

 private:
  using Clock = std::chrono::steady_clock;

  void Update(std::string_view activity, uint64_t done, uint64_t total);
  void Draw(uint64_t done, uint64_t total, double seconds);

  Unit unit_;
  bool terminal_;
  bool drawn_ = false;
  std::string activity_;
  uint64_t begun_at_ = 0;  // what was done when the activity began: a resumed one does not begin at 0
  Clock::time_point started_, last_drawn_;
};

}  // namespace edgellm::app
