// What becomes of a finished pair of rows of a linear layer: the last instructions of every linear kernel.
#pragma once

#include "backend/cuda/kernels/ptx.cuh"
#include "backend/cuda/tasks.h"

namespace edgellm::cuda {

__device__ __forceinline__ float Activate(bool relu2, float x) {
  if (relu2) return x > 0.0f ? x * x : 0.0f;
  return x / (1.0f + expf(-x));
}

/// The place of a token's position in the cache of one head: keys, behind them values.
__device__ __forceinline__ __half* CachePlace(const LayerCache& cache, const Staging& staging, int sequence, int position,
                                              int kv_head) {
  const int page = staging.pages[static_cast<size_t>(sequence) * staging.pages_per_sequence + position / 16];
  return reinterpret_cast<__half*>(cache.base + page * cache.page_bytes) + kv_head * 32 * cache.dim;
}

__device__ __forceinline__ void StoreKey(__half* place, int position, int dim, int i, float value) {
  place[position % 16 * dim + i] = __float2half_rn(value);
}
__device__ __forceinline__ void StoreValue(__half* place, int position, int dim, int i, float value) {
  place[16 * dim + i * 16 + position % 16] = __float2half_rn(value);
}

__device__ __forceinline__ void FinishQkv(const OutputTask& out, const Staging& staging, int pair, int token, float a,
                                          float b) {
  const int half = out.head_dim / 2, local = pair / half, i = pair % half;
  if (local * out.head_dim >= out.rows) return;
  const int head = out.first_head + local;
  const int sequence = staging.sequences[token], position = staging.positions[token];
  if (sequence < 0) return;
  const int kv_head = head - out.heads;
  if (kv_head >= out.kv_heads) {  // a value
    const int which = kv_head - out.kv_heads;
    __half* place = CachePlace(out.cache, staging, sequence, position, which);
    StoreValue(place, position, out.cache.dim, i, a);
    StoreValue(place, position, out.cache.dim, i + half, b);
    return;
  }
  if (out.rotary == nullptr) {
    float* to = kv_head < 0 ? out.y + token * out.stride + head * out.head_dim
                            : out.raw_key + token * out.raw_key_stride + kv_head * out.head_dim;
    to[i] = a;
    to[i + half] = b;
    return;
  }
  const float2 turn = out.rotary[static_cast<size_t>(position) * half + i];
  const float first = a * turn.x - b * turn.y, second = b * turn.x + a * turn.y;
  if (kv_head < 0) {
    float* to = out.y + token * out.stride + head * out.head_dim;
    to[i] = first;
    to[i + half] = second;
  } else {
    __half* place = CachePlace(out.cache, staging, sequence, position, kv_head);
    StoreKey(place, position, out.cache.dim, i, first);
    StoreKey(place, position, out.cache.dim, i + half, second);
  }
}

/// a and b: slots g and g + 8 of `tile` for `token`.
__device__ __forceinline__ void Finish(const OutputTask& out, const Staging& staging, int tile, int g, int token, float a,
                                       float b) {
  const int pair = tile * 8 + g;
  if (out.bias != nullptr) {
    const float2 bias = out.bias[pair];
    a += bias.x;
    b += bias.y;
  }
  if (out.kind == Output::kQkv) return FinishQkv(out, staging, pair, token, a, b);
  float* y = out.y + token * out.stride;
  if (out.kind == Output::kGateUp) {
    if (pair < out.rows) y[pair] = Activate(out.relu2, a) * b;
    return;
  }
  const int row = tile * kTileRows + g;
  const auto put = [&](int at, float value) {
    if (at >= out.rows) return;
    if (out.kind == Output::kResidual) value += y[at];
    if (out.kind == Output::kUp) value *= Activate(out.relu2, out.other[token * out.stride + at]);
    y[at] = value;
  };
  put(row, a);
  put(row + 8, b);
}

}  // namespace edgellm::cuda
