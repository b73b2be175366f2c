// Random days at the engine (engine_model.h), and the order of service.
#include <map>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/engine/engine_model.h"

namespace edgellm {
namespace {

RC_GTEST_PROP(EngineProperty, AnswersDoNotDependOnCompanyAndNothingLeaks, ()) {  // 100 times
  RandomDay day(*rc::gen::arbitrary<uint32_t>());
  day.Run(120);
  RC_CLASSIFY(day.preemptions > 0, "preempted");
  RC_CLASSIFY(day.shared > 0, "shared");
}

RC_GTEST_PROP(EngineProperty, WithinAClassTheEarliestDeadlineIsServedFirst, ()) {
  EngineOptions options{.context = 64, .max_sequences = *rc::gen::inRange(1, 4), .batch_tokens = 32};
  options.rules.aging = int64_t{1} << 60;
  Bench b(options);
  struct Told {
    int64_t submitted, deadline;
    Priority priority;
  };
  std::map<RequestId, Told> told;
  std::map<RequestId, RequestStatistics> statistics;
  const auto step = [&] {
    for (const Event& event : b.Step()) {
      if (event.finish != FinishReason::kNone) statistics[event.request] = b.engine->Statistics(event.request);
    }
  };
  for (int i = 0; i < 25; ++i) {
    Request request = Ask(Iota(*rc::gen::inRange(1, 30), i), *rc::gen::inRange(1, 6));
    request.deadline = *rc::gen::inRange(1, 50);
    request.priority = *rc::gen::element(Priority::kInteractive, Priority::kNormal);
    const RequestId id = b.engine->Submit(request);
    told[id] = {b.now, b.now + static_cast<int64_t>(request.deadline) * 1'000'000'000, request.priority};
    for (int steps = *rc::gen::inRange(0, 3); steps > 0; --steps) step();
  }
  while (!b.engine->idle()) step();
  RC_ASSERT(statistics.size() == told.size());
  for (const auto& [id, a] : told) {
    for (const auto& [other, c] : told) {
      if (a.priority != c.priority || a.deadline >= c.deadline) continue;
      if (a.submitted >= statistics[other].first_scheduled) continue;  // it came too late to go first
      if (statistics[id].preemptions + statistics[other].preemptions > 0) continue;
      RC_ASSERT(statistics[id].first_scheduled <= statistics[other].first_scheduled);
    }
  }
}

TEST(EngineProperty, AFloodOfUrgentRequestsDoesNotStarveTheOthers) {
  EngineOptions options{.context = 64, .max_sequences = 2, .batch_tokens = 32};
  options.rules.aging = 100'000'000;  // a hundred steps
  options.rules.most_patience = 1'000'000'000;
  Bench b(options);
  Request modest = Ask(Iota(20, 1), 30);
  modest.priority = Priority::kBatch;
  const RequestId id = b.engine->Submit(modest);
  int steps = 0;
  for (bool finished = false; !finished; ++steps) {
    ASSERT_LT(steps, 3000);
    Request urgent = Ask(Iota(10, steps), 4);  // one a step, four steps each: more than can be served
    urgent.priority = Priority::kInteractive;
    urgent.deadline = 0.001;
    if (b.engine->Metrics().waiting < 500) b.engine->Submit(urgent);
    for (const Event& event : b.Step())
      finished = finished || (event.request == id && event.finish != FinishReason::kNone);
  }
  EXPECT_GT(steps, 100);  // the flood did go first for a while
}

}  // namespace
}  // namespace edgellm
