// The device's instructions by name, with what older chips do instead. Everything inline; knows no language model.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

namespace edgellm::cuda {

/// d += a b: 16 x 32 signed bytes times 32 x 8; fragments as PTX defines them for mma.m16n8k32.
__device__ __forceinline__ void MmaInt8(int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  const auto part = [&](int32_t& d0, int32_t& d1, uint32_t x, uint32_t y) {
    asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};" : "+r"(d0), "+r"(d1) : "r"(x), "r"(y));
  };
  part(d[0], d[1], a[0], b0);
  part(d[2], d[3], a[1], b0);
  part(d[0], d[1], a[2], b1);
  part(d[2], d[3], a[3], b1);
#endif
}

/// d += a b: 16 x 16 halves times 16 x 8, sums in float; fragments of mma.m16n8k16.
__device__ __forceinline__ void MmaHalf(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  const auto part = [&](uint32_t x0, uint32_t x1, uint32_t y) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(x0), "r"(x1), "r"(y));
  };
  part(a[0], a[1], b0);
  part(a[2], a[3], b1);
#endif
}

/// Weights are read once a forward: they should push neither keys and values nor activations out of the L2 cache.
struct StreamPolicy {
#if __CUDA_ARCH__ >= 800
  uint64_t policy;
  __device__ __forceinline__ StreamPolicy() {
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  }
#endif
};

/// Waits until the kernels before this one have finished and what they wrote can be seen. A kernel that was launched
/// with programmatic dependence must call it before it touches anything that is not constant.
__device__ __forceinline__ void WaitForPrevious() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Lets the next kernel's blocks start as soon as there is room: they will wait in WaitForPrevious.
__device__ __forceinline__ void LetNextStart() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// Asks for bytes (a multiple of 16) to be brought into the L2 cache.
__device__ __forceinline__ void PrefetchL2(const void* from, uint32_t bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
#endif
}

__device__ __forceinline__ uint32_t SharedAddress(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

/// 16 bytes from global to shared memory; there after CopyWait.
__device__ __forceinline__ void CopyAsync16(void* to, const void* from) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(SharedAddress(to)), "l"(from) : "memory");
#else
  *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from);
#endif
}
/// Likewise 4, 8 or 16 bytes.
__device__ __forceinline__ void CopyAsync(void* to, const void* from, int bytes) {
  if (bytes == 16) return CopyAsync16(to, from);
#if __CUDA_ARCH__ >= 800
  if (bytes == 8) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(SharedAddress(to)), "l"(from) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(SharedAddress(to)), "l"(from) : "memory");
  }
#else
  for (int i = 0; i < bytes / 4; ++i) reinterpret_cast<uint32_t*>(to)[i] = reinterpret_cast<const uint32_t*>(from)[i];
#endif
}
__device__ __forceinline__ void CopyCommit() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
/// Until at most kLeft of this thread's committed groups are under way.
template <int kLeft>
__device__ __forceinline__ void CopyWait() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
#endif
}

/// A barrier in shared memory that bulk copies arrive at with their bytes (sm_90).
__device__ __forceinline__ void InitBarrier(uint64_t* barrier) {
#if __CUDA_ARCH__ >= 900
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(SharedAddress(barrier)) : "memory");
#endif
}
/// Makes initialised barriers known to the copy engine.
__device__ __forceinline__ void PublishBarriers() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}
__device__ __forceinline__ void ExpectBytes(uint64_t* barrier, uint32_t bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(SharedAddress(barrier)), "r"(bytes) : "memory");
#endif
}
/// By one thread: what it wrote before can be seen by whoever waits.
__device__ __forceinline__ void ArriveAtBarrier(uint64_t* barrier) {
#if __CUDA_ARCH__ >= 900
  asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(SharedAddress(barrier)) : "memory");
#endif
}
/// Copies bytes (a multiple of 16) that are read once.
__device__ __forceinline__ void CopyBulk(void* to, const void* from, uint32_t bytes, uint64_t* barrier, const StreamPolicy& stream) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(
                   SharedAddress(to)),
               "l"(from), "r"(bytes), "r"(SharedAddress(barrier)), "l"(stream.policy)
               : "memory");
#endif
}
/// Waits for the phase of a barrier that ends with parity `parity`.
__device__ __forceinline__ void WaitBarrier(uint64_t* barrier, uint32_t parity) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "{\n.reg .pred done;\nagain_%=:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@!done bra again_%=;\n}" ::"r"(
          SharedAddress(barrier)),
      "r"(parity)
      : "memory");
#endif
}

/// 2^x, the fast one of the chip: the same bits for the same argument.
__device__ __forceinline__ float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

template <int kLanes = 32>
__device__ __forceinline__ float MaxOver(float x) {
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, offset));
  return x;
}
template <int kLanes = 32>
__device__ __forceinline__ float SumOver(float x) {
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(~0u, x, offset);
  return x;
}
template <int kLanes = 32>
__device__ __forceinline__ int SumOver(int x) {
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(~0u, x, offset);
  return x;
}

}  // namespace edgellm::cuda
