// A million random operations on page pool and prefix tree against the model.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/engine/cache_model.h"

namespace edgellm {
namespace {

RC_GTEST_PROP(KvCacheSlow, FollowsTheModel, ()) {  // 100 times
  CacheModel(*rc::gen::arbitrary<uint32_t>(), /*share_prefixes=*/true).Run(8000);
}

RC_GTEST_PROP(PagePoolSlow, FollowsTheModel, ()) {
  RunPoolOperations(*rc::gen::arbitrary<uint32_t>(), 2000);
}

}  // namespace
}  // namespace edgellm
