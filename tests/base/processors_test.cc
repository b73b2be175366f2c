// Choosing processors on machines of several kinds, described as the kernel describes them.
#include "base/processors.h"

#include <fstream>

#include <gtest/gtest.h>

#include "base/worker_pool.h"
#include "tests/base/temporary_folder.h"

namespace edgellm {
namespace {

class Machine {
 public:
  void Add(int processor, const std::string& siblings, const std::string& capacity) {
    const auto folder = folder_ / ("cpu" + std::to_string(processor));
    std::filesystem::create_directories(folder / "topology");
    if (!siblings.empty()) std::ofstream(folder / "topology" / "thread_siblings_list") << siblings << "\n";
    if (!capacity.empty()) std::ofstream(folder / "cpu_capacity") << capacity << "\n";
    allowed_.push_back(processor);
  }
  ProcessorChoice Choose() const { return ChooseProcessors(allowed_, folder_.path()); }

 private:
  TemporaryFolder folder_;
  std::vector<int> allowed_;
};

TEST(Processors, OneHardwareThreadOfEachCore) {
  Machine machine;
  for (int i = 0; i < 8; ++i) machine.Add(i, std::to_string(i % 4) + "," + std::to_string(i % 4 + 4), "");
  EXPECT_EQ(machine.Choose().recommended, 4);
  EXPECT_EQ(machine.Choose().order, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7}));
}

TEST(Processors, SlowCoresAreLeftOut) {
  Machine machine;  // four small cores, four big ones
  for (int i = 0; i < 8; ++i) machine.Add(i, std::to_string(i), i < 4 ? "381" : "1024");
  EXPECT_EQ(machine.Choose().recommended, 4);
  EXPECT_EQ(machine.Choose().order, (std::vector<int>{4, 5, 6, 7, 0, 1, 2, 3}));
}

TEST(Processors, CoresOfNearlyEqualSpeedAreAllUsed) {
  Machine machine;
  machine.Add(0, "0", "1024");
  machine.Add(1, "1", "760");
  EXPECT_EQ(machine.Choose().recommended, 2);
}

TEST(Processors, ASlowMachineIsItsOwnMeasure) {
  Machine machine;  // only the small cores are allowed
  machine.Add(2, "2", "381");
  machine.Add(3, "3", "381");
  EXPECT_EQ(machine.Choose().order, (std::vector<int>{2, 3}));
  EXPECT_EQ(machine.Choose().recommended, 2);
}

TEST(Processors, NothingDescribed) {
  const std::vector<int> allowed = {3, 5};
  EXPECT_EQ(ChooseProcessors(allowed, "/absent").order, allowed);
  EXPECT_EQ(ChooseProcessors(allowed, "/absent").recommended, 2);
}

TEST(Processors, ThisMachine) {
  const ProcessorChoice choice = ChooseProcessors();
  EXPECT_GE(choice.recommended, 1);
  EXPECT_LE(choice.recommended, static_cast<int>(choice.order.size()));
  EXPECT_EQ(WorkerPool(0).size(), choice.recommended);
}

}  // namespace
}  // namespace edgellm
