// Names of numbered parts: what is one, and what only looks like one.
#include "base/part_name.h"

#include <gtest/gtest.h>

namespace edgellm {
namespace {

TEST(PartName, TakesNamesApart) {
  for (const char* text : {"a-b-00002-of-00013", "a-b-00002-OF-00013"}) {
    const auto part = ParsePartName(text);
    ASSERT_TRUE(part.has_value()) << text;
    EXPECT_EQ(part->name, "a-b");
    EXPECT_EQ(part->number, 2);
    EXPECT_EQ(part->count, 13);
    EXPECT_EQ("a-b" + PartEnding(part->number, part->count), "a-b-00002-of-00013");
  }
}

TEST(PartName, OthersAreNoParts) {
  for (const char* text : {"", "a", "-00001-of-00003", "a-00000-of-00003", "a-00004-of-00003", "a-00001-of-00000",
                           "a-0001-of-0003", "a-00001-of-0000x", "a-+0001-of-00003", "a-00001_of-00003", "a 00001-of-3",
                           "a-00001-Of-00003", "a-00001-of-00003.gguf"}) {
    EXPECT_FALSE(ParsePartName(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace edgellm
