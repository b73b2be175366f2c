// Page pool, prefix tree and page tables: random operations against a simple model, and what the model does not say.
#include <numeric>
#include <stdexcept>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "engine/kv_cache.h"
#include "tests/engine/cache_model.h"

namespace edgellm {
namespace {

RC_GTEST_PROP(KvCache, FollowsTheModel, ()) {  // 100 times
  CacheModel(*rc::gen::arbitrary<uint32_t>(), /*share_prefixes=*/true).Run(300);
}

RC_GTEST_PROP(KvCache, FollowsTheModelWithoutSharing, ()) {
  CacheModel(*rc::gen::arbitrary<uint32_t>(), /*share_prefixes=*/false).Run(100);
}

RC_GTEST_PROP(PagePool, FollowsTheModel, ()) {
  RunPoolOperations(*rc::gen::arbitrary<uint32_t>(), 100);
}

TEST(PagePool, CountsHolders) {
  PagePool pool(3);
  const int32_t page = pool.Take();
  pool.Share(page);
  pool.Release(page);
  EXPECT_EQ(pool.used(), 1);
  const std::vector<int32_t> held = {page};
  pool.CheckIntegrity(held);
  EXPECT_THROW(pool.CheckIntegrity({}), std::logic_error);
  pool.Release(page);
  EXPECT_EQ(pool.free(), 3);
  EXPECT_GE(pool.Take(), 0);
  EXPECT_GE(pool.Take(), 0);
  EXPECT_GE(pool.Take(), 0);
  EXPECT_EQ(pool.Take(), -1);
}

/// `count` tokens from `first` on, as a finished sequence leaves them.
void Leave(KvCache& cache, int first, int count, const NameSpace& space = {}) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  PageTable table;
  cache.Open(table, space);
  const int shared = cache.TakeShared(table, tokens, count);
  ASSERT_TRUE(cache.Reserve(table, std::max(count, shared)));
  cache.Close(table, tokens, count, /*keep=*/true);
}

int Found(KvCache& cache, int first, int count) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  PageTable table;
  cache.Open(table, {});
  cache.TakeShared(table, tokens, count);
  const int found = cache.CopyShared(table, tokens, count);
  cache.ClearCopies();
  cache.Close(table, tokens, table.published * kPageTokens, /*keep=*/true);
  return found;
}

TEST(PrefixTree, EvictsWhatWasNotUsedForTheLongestTimeFromItsEnd) {
  KvCache cache(8, 2, true);
  Leave(cache, 100, 48);
  Leave(cache, 200, 40);
  EXPECT_EQ(cache.cached(), 6);
  EXPECT_EQ(Found(cache, 100, 48), 48);  // used again: the other one is older now
  Leave(cache, 300, 64);                 // two pages more than are free
  EXPECT_EQ(Found(cache, 100, 48), 48);
  EXPECT_EQ(Found(cache, 300, 64), 64);
  EXPECT_EQ(Found(cache, 200, 40), 16);
}

TEST(PrefixTree, LongerPartialPagesReplaceTheirBeginnings) {
  KvCache cache(8, 2, true);
  for (const int count : {3, 7, 5, 16}) Leave(cache, 100, count);
  EXPECT_EQ(cache.cached(), 1);
  EXPECT_EQ(Found(cache, 100, 12), 12);
}

TEST(PrefixTree, ManySiblingsAreFoundByTheirWholePage) {
  constexpr int kSiblings = 3 * PrefixTree::kMostSiblings;
  KvCache cache(kSiblings, 2, true);
  for (int i = 0; i < kSiblings; ++i) Leave(cache, 1000 * i, kPageTokens);
  for (int i = 0; i < kSiblings; i += 50) {
    std::vector<int32_t> tokens(kPageTokens);
    std::iota(tokens.begin(), tokens.end(), 1000 * i);
    PageTable table;
    cache.Open(table, {});
    EXPECT_EQ(cache.TakeShared(table, tokens, kPageTokens), kPageTokens);
    cache.Close(table, tokens, kPageTokens, true);
  }
}

}  // namespace
}  // namespace edgellm
