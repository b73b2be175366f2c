// Packed codes (layout.h) to the fragments of the matrix units.
#pragma once

#include "backend/cuda/kernels/ptx.cuh"
#include "backend/cuda/layout.h"

namespace edgellm::cuda {

/// Matrix steps of 32 k that one chunk holds.
template <Codes kCodes>
inline constexpr int kChunkSteps = ChunkK(kCodes) / 32;

/// The A fragment of step kStep of a chunk: codes << ShiftOf(kCodes) as signed bytes.
template <Codes kCodes, int kStep>
__device__ __forceinline__ void Unpack(const uint4& w, uint32_t (&a)[4]) {
  if constexpr (kCodes == Codes::kInt8) {
    a[0] = w.x;
    a[1] = w.y;
    a[2] = w.z;
    a[3] = w.w;
  } else if constexpr (kCodes == Codes::kInt4) {
    const uint32_t low = kStep == 0 ? w.x : w.z, high = kStep == 0 ? w.y : w.w;
    a[0] = low << 4 & 0xf0f0f0f0u;
    a[1] = high << 4 & 0xf0f0f0f0u;
    a[2] = low & 0xf0f0f0f0u;
    a[3] = high & 0xf0f0f0f0u;
  } else {
    const uint32_t low = kStep < 2 ? w.x : w.z, high = kStep < 2 ? w.y : w.w;
    constexpr int kPlane = 2 * (kStep % 2);
    a[0] = low << (6 - 2 * kPlane) & 0xc0c0c0c0u;
    a[1] = high << (6 - 2 * kPlane) & 0xc0c0c0c0u;
    a[2] = low << (4 - 2 * kPlane) & 0xc0c0c0c0u;
    a[3] = high << (4 - 2 * kPlane) & 0xc0c0c0c0u;
  }
}

/// What one group adds to a row: quant/activation.h. `sum` is the dot product of shifted codes.
template <Codes kCodes>
__device__ __forceinline__ float ValueOf(int32_t sum, bool zeros, float zero, int32_t x_sum) {
  const int32_t dot = sum >> ShiftOf(kCodes);
  if (kCodes == Codes::kInt4 && zeros) return fmaf(-zero, static_cast<float>(x_sum), static_cast<float>(dot + 8 * x_sum));
  return static_cast<float>(dot);
}

}  // namespace edgellm::cuda
