// How many answers at once, and how many pages: bounded by memory, never below one answer at its longest.
#include "serve/serving_size.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace edgellm {
namespace {

constexpr uint64_t kGb = 1'000'000'000;

TEST(ServingSize, SmallModelsOnLargeMachines) {
  const ServingSize cpu =
      ChooseServingSize(0, {.device = false, .context = 4096, .page_bytes = 400'000, .free_bytes = 64 * kGb});
  EXPECT_EQ(cpu.parallel, 8);
  EXPECT_EQ(cpu.pages, 2 * 256);
  const ServingSize gpu =
      ChooseServingSize(0, {.device = true, .context = 4096, .page_bytes = 400'000, .free_bytes = 64 * kGb});
  EXPECT_EQ(gpu.parallel, 64);
  EXPECT_EQ(gpu.pages, 16 * 256);
}

TEST(ServingSize, PlacesShareWhatMemoryThereIs) {
  // 10 MB a page, 16 GB free, a quarter of it: 400 pages of the 2 * 256.
  const ServingSize size =
      ChooseServingSize(0, {.device = false, .context = 4096, .page_bytes = 10'000'000, .free_bytes = 16 * kGb});
  EXPECT_EQ(size.parallel, 8);
  EXPECT_EQ(size.pages, 400);
  const ServingSize asked =
      ChooseServingSize(32, {.device = false, .context = 4096, .page_bytes = 10'000'000, .free_bytes = 16 * kGb});
  EXPECT_EQ(asked.parallel, 32);
  EXPECT_EQ(asked.pages, 400);
}

TEST(ServingSize, LittleMemory) {
  const ServingSize size =
      ChooseServingSize(0, {.device = false, .context = 1024, .page_bytes = 1'000'000, .free_bytes = kGb / 10});
  EXPECT_EQ(size.pages, 64);    // one answer at its longest
  EXPECT_EQ(size.parallel, 4);  // or four of 256
}

RC_GTEST_PROP(ServingSize, OneAnswerAlwaysFits, ()) {
  ServingRoom room;
  room.device = *rc::gen::arbitrary<bool>();
  room.context = *rc::gen::inRange(1, 200'000);
  room.page_bytes = *rc::gen::inRange<uint64_t>(1, 100'000'000);
  room.free_bytes = *rc::gen::inRange<uint64_t>(0, 1000 * kGb);
  const int asked = *rc::gen::inRange(0, 300);
  const ServingSize size = ChooseServingSize(asked, room);
  const int longest = (room.context + kPageTokens - 1) / kPageTokens;
  RC_ASSERT(size.pages >= longest);
  RC_ASSERT(size.pages <= std::max(2, size.parallel) * longest);
  RC_ASSERT(size.parallel >= 1);
  if (asked > 0) RC_ASSERT(size.parallel == asked);
  if (room.free_bytes > 0 && size.pages > longest) {
    RC_ASSERT(static_cast<uint64_t>(size.pages) * room.page_bytes <= room.free_bytes / 2);
  }
}

}  // namespace
}  // namespace edgellm
