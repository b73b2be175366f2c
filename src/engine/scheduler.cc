// See scheduler.h.
#include "engine/scheduler.h"

#include <algorithm>

#include "plan/batch.h"

namespace edgellm {
namespace {

constexpr int kPage = kPageTokens;

/// Positions that `count` tokens after `computed` look at, each at itself and all before it.
int64_t Attended(int64_t computed, int64_t count) {
  return count * computed + count * (count + 1) / 2;
}

/// Pages that the running ones will take for what they know already, and for their next token.
int64_t Outstanding(std::span<const RunningView> running) {
  int64_t pages = 0;
  for (const RunningView& view : running) {
    const int missing = view.tokens + 1 - view.computed - view.room;
    if (missing > 0) pages += (missing + kPage - 1) / kPage;
  }
  return pages;
}

int LastWithPages(std::span<const RunningView> running) {
  auto last = static_cast<int>(running.size()) - 1;
  while (last > 0 && running[static_cast<size_t>(last)].pages == 0) --last;
  return last;
}

/// Grows a batch sequence by sequence.
class Composer {
 public:
  Composer(std::span<const RunningView> running, const Capacity& capacity, const StepCosts& costs,
           const SchedulingRules& rules, Composition* out)
      : running_(running),
        costs_(costs),
        rules_(rules),
        pages_(capacity.pages),
        tokens_(capacity.tokens),
        spare_rows_(capacity.spare_rows),
        out_(*out) {}

  /// False when an answer finds no page.
  bool AddDecodes() {
    for (size_t i = 0; i < running_.size(); ++i) {
      const RunningView& view = running_[i];
      if (!view.decodes() || view.waits) continue;
      if (view.room == 0 && pages_ == 0) return false;
      Take(i, 1);
      ++load_.decode;
      load_.attended += Attended(view.computed, 1);
      paced_ = paced_ || view.paced;
    }
    return true;
  }

  void AddPrefills() {
    const double pace = costs_.Seconds(load_) * rules_.stretch;
    const double limit = paced_ ? std::min(pace, rules_.longest_step) : rules_.longest_step;
    const int least = paced_ ? rules_.least_slice : rules_.least_batch;
    for (size_t i = 0; i < running_.size(); ++i) {
      const RunningView& view = running_[i];
      if (view.decodes() || view.waits) continue;
      const int missing = view.tokens - view.computed;
      int possible = std::min({missing, tokens_, view.room + pages_ * kPage});
      if (view.scored) possible = std::min(possible, spare_rows_ + 1);
      const int count = std::max(Within(view, possible, limit), std::min(possible, least - load_.prefill));
      if (count <= 0) continue;
      Take(i, count);
      load_.prefill += count;
      load_.prompt_attended += Attended(view.computed, count);
      if (view.scored) spare_rows_ -= count - 1;
    }
  }

 private:
  /// The most of `possible` tokens with which the forward stays within `limit`.
  int Within(const RunningView& view, int possible, double limit) const {
    int fits = 0, fails = possible + 1;
    while (fails - fits > 1) {
      const int middle = fits + (fails - fits) / 2;
      StepLoad load = load_;
      load.prefill += middle;
      load.prompt_attended += Attended(view.computed, middle);
      (costs_.Seconds(load) <= limit ? fits : fails) = middle;
    }
    return fits;
  }

  void Take(size_t index, int count) {
    const RunningView& view = running_[index];
    out_.shares.push_back({static_cast<int>(index), count});
    tokens_ -= count;
    pages_ -= std::max(0, (count - view.room + kPage - 1) / kPage);
  }

  std::span<const RunningView> running_;
  const StepCosts& costs_;
  const SchedulingRules& rules_;
  int pages_, tokens_, spare_rows_;
  Composition& out_;
  StepLoad load_;
  bool paced_ = false;
};

}  // namespace

int64_t DeadlineOf(int64_t submitted, double wanted, double reading, const SchedulingRules& rules) {
  const auto most = static_cast<double>(rules.most_patience);
  const double own = static_cast<double>(rules.patience) + rules.patience_factor * reading * 1e9;
  return submitted + static_cast<int64_t>(std::min(wanted > 0 ? wanted * 1e9 : own, most));
}

int LevelOf(Priority priority, int64_t waited, const SchedulingRules& rules) {
  return static_cast<int>(std::max<int64_t>(0, static_cast<int64_t>(priority) - waited / rules.aging));
}

Admission NextAdmission(std::span<const WaitingView> waiting, std::span<const RunningView> running,
                        const Capacity& capacity) {
  const auto by_rank = [](const auto& a, const auto& b) { return a.rank < b.rank; };
  const auto first = std::min_element(waiting.begin(), waiting.end(), by_rank);
  if (first == waiting.end()) return {};
  const bool place = static_cast<int>(running.size()) < capacity.places;
  if (running.empty() || (place && first->pages + Outstanding(running) <= capacity.pages)) {
    return {.admit = static_cast<int>(first - waiting.begin())};
  }
  const auto last = std::max_element(running.begin(), running.end(), by_rank);
  if (last->rank.level <= first->rank.level) return {};
  return {.preempt = static_cast<int>(last - running.begin())};
}

void Compose(std::span<const RunningView> running, const Capacity& capacity, const StepCosts& costs,
             const SchedulingRules& rules, Composition* composition) {
  composition->shares.clear();
  composition->preempt = -1;
  Composer composer(running, capacity, costs, rules, composition);
  if (composer.AddDecodes()) {
    composer.AddPrefills();
    if (!composition->shares.empty() || running.size() < 2) return;
  }
  composition->shares.clear();
  composition->preempt = LastWithPages(running);
}

}  // namespace edgellm
