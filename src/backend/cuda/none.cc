// Linked where the program is built without CUDA.
#include "backend/backend.h"
#include "base/error.h"

namespace edgellm {

std::unique_ptr<Backend> MakeCudaBackend(const Plan&, std::span<const WeightView>, const BackendLimits&,
                                         const BackendOptions&) {
  Fail(ErrorCode::kEnvironment, "this program was built without CUDA");
}

uint64_t CudaFreeBytes() {
  return 0;
}

}  // namespace edgellm
