// The model of a forward's time: what it learns, what does not upset it.
#include "engine/time_model.h"

#include <random>

#include <gtest/gtest.h>

namespace edgellm {
namespace {

constexpr StepCosts kMachine = {.fixed = 8e-3, .decode = 4e-4, .prefill = 3e-4, .attend = 2e-5, .prompt_attend = 5e-6};

class Machine {
 public:
  explicit Machine(unsigned seed) : random_(seed) {}

  StepLoad SomeLoad() {
    const int decode = Below(8), prefill = Below(3) == 0 ? Below(300) : 0;
    const int64_t attended = int64_t{decode} * Below(2000), prompt_attended = int64_t{prefill} * Below(2000);
    return {.decode = std::max(decode, prefill == 0 ? 1 : 0),
            .prefill = prefill,
            .attended = attended,
            .prompt_attended = prompt_attended};
  }
  /// A measurement: a few percent of noise, and what `slower` says.
  double Time(const StepLoad& load, double slower = 1) {
    return slower * kMachine.Seconds(load) * std::normal_distribution<double>(1, 0.03)(random_);
  }
  int Below(int bound) { return std::uniform_int_distribution<int>(0, bound - 1)(random_); }

 private:
  std::mt19937 random_;
};

void ExpectLearnt(const TimeModel& model, double slower, double tolerance) {
  for (const StepLoad& load :
       {StepLoad{1, 0, 100, 0}, StepLoad{4, 0, 4000, 0}, StepLoad{4, 20, 4000, 20000}, StepLoad{0, 256, 0, 100000}}) {
    const double expected = slower * kMachine.Seconds(load);
    EXPECT_NEAR(model.costs().Seconds(load), expected, tolerance * expected) << load.decode << " " << load.prefill;
  }
}

TEST(TimeModel, LearnsAMachine) {
  TimeModel model;
  Machine machine(1);
  for (int i = 0; i < 300; ++i) {
    const StepLoad load = machine.SomeLoad();
    model.Observe(load, machine.Time(load));
  }
  ExpectLearnt(model, 1, 0.1);
  EXPECT_EQ(model.observations(), 300);
  EXPECT_LT(model.deviation(), 0.1);
}

TEST(TimeModel, PromptsLookBackAtTheirOwnPrice) {
  TimeModel model;
  Machine machine(5);
  for (int i = 0; i < 600; ++i) {
    const StepLoad load = machine.SomeLoad();
    model.Observe(load, machine.Time(load));
  }
  // Of a slice far behind in its prompt, what the past costs is most; taken for decoding's it would be four times that.
  const StepLoad slice = {.decode = 0, .prefill = 64, .attended = 0, .prompt_attended = 64 * 20000};
  const double expected = kMachine.Seconds(slice);
  EXPECT_NEAR(model.costs().Seconds(slice), expected, 0.3 * expected);
}

TEST(TimeModel, InterruptionsMoveItLittle) {
  TimeModel model;
  Machine machine(2);
  for (int i = 0; i < 600; ++i) {
    const StepLoad load = machine.SomeLoad();
    const double interrupted = machine.Below(25) == 0 ? 30 : 1;  // one in 25 takes thirty times as long
    model.Observe(load, machine.Time(load, interrupted));
  }
  ExpectLearnt(model, 1, 0.3);
}

TEST(TimeModel, FollowsAMachineThatBecameSlower) {
  TimeModel model;
  Machine machine(3);
  for (int i = 0; i < 2000; ++i) {
    const StepLoad load = machine.SomeLoad();
    model.Observe(load, machine.Time(load));
  }
  for (int i = 0; i < 300; ++i) {
    const StepLoad load = machine.SomeLoad();
    model.Observe(load, machine.Time(load, 2));
  }
  ExpectLearnt(model, 2, 0.15);
}

TEST(TimeModel, ForgetsNothingThatDecodingDoesNotShow) {
  TimeModel model;
  Machine machine(4);
  for (int i = 0; i < 300; ++i) {
    const StepLoad load = machine.SomeLoad();
    model.Observe(load, machine.Time(load));
  }
  for (int i = 0; i < 20000; ++i) {
    const StepLoad load = {.decode = 1, .prefill = 0, .attended = 100 + i % 2000, .prompt_attended = 0};
    model.Observe(load, machine.Time(load));
  }
  ExpectLearnt(model, 1, 0.35);
}

TEST(TimeModel, IsCautiousBeforeItKnows) {
  TimeModel model;
  EXPECT_EQ(model.costs().Seconds({10, 10, 10, 10}), 0);
  model.Observe({.decode = 0, .prefill = 5, .attended = 0, .prompt_attended = 15}, 0.01);
  // Nothing is known of a fixed part yet: each token may be what took the time.
  EXPECT_GT(model.costs().Seconds({0, 100, 0, 5050}), 0.1);
}

TEST(TimeModel, NonsenseIsLeftOut) {
  TimeModel model;
  model.Observe({1, 0, 1, 0}, -1);
  model.Observe({1, 0, 1, 0}, 0);
  model.Observe({1, 0, 1, 0}, std::numeric_limits<double>::quiet_NaN());
  model.Observe({0, 0, 0, 0}, 1);
  EXPECT_EQ(model.observations(), 0);
}

}  // namespace
}  // namespace edgellm
