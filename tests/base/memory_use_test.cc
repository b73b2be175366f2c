// What the system says of memory, as far as it must hold on every machine.
#include "base/memory_use.h"

#include <gtest/gtest.h>

namespace edgellm {
namespace {

TEST(MemoryUse, OneIsWithinTheOther) {
  EXPECT_GT(ResidentBytes(), 0u);
  EXPECT_GE(MachineMemoryBytes(), AvailableMemoryBytes());
  EXPECT_GT(MachineMemoryBytes(), ResidentBytes());
  EXPECT_EQ(MachineMemoryBytes() % 4096, 0u);
}

}  // namespace
}  // namespace edgellm
