// Longer random days at the engine.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/engine/engine_model.h"

namespace edgellm {
namespace {

RC_GTEST_PROP(EngineSlow, AnswersDoNotDependOnCompanyAndNothingLeaks, ()) {  // 100 times
  RandomDay day(*rc::gen::arbitrary<uint32_t>());
  day.Run(3000);
}

}  // namespace
}  // namespace edgellm
