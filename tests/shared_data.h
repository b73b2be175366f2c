// Where tests find data that the repository does not hold: EDGELLM_TEST_DATA, else ../shared/data beside the checkout.
#pragma once

#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>

#include "tests/source_dir.h"

namespace edgellm {

/// The folder, or an empty path where there is none.
inline std::filesystem::path SharedData() {
  const char* from_environment = std::getenv("EDGELLM_TEST_DATA");
  std::filesystem::path folder = from_environment != nullptr
                                     ? std::filesystem::path(from_environment)
                                     : SourceDir() / ".." / "shared" / "data";
  return std::filesystem::exists(folder / "README.md") ? folder : std::filesystem::path();
}

}  // namespace edgellm

/// Leaves a test, with the reason printed, where the shared data is absent.
#define SKIP_WITHOUT_SHARED_DATA()                                                                       \
  if (::edgellm::SharedData().empty()) {                                                                 \
    GTEST_SKIP() << "needs the shared test data (EDGELLM_TEST_DATA, or ../shared/data beside the repo)"; \
  }
