// See progress_bar.h.
#include "app/progress_bar.h"

#include <algorithm>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "app/format.h"
#include "app/terminal.h"

namespace edgellm::app {
namespace {

constexpr double kQuietSeconds = 1.0;                   // what ends sooner needs no bar
constexpr std::chrono::milliseconds kRedrawEvery{100};  // faster than the eye reads, slow enough to cost nothing
constexpr const char* kWipeLine = "\r\x1b[K";

int TerminalColumns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

ProgressBar::ProgressBar(Unit unit) : unit_(unit), terminal_(ErrorIsTerminal()) {}

ProgressBar::~ProgressBar() {
  if (drawn_) WriteDiagnostic(kWipeLine);
}

Progress ProgressBar::callback() {
  return [this](std::string_view activity, uint64_t done, uint64_t total) { Update(activity, done, total); };
}

void ProgressBar::Update(std::string_view activity, uint64_t done, uint64_t total) {
  CheckInterrupt();
  if (!terminal_ || total == 0) return;
  const auto now = Clock::now();
  if (activity != activity_) {
    activity_ = activity;
    started_ = now;
    begun_at_ = done;
  }
  const double seconds = std::chrono::duration<double>(now - started_).count();
  if (seconds < kQuietSeconds || now - last_drawn_ < kRedrawEvery) return;
  last_drawn_ = now;
  Draw(std::min(done, total), total, seconds);
}

void ProgressBar::Draw(uint64_t done, uint64_t total, double seconds) {
  const double share = static_cast<double>(done) / static_cast<double>(total);
  const double rate = static_cast<double>(done - std::min(done, begun_at_)) / seconds;  // not of what was done before
  std::string tail;
  if (unit_ == Unit::kBytes) {
    tail = fmt::format("| {}/{}  {}/s", HumanBytes(done), HumanBytes(total), HumanBytes(static_cast<uint64_t>(rate)));
  } else {
    tail = fmt::format("| {}/{}  {}/s", HumanCount(done), HumanCount(total), HumanCount(static_cast<uint64_t>(rate)));
  }
  if (rate > 0) {
    const auto left = static_cast<int64_t>(static_cast<double>(total - done) / rate);
    tail += left < 60 ? fmt::format("  {}s", left) : fmt::format("  {}m{}s", left / 60, left % 60);
  }
  const std::string head = fmt::format("{} {:3.0f}% |", activity_, share * 100);
  const int room = TerminalColumns() - 1 - static_cast<int>(DisplayWidth(head) + DisplayWidth(tail));
  std::string bar(static_cast<size_t>(std::clamp(room, 0, 40)), ' ');
  std::fill_n(bar.begin(), static_cast<size_t>(share * static_cast<double>(bar.size())), '#');
  WriteDiagnostic(kWipeLine + head + bar + tail);
  drawn_ = true;
}

}  // namespace edgellm::app
