// The schedule as a pure function: who is admitted, who gives way, what the next batch is. No engine.
#include "engine/scheduler.h"

#include <algorithm>
#include <map>
#include <random>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "plan/batch.h"

namespace edgellm {
namespace {

constexpr StepCosts kCosts = {.fixed = 0.020, .decode = 0.001, .prefill = 0.001, .attend = 0};

RunningView View(int order, int tokens, int computed) {
  RunningView view;
  view.rank = {.level = 1, .deadline = 0, .order = order};
  view.tokens = tokens;
  view.computed = computed;
  view.pages = (computed + kPageTokens - 1) / kPageTokens;
  view.room = view.pages * kPageTokens - computed;
  return view;
}

Composition Composed(const std::vector<RunningView>& running, const Capacity& capacity,
                     const StepCosts& costs = kCosts) {
  Composition composition;
  Compose(running, capacity, costs, {}, &composition);
  return composition;
}

TEST(Scheduler, AnswersGoFirstThenPromptsInOrder) {
  const auto c = Composed({View(1, 100, 0), View(2, 10, 9), View(3, 50, 20), View(4, 8, 7)},
                          {.places = 4, .pages = 100, .tokens = 40}, {});
  ASSERT_EQ(c.shares.size(), 3u);
  EXPECT_EQ(c.shares[0].index, 1);
  EXPECT_EQ(c.shares[1].index, 3);
  EXPECT_EQ(c.shares[2].index, 0);
  EXPECT_EQ(c.shares[2].count, 38);
}

TEST(Scheduler, ASliceBesideAnswersTakesTheirTimeIntoAccount) {
  // One answer takes 21 ms; with the usual stretch of 1.3 there are 6.3 ms for the prompt.
  auto c = Composed({View(1, 10, 9), View(2, 8000, 0)}, {.places = 2, .pages = 1000, .tokens = 512});
  ASSERT_EQ(c.shares.size(), 2u);
  EXPECT_EQ(c.shares[1].count, 6);
  // Nobody watches the answer: a full batch.
  auto batch = View(1, 10, 9);
  batch.paced = false;
  c = Composed({batch, View(2, 8000, 0)}, {.places = 2, .pages = 1000, .tokens = 512});
  EXPECT_EQ(c.shares[1].count, 511);
  // Nothing else runs.
  c = Composed({View(2, 8000, 0)}, {.places = 2, .pages = 1000, .tokens = 512});
  EXPECT_EQ(c.shares[0].count, 512);
}

TEST(Scheduler, LateTokensOfALongPromptCostMore) {
  const StepCosts costs = {.fixed = 0.020, .decode = 0.001, .prefill = 0.0005, .attend = 0, .prompt_attend = 0.001};
  const auto slice = [&](int computed) {
    return Composed({View(1, 10, 9), View(2, 9000, computed)}, {.places = 2, .pages = 1000, .tokens = 512}, costs)
        .shares[1]
        .count;
  };
  EXPECT_GT(slice(0), slice(1000));
  EXPECT_GT(slice(1000), slice(8000));
  EXPECT_GE(slice(8000), SchedulingRules().least_slice);
}

TEST(Scheduler, ASlowMachineReadsPromptsInShortForwards) {
  const StepCosts slow = {.fixed = 0.1, .decode = 0.05, .prefill = 0.02, .attend = 0};
  const auto c = Composed({View(1, 8000, 0)}, {.places = 2, .pages = 1000, .tokens = 512}, slow);
  EXPECT_EQ(c.shares[0].count, 45);  // one second
}

TEST(Scheduler, WhoWaitsForAnotherTakesNothing) {
  auto waits = View(2, 100, 0);
  waits.waits = true;
  const auto c = Composed({View(1, 100, 0), waits}, {.places = 2, .pages = 1000, .tokens = 512});
  ASSERT_EQ(c.shares.size(), 1u);
  EXPECT_EQ(c.shares[0].index, 0);
}

TEST(Scheduler, ShortPromptsPassLongOnesForABoundedTime) {
  const SchedulingRules rules;
  const double one = 0.001;
  EXPECT_LT(DeadlineOf(1'000'000'000, 0, 50 * one, rules), DeadlineOf(0, 0, 8000 * one, rules));
  EXPECT_GT(DeadlineOf(40'000'000'000, 0, 50 * one, rules), DeadlineOf(0, 0, 8000 * one, rules));
  EXPECT_EQ(DeadlineOf(5, 0, 1e9, rules), 5 + rules.most_patience);
  EXPECT_EQ(DeadlineOf(5, 2.5, 1e9, rules), 5 + 2'500'000'000);
}

TEST(Scheduler, WaitingLiftsByOneClassAtATime) {
  const SchedulingRules rules;
  EXPECT_EQ(LevelOf(Priority::kBatch, 0, rules), 2);
  EXPECT_EQ(LevelOf(Priority::kBatch, rules.aging, rules), 1);
  EXPECT_EQ(LevelOf(Priority::kBatch, 50 * rules.aging, rules), 0);
  EXPECT_EQ(LevelOf(Priority::kInteractive, 50 * rules.aging, rules), 0);
}

Rank SomeRank(int order) {
  return {.level = *rc::gen::inRange(0, 3), .deadline = *rc::gen::inRange<int64_t>(0, 5), .order = order};
}

RC_GTEST_PROP(Scheduler, TheFirstInRankIsAdmittedAndOnlyLowerLevelsGiveWay, ()) {
  std::vector<WaitingView> waiting;
  std::vector<RunningView> running;
  const int places = *rc::gen::inRange(1, 8);
  for (int i = *rc::gen::inRange(0, 6); i > 0; --i) waiting.push_back({SomeRank(i), *rc::gen::inRange(1, 20)});
  for (int i = *rc::gen::inRange(0, places + 1); i > 0; --i) {
    const int tokens = *rc::gen::inRange(1, 100);
    running.push_back(View(0, tokens, *rc::gen::inRange(0, tokens)));
    running.back().rank = SomeRank(100 + i);
  }
  const int pages = *rc::gen::inRange(0, 40);
  const Admission move = NextAdmission(waiting, running, {.places = places, .pages = pages, .tokens = 0});
  RC_ASSERT(move.admit < 0 || move.preempt < 0);
  const auto by_rank = [](const auto& a, const auto& b) { return a.rank < b.rank; };
  if (move.admit >= 0) {
    RC_ASSERT(static_cast<int>(running.size()) < places);
    const WaitingView& admitted = waiting[static_cast<size_t>(move.admit)];
    RC_ASSERT(std::none_of(waiting.begin(), waiting.end(), [&](const auto& w) { return w.rank < admitted.rank; }));
    RC_ASSERT(running.empty() || admitted.pages <= pages);
  }
  if (move.preempt >= 0) {
    const RunningView& victim = running[static_cast<size_t>(move.preempt)];
    RC_ASSERT(std::none_of(running.begin(), running.end(), [&](const auto& r) { return victim.rank < r.rank; }));
    const auto first = std::min_element(waiting.begin(), waiting.end(), by_rank);
    RC_ASSERT(first->rank.level < victim.rank.level);
  }
  if (running.empty() && !waiting.empty()) RC_ASSERT(move.admit >= 0);
}

RC_GTEST_PROP(Scheduler, EveryAnswerGoesOnAndNoLimitIsBroken, ()) {
  std::vector<RunningView> running;
  const int count = *rc::gen::inRange(1, 12);
  for (int i = 0; i < count; ++i) {
    const int tokens = *rc::gen::inRange(1, 300);
    const int missing = *rc::gen::element(1, 1, 5, 1000);
    running.push_back(View(i, tokens, std::max(0, tokens - missing)));
    running.back().paced = *rc::gen::arbitrary<bool>();
    running.back().waits = !running.back().decodes() && *rc::gen::inRange(0, 4) == 0 && i > 0;
  }
  const Capacity capacity = {.places = count,
                             .pages = count == 1 ? 1000 : *rc::gen::element(0, 1, 3, 10, 1000),  // one always fits
                             .tokens = *rc::gen::inRange(count, 200)};
  const SchedulingRules rules;
  const Composition c = Composed(running, capacity);
  std::map<int, int> shares;
  int tokens = 0, pages = 0;
  StepLoad answers, all;
  bool paced = false;
  for (const Share& share : c.shares) {
    const RunningView& view = running[static_cast<size_t>(share.index)];
    RC_ASSERT(share.count > 0 && shares.count(share.index) == 0u && !view.waits);
    RC_ASSERT(share.count <= view.tokens - view.computed);
    shares[share.index] = share.count;
    tokens += share.count;
    pages += std::max(0, (share.count - view.room + kPageTokens - 1) / kPageTokens);
    (view.decodes() ? all.decode : all.prefill) += share.count;
    paced = paced || (view.decodes() && view.paced);
  }
  answers.decode = all.decode;
  RC_ASSERT(tokens <= capacity.tokens && pages <= capacity.pages);
  if (c.preempt >= 0) {
    // The last that has something to give, and only where a page is missing.
    RC_ASSERT(c.shares.empty() && count > 1);
    for (int i = c.preempt + 1; i < count; ++i) RC_ASSERT(running[static_cast<size_t>(i)].pages == 0);
    return;
  }
  for (int i = 0; i < count; ++i) {
    if (running[static_cast<size_t>(i)].decodes()) RC_ASSERT(shares.count(i) == 1u);
  }
  const double limit = paced ? kCosts.Seconds(answers) * rules.stretch : rules.longest_step;
  RC_ASSERT(kCosts.Seconds(all) <= limit + 1e-9 || all.prefill <= (paced ? rules.least_slice : rules.least_batch));
  // Prompts in order: who gets less than it lacks leaves nothing that the next could have had.
  RC_ASSERT(!c.shares.empty() || std::all_of(running.begin(), running.end(), [](const auto& v) { return v.waits; }));
}

/// A queue in which new requests of the highest class arrive all the time, faster than they can be served.
void FloodAndSeeEverybodyServed(uint32_t seed) {
  const SchedulingRules rules;
  std::mt19937 random(seed);
  struct Job {
    Priority priority;
    int64_t submitted, started = -1;
    Rank rank;
    int left = 0;
  };
  std::vector<Job> jobs;
  constexpr int kPlaces = 4;
  constexpr int64_t kTick = 100'000'000;
  std::vector<size_t> queue, running;
  const auto submit = [&](Priority priority, int64_t now) {
    Job job{.priority = priority, .submitted = now, .rank = {}};
    job.left = 1 + static_cast<int>(random() % 6);
    job.rank = {.level = 0,
                .deadline = DeadlineOf(now, priority == Priority::kInteractive ? 0.01 : 0, 0.5, rules),
                .order = static_cast<int64_t>(jobs.size())};
    queue.push_back(jobs.size());
    jobs.push_back(job);
  };
  for (int64_t tick = 0; tick < 2400; ++tick) {
    const int64_t now = tick * kTick;
    submit(Priority::kInteractive, now);
    if (tick % 3 == 0) submit(Priority::kInteractive, now);
    if (tick % 200 == 0) submit(Priority::kBatch, now);
    if (tick % 150 == 0) submit(Priority::kNormal, now);
    for (;;) {
      std::vector<WaitingView> waiting;
      std::vector<RunningView> views;
      for (const size_t j : queue) {
        Rank rank = jobs[j].rank;
        rank.level = LevelOf(jobs[j].priority, now - jobs[j].submitted, rules);
        waiting.push_back({rank, 1});
      }
      for (const size_t j : running) {
        views.push_back(View(0, 10, 9));
        views.back().rank = jobs[j].rank;
      }
      const Admission move = NextAdmission(waiting, views, {.places = kPlaces, .pages = 1000, .tokens = 0});
      if (move.admit >= 0) {
        const size_t j = queue[static_cast<size_t>(move.admit)];
        jobs[j].rank = waiting[static_cast<size_t>(move.admit)].rank;
        jobs[j].started = now;
        running.push_back(j);
        queue.erase(queue.begin() + move.admit);
      } else if (move.preempt >= 0) {
        queue.push_back(running[static_cast<size_t>(move.preempt)]);
        running.erase(running.begin() + move.preempt);
      } else {
        break;
      }
    }
    std::erase_if(running, [&](size_t j) { return --jobs[j].left == 0; });
  }
  // In line after two lifts, and then behind what came in the time that deadlines may be ahead.
  const int64_t bound = 2 * rules.aging + rules.most_patience + 100 * kTick;
  for (const Job& job : jobs) {
    if (job.priority == Priority::kInteractive) continue;
    EXPECT_TRUE(job.started >= 0 || job.submitted + bound >= 2400 * kTick);
    EXPECT_LE(job.started - job.submitted, bound);
  }
}

TEST(Scheduler, NobodyStarves) {
  for (uint32_t seed = 0; seed < 6; ++seed) FloodAndSeeEverybodyServed(seed);
}

}  // namespace
}  // namespace edgellm
