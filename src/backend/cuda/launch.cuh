// One way to launch every kernel: on a stream, with programmatic dependence on the kernel before where the device has it.
#pragma once

#include <utility>

#include "backend/cuda/device.h"
#include "backend/cuda/tasks.h"

namespace edgellm::cuda {

/// The same division of the first-level cache for all kernels, all of it shared memory: a multiprocessor must be empty to
/// change it, and so the next kernel could not start beside the one before.
template <typename... Parameters>
void PreferSharedMemory(void (*kernel)(Parameters...)) {
  Check(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared),
        "asking for shared memory");
}

template <typename... Parameters, typename... Arguments>
void LaunchKernel(void (*kernel)(Parameters...), dim3 grid, int threads, size_t shared_bytes, const Launch& launch,
                  Arguments&&... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared_bytes;
  config.stream = launch.stream;
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &attribute;
  config.numAttrs = launch.chained ? 1 : 0;
  PreferSharedMemory(kernel);
  Check(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...), "launching a kernel");
}

/// Lets a kernel use more than 48 KB of shared memory; to be called before its first launch that needs it.
template <typename... Parameters>
void AllowSharedMemory(void (*kernel)(Parameters...), size_t bytes) {
  Check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
        "asking for shared memory");
}

}  // namespace edgellm::cuda
