// Summaries: nearest rank, medians of odd and even counts, few and no values.
#include "bench/percentiles.h"

#include <numeric>

#include <gtest/gtest.h>

namespace edgellm {
namespace {

TEST(Percentiles, NearestRankOfAThousandValues) {
  std::vector<double> values(1000);
  std::iota(values.rbegin(), values.rend(), 1);  // 1000 … 1: the order does not matter
  const Percentiles result = PercentilesOf(values);
  EXPECT_EQ(result.p50, 500);
  EXPECT_EQ(result.p95, 950);
  EXPECT_EQ(result.p99, 990);
  EXPECT_EQ(result.p999, 999);
  EXPECT_EQ(result.max, 1000);
}

TEST(Percentiles, FewValuesGiveTheGreatest) {
  const Percentiles result = PercentilesOf({3, 1, 2});
  EXPECT_EQ(result.p50, 2);
  EXPECT_EQ(result.p95, 3);
  EXPECT_EQ(result.p999, 3);
  EXPECT_EQ(PercentilesOf({7}).p50, 7);
}

TEST(Percentiles, NoValuesGiveZeros) {
  EXPECT_EQ(PercentilesOf({}).max, 0);
  EXPECT_EQ(SpreadOf({}).median, 0);
}

TEST(Percentiles, MediansOfOddAndEvenCounts) {
  EXPECT_EQ(SpreadOf({5, 1, 9}).median, 5);
  const Spread even = SpreadOf({4, 1, 2, 9});
  EXPECT_EQ(even.min, 1);
  EXPECT_EQ(even.median, 3);
  EXPECT_EQ(even.max, 9);
}

}  // namespace
}  // namespace edgellm
