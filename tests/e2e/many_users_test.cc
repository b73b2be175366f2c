// Requests of many users at once answer as each does alone: shared pages, slices and preemption change nothing. The
// slow test has all combinations.
#include "tests/e2e/many_users.h"

namespace edgellm {
namespace {

TEST(ManyUsers, AnswerAsEachAlone) {
  const ManyUsers users(64, 60, 6);
  const EngineMetrics roomy = users.Run({.max_sequences = 64, .batch_tokens = 128});
  EXPECT_GT(roomy.shared_tokens, 0);
  const EngineMetrics tight = users.Run({.max_sequences = 64, .batch_tokens = 70, .pages = 12});
  EXPECT_GT(tight.preemptions, 0);
}

}  // namespace
}  // namespace edgellm
