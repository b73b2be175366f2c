// See error.h.
#include "base/error.h"

#include <cstdio>
#include <cstdlib>

namespace edgellm {

void CheckFailed(const char* file, int line, const char* condition, const char* message) {
  std::fprintf(stderr, "edgellm: internal error at %s:%d: %s (%s)\n", file, line, message, condition);
  std::abort();
}

}  // namespace edgellm
