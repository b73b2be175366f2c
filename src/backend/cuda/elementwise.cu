// Small kernels: embedding, preparing inputs, finishing heads, packing weights, copying pages.
#include "backend/cuda/kernels/output.cuh"
#include "backend/cuda/kernels/prepare.cuh"
#include "backend/cuda/launch.cuh"
#include "quant/weight_format.h"

#include <algorithm>

#include <cuda_bf16.h>

namespace edgellm::cuda {
namespace {

constexpr int kThreads = 256;

unsigned BlocksFor(size_t items, int threads = kThreads) {
  return static_cast<unsigned>((items + static_cast<size_t>(threads) - 1) / static_cast<size_t>(threads));
}

/// One number of a canonical row of floats.
__device__ __forceinline__ float FloatAt(const uint8_t* row, int kind, int i) {
  switch (static_cast<WeightKind>(kind)) {
    case WeightKind::kF16:
      return __half2float(reinterpret_cast<const __half*>(row)[i]);
    case WeightKind::kBf16:
      return __bfloat162float(reinterpret_cast<const __nv_bfloat16*>(row)[i]);
    default:
      return reinterpret_cast<const float*>(row)[i];
  }
}

/// The integer code of a canonical row: int8 as it is, int4 0..15, ternary -1..1.
__device__ __forceinline__ int CodeAt(const uint8_t* row, int kind, int i) {
  switch (static_cast<WeightKind>(kind)) {
    case WeightKind::kInt8:
      return reinterpret_cast<const int8_t*>(row)[i];
    case WeightKind::kInt4:
      return row[i / 2] >> (i % 2 * 4) & 15;
    default:
      return (row[i / 4] >> (i % 4 * 2) & 3) - 1;
  }
}

__global__ void Embed(const __grid_constant__ EmbedTask task) {
  LetNextStart();
  WaitForPrevious();
  const int token = blockIdx.x;
  const size_t id = static_cast<size_t>(task.staging.tokens[token]);
  const uint8_t* row = task.codes + id * static_cast<size_t>(task.row_bytes);
  for (int i = threadIdx.x; i < task.cols; i += blockDim.x) {
    float value;
    if (task.kind <= static_cast<int>(WeightKind::kBf16)) {
      value = FloatAt(row, task.kind, i);
    } else {
      const size_t group = id * static_cast<size_t>(task.groups) + static_cast<size_t>(i / task.group);
      const int code = CodeAt(row, task.kind, i);
      if (task.kind == static_cast<int>(WeightKind::kTernary)) {
        value = reinterpret_cast<const float*>(task.scales)[group] * static_cast<float>(code);
      } else {
        const float scale = __half2float(reinterpret_cast<const __half*>(task.scales)[group]);
        float zero = task.kind == static_cast<int>(WeightKind::kInt4) ? 8.0f : 0.0f;
        if (task.zeros != nullptr) zero = __half2float(reinterpret_cast<const __half*>(task.zeros)[group]);
        value = scale * (static_cast<float>(code) - zero);
      }
    }
    task.residual[token * task.stride + i] = value;
  }
}

/// A row as floats, normalised.
__device__ void NormaliseRow(const PrepareTask& task, const float* x, float* to, PrepareScratch& scratch) {
  const int segments = (task.cols + kSegment - 1) / kSegment;
  float inverse = 1.0f;
  if (task.norm != nullptr) {
    float square = 0;
    for (int i = 0; i * kPrepareWarps < segments; ++i) square += SquaresOf(LoadSegments<1>(x, task.cols, i).v[0]);
    scratch.squares[threadIdx.x] = square;
    __syncthreads();
    inverse = InverseRms(scratch, task.cols, task.epsilon);
  }
  for (int i = 0; i * kPrepareWarps < segments; ++i) {
    float4 v = LoadSegments<1>(x, task.cols, i).v[0];
    if (task.norm != nullptr) v = Times(v, LoadSegments<1>(task.norm, task.cols, i).v[0]);
    const int at = SegmentOf(i) * kSegment + threadIdx.x % 32 * 4;
    if (at < task.cols) *reinterpret_cast<float4*>(to + at) = Times(v, inverse);
  }
}

__global__ void __launch_bounds__(kPrepareThreads) Prepare(const __grid_constant__ PrepareTask task) {
  __shared__ PrepareScratch scratch;
  LetNextStart();
  constexpr int kAtOnce = 4;
  const auto norm = LoadNorm<kAtOnce>(task);
  WaitForPrevious();
  const int row = blockIdx.x;
  const float* x = task.x + (task.gather != nullptr ? task.gather[row] : row) * task.stride;
  if (task.normed != nullptr) return NormaliseRow(task, x, task.normed + row * task.stride, scratch);
  const int panel = row / kPanelTokens, token = row % kPanelTokens;
  uint32_t* codes = reinterpret_cast<uint32_t*>(task.out.codes) +
                    (static_cast<size_t>(panel) * task.out.blocks * kPanelTokens + token) * 16;
  const size_t at = static_cast<size_t>(panel) * task.out.groups * kPanelTokens + token;
  float* scales = task.out.scales + at;
  const PreparedRow to = {codes, kPanelTokens * 16, scales, task.out.sums + at, kPanelTokens};
  PrepareRow<kAtOnce>(task, task.group, task.sums, norm, x, task.out.blocks * kBlockK / kSegment, to, scratch);
  __syncthreads();
  if (threadIdx.x >= 32) return;
  const float factor = ResultFactor(task, task.group, scratch);
  if (threadIdx.x == 0) task.out.factors[row] = factor;
}

/// One warp a head of one token.
__global__ void FinishHeads(const __grid_constant__ FinishHeadsTask task) {
  LetNextStart();
  WaitForPrevious();
  const int head = blockIdx.x, token = blockIdx.y, lane = threadIdx.x, dim = task.head_dim, half = dim / 2;
  const int sequence = task.staging.sequences[token], position = task.staging.positions[token];
  if (sequence < 0) return;
  const int kv_head = head < task.heads ? -1 : (head - task.heads) % task.kv_heads;
  if (head >= task.heads + task.kv_heads) {  // a value
    if (task.value == nullptr) return;
    __half* place = CachePlace(task.cache, task.staging, sequence, position, kv_head);
    const float* value = task.value + token * task.key_stride + kv_head * dim;
    for (int i = lane; i < dim; i += 32) StoreValue(place, position, task.cache.dim, i, value[i]);
    return;
  }
  const float* x = kv_head < 0 ? task.query + token * task.query_stride + head * dim
                               : task.key + token * task.key_stride + kv_head * dim;
  const float* norm = kv_head < 0 ? task.q_norm : task.k_norm;
  float inverse = 1.0f;
  if (norm != nullptr) {
    float sum = 0;
    for (int i = lane; i < dim; i += 32) sum = fmaf(x[i], x[i], sum);
    inverse = 1.0f / sqrtf(SumOver(sum) / static_cast<float>(dim) + task.epsilon);
  }
  __half* place = kv_head < 0 ? nullptr : CachePlace(task.cache, task.staging, sequence, position, kv_head);
  float* query = task.query + token * task.query_stride + head * dim;
  for (int i = lane; i < half; i += 32) {
    float a = x[i], b = x[i + half];
    if (norm != nullptr) {
      a = a * inverse * norm[i];
      b = b * inverse * norm[i + half];
    }
    const float2 turn = task.rotary[static_cast<size_t>(position) * half + i];
    const float first = a * turn.x - b * turn.y, second = b * turn.x + a * turn.y;
    if (kv_head < 0) {
      query[i] = first;
      query[i + half] = second;
    } else {
      StoreKey(place, position, task.cache.dim, i, first);
      StoreKey(place, position, task.cache.dim, i + half, second);
    }
  }
}

/// Which matrix and row of it the first or second row of a pair is; -1: none.
__device__ int FindRow(const PackTask& task, int pair, int second, int* source) {
  int row = RowOfPair(task.order, task.half, pair, second);
  if (task.order == RowOrder::kGatePairs) {
    *source = second;
    return row < task.sources[0].rows ? row : -1;
  }
  for (*source = 0; *source < task.count; ++*source) {
    if (row < task.sources[*source].rows) return row;
    row -= task.sources[*source].rows;
  }
  return -1;
}

__device__ uint32_t PackedByte(const PackTask& task, const uint8_t* row, int k, int shift, int bits, int planes, int plane_step) {
  uint32_t byte = 0;
  for (int plane = 0; plane < planes; ++plane) {
    const int at = k + plane * plane_step;
    int code = 0;
    if (at < task.to.cols) {
      const WeightKind kind = task.to.codes == Codes::kInt8   ? WeightKind::kInt8
                              : task.to.codes == Codes::kInt4 ? WeightKind::kInt4
                                                              : WeightKind::kTernary;
      code = CodeAt(row, static_cast<int>(kind), at) - shift;
    }
    byte |= (static_cast<uint32_t>(code) & ((1u << bits) - 1)) << (plane * bits);
  }
  return byte & 255u;
}

/// One thread a word.
__global__ void PackCodes(const __grid_constant__ PackTask task) {
  const size_t index = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const PackedMatrix& m = task.to;
  if (index >= m.code_bytes() / 4) return;
  const int word = static_cast<int>(index % 4), t = static_cast<int>(index / 4 % 4);
  const int chunk = static_cast<int>(index / 16 % m.chunks), pair = static_cast<int>(index / 16 / m.chunks);
  int source, k = chunk * ChunkK(m.codes) + 4 * t;
  int bits = 8, planes = 1, shift = 0;
  if (m.codes == Codes::kInt8) {
    k += word / 2 * 16;
  } else if (m.codes == Codes::kInt4) {
    k += word / 2 * 32;
    bits = 4;
    planes = 2;
    shift = 8;
  } else {
    k += word / 2 * 64;
    bits = 2;
    planes = 4;
  }
  const int row = FindRow(task, pair, word % 2, &source);
  uint32_t packed = 0;
  if (row >= 0) {
    const uint8_t* from = task.sources[source].codes + static_cast<size_t>(row) * task.row_bytes;
    for (int j = 0; j < 4; ++j) packed |= PackedByte(task, from, k + j, shift, bits, planes, 16) << (8 * j);
  }
  const_cast<uint32_t*>(reinterpret_cast<const uint32_t*>(m.data))[index] = packed;
}

/// One thread a scale (and zero).
__global__ void PackScales(const __grid_constant__ PackTask task) {
  const size_t index = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const PackedMatrix& m = task.to;
  if (index >= static_cast<size_t>(m.tiles) * m.groups * kTileRows) return;
  const int second = static_cast<int>(index % 2), group = static_cast<int>(index / 2 % m.groups);
  const int pair = static_cast<int>(index / 2 / m.groups);
  int source;
  const int row = FindRow(task, pair, second, &source);
  if (row < 0) return;  // memory is zeroed
  const size_t from = static_cast<size_t>(row) * m.groups + group, to = m.scale_index(pair, group) + second;
  const PackSource& view = task.sources[source];
  if (m.f16_scales) {
    const_cast<uint16_t*>(reinterpret_cast<const uint16_t*>(m.scales))[to] = reinterpret_cast<const uint16_t*>(view.scales)[from];
  } else {
    const_cast<float*>(reinterpret_cast<const float*>(m.scales))[to] = reinterpret_cast<const float*>(view.scales)[from];
  }
  if (m.zeros == nullptr) return;
  const_cast<uint16_t*>(reinterpret_cast<const uint16_t*>(m.zeros))[to] = reinterpret_cast<const uint16_t*>(view.zeros)[from];
}

__global__ void CopyPages(uint8_t* cache, size_t layer_bytes, size_t page_bytes, const int2* pages) {
  uint8_t* layer = cache + blockIdx.y * layer_bytes;
  const int2 copy = pages[blockIdx.x];
  const uint4* from = reinterpret_cast<const uint4*>(layer + copy.x * page_bytes);
  uint4* to = reinterpret_cast<uint4*>(layer + copy.y * page_bytes);
  for (size_t i = threadIdx.x; i < page_bytes / 16; i += blockDim.x) to[i] = from[i];
}

/// y = W x with weights that are floats: a warp computes one row for up to 8 tokens; each lane adds every 32nd number in
/// order, then the lanes are added along a fixed tree.
__global__ void FloatLinear(const __grid_constant__ FloatLinearTask task, int tokens) {
  LetNextStart();
  WaitForPrevious();
  const int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32, first = blockIdx.y * 8;
  if (row >= task.rows) return;
  const int element = task.kind == static_cast<int>(WeightKind::kF32) ? 4 : 2;
  const uint8_t* weights = task.weights + static_cast<size_t>(row) * task.cols * element;
  float sums[8] = {};
  for (int k = lane; k < task.cols; k += 32) {
    const float w = FloatAt(weights, task.kind, k);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (first + i < tokens) sums[i] = fmaf(w, task.x[(first + i) * task.stride + k], sums[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    float value = SumOver(sums[i]);
    const int token = first + i;
    if (lane != 0 || token >= tokens) continue;
    if (task.bias != nullptr) value += task.bias[row];
    float* y = task.y + token * task.y_stride + row;
    if (task.gate != nullptr) value *= Activate(task.relu2, task.gate[token * task.y_stride + row]);
    *y = task.add ? *y + value : value;
  }
}

}  // namespace

void LaunchEmbed(const EmbedTask& task, const Launch& launch) {
  LaunchKernel(Embed, dim3(static_cast<unsigned>(task.tokens)), kThreads, 0, launch, task);
}

void LaunchPrepare(const PrepareTask& task, int rows, const Launch& launch) {
  LaunchKernel(Prepare, dim3(static_cast<unsigned>(rows)), kPrepareThreads, 0, launch, task);
}

void LaunchFinishHeads(const FinishHeadsTask& task, int tokens, const Launch& launch) {
  const dim3 grid(static_cast<unsigned>(task.heads + 2 * task.kv_heads), static_cast<unsigned>(tokens));
  LaunchKernel(FinishHeads, grid, 32, 0, launch, task);
}

void LaunchFloatLinear(const FloatLinearTask& task, int tokens, const Launch& launch) {
  constexpr int kWarps = kThreads / 32;
  const dim3 grid(BlocksFor(static_cast<size_t>(task.rows), kWarps), BlocksFor(static_cast<size_t>(tokens), 8));
  LaunchKernel(FloatLinear, grid, kThreads, 0, launch, task, tokens);
}

void LaunchPack(const PackTask& task, cudaStream_t stream) {
  PackCodes<<<BlocksFor(task.to.code_bytes() / 4), kThreads, 0, stream>>>(task);
  Check(cudaGetLastError(), "packing weights");
  const auto scales = static_cast<size_t>(task.to.tiles) * static_cast<size_t>(task.to.groups) * kTileRows;
  PackScales<<<BlocksFor(scales), kThreads, 0, stream>>>(task);
  Check(cudaGetLastError(), "packing scales");
}

void LaunchCopyPages(uint8_t* cache, size_t layer_bytes, int layers, size_t page_bytes, const int2* pages, int count,
                     cudaStream_t stream) {
  CopyPages<<<dim3(static_cast<unsigned>(count), static_cast<unsigned>(layers)), kThreads, 0, stream>>>(cache, layer_bytes,
                                                                                                       page_bytes, pages);
  Check(cudaGetLastError(), "copying pages");
}

}  // namespace edgellm::cuda
