// 64 requests at once answer as each does alone, with every combination of prefix cache, slices and shortage of pages.
#include "tests/e2e/many_users.h"

namespace edgellm {
namespace {

TEST(ManyUsersSlow, AnswerAsEachAlone) {
  const ManyUsers users(64, 200, 24);
  const int longest = (users.context() + kPageTokens - 1) / kPageTokens;
  for (const bool cache : {true, false}) {
    for (const int batch : {64, 512}) {
      for (const int pages : {0, 3 * longest}) {
        const EngineMetrics metrics =
            users.Run({.max_sequences = 64, .batch_tokens = batch, .pages = pages, .prefix_cache = cache});
        EXPECT_EQ(metrics.shared_tokens > 0, cache);
        EXPECT_EQ(metrics.preemptions > 0, pages > 0) << "cache " << cache << ", batch " << batch;
        EXPECT_EQ(metrics.failures, 0);
      }
    }
  }
  // Prompts in whole forwards, whatever becomes of the running streams.
  EngineOptions whole{.max_sequences = 64, .batch_tokens = 512};
  whole.rules.stretch = 1e9;
  users.Run(whole);
}

}  // namespace
}  // namespace edgellm
