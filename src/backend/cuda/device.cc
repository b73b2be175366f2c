// See device.h.
#include "backend/cuda/device.h"

#include <algorithm>

#include "base/error.h"

namespace edgellm::cuda {

void Check(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return;
  const ErrorCode code = status == cudaErrorMemoryAllocation ? ErrorCode::kLimit : ErrorCode::kEnvironment;
  Fail(code, "CUDA: {} while {}", cudaGetErrorString(status), doing);
}

DeviceFacts OpenDevice() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) {
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (driver == 0) Fail(ErrorCode::kEnvironment, "no NVIDIA driver is installed");
    Fail(ErrorCode::kEnvironment, "the NVIDIA driver is for CUDA {}.{}, this program needs {}.{}", driver / 1000,
         driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
  }
  if (status != cudaSuccess) Fail(ErrorCode::kEnvironment, "no usable NVIDIA device: {}", cudaGetErrorString(status));
  for (int id = 0; id < count; ++id) {
    cudaDeviceProp properties{};
    Check(cudaGetDeviceProperties(&properties, id), "asking for a device's properties");
    if (properties.major * 10 + properties.minor < 75) continue;
    Check(cudaSetDevice(id), "choosing a device");
    DeviceFacts facts{.id = id,
                      .name = properties.name,
                      .major = properties.major,
                      .minor = properties.minor,
                      .processors = properties.multiProcessorCount,
                      .l2_bytes = static_cast<size_t>(properties.l2CacheSize),
                      .shared_bytes_per_block = properties.sharedMemPerBlockOptin};
    Check(cudaMemGetInfo(&facts.free_bytes, &facts.memory_bytes), "asking for the device's memory");
    return facts;
  }
  Fail(ErrorCode::kEnvironment, "no NVIDIA device of compute capability 7.5 or later");
}

DeviceBuffer::DeviceBuffer(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  const cudaError_t status = cudaMalloc(&data_, bytes);
  if (status == cudaErrorMemoryAllocation) {
    size_t free = 0, total = 0;
    cudaGetLastError();  // it is answered for: the next call starts clean
    cudaMemGetInfo(&free, &total);
    Fail(ErrorCode::kLimit, "the device has {:.1f} of {:.1f} GB free, and {:.1f} more are needed at once",
         static_cast<double>(free) / 1e9, static_cast<double>(total) / 1e9, static_cast<double>(bytes) / 1e9);
  }
  Check(status, "taking device memory");
  Check(cudaMemset(data_, 0, bytes), "clearing device memory");
}

DeviceBuffer::~DeviceBuffer() {
  if (data_ != nullptr) cudaFree(data_);
}

PinnedBuffer::PinnedBuffer(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  Check(cudaHostAlloc(&data_, bytes, cudaHostAllocMapped), "taking pinned memory");
  std::fill_n(static_cast<std::byte*>(data_), bytes, std::byte{0});
}

PinnedBuffer::~PinnedBuffer() {
  if (data_ != nullptr) cudaFreeHost(data_);
}

}  // namespace edgellm::cuda
