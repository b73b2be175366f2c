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

/// What a kernel may know of the output before it runs, so that it has code for nothing else.
enum class OutputClass { kAny, kRows, kQkv, kGateUp };  // kRows: kStore, kResidual
template <OutputClass kClass>
__device__ __forceinline__ Output KindOf(const OutputTask& out) {
  if (kClass == OutputClass::kQkv) return Output::kQkv;
  if (kClass == OutputClass::kGateUp) return Output::kGateUp;
  if (kClass == OutputClass::kRows) return out.kind == Output::kResidual ? Output::kResidual : Output::kStore;
  return out.kind;
}
/// What finishing a pair of rows needs besides their sums, and is on the device before the forward begins, so that it can
/// be loaded while earlier kernels run.
struct FinishInput {
  float2 bias = {0, 0};
  float2 turn = {1, 0};    // kQkv: cosine and sine
  __half* place = nullptr;  // kQkv: the head's page
  int head = 0, i = 0, position = 0;
  bool skip = false;
};

template <OutputClass kClass = OutputClass::kAny>
__device__ __forceinline__ FinishInput LoadFinish(const OutputTask& out, const Staging& staging, int pair, int token) {
  FinishInput in;
  if (out.bias != nullptr) in.bias = out.bias[pair];
  if (KindOf<kClass>(out) != Output::kQkv) return in;
  const int half = out.head_dim / 2, local = pair / half;
  in.i = pair - local * half;
  in.head = out.first_head + local;
  const int sequence = staging.sequences[token];
  in.position = staging.positions[token];
  in.skip = sequence < 0 || local * out.head_dim >= out.rows;
  if (in.skip) return in;
  const int kv_head = in.head - out.heads;
  if (out.rotary != nullptr) in.turn = out.rotary[static_cast<size_t>(in.position) * half + in.i];
  if (kv_head >= 0) {
    in.place = CachePlace(out.cache, staging, sequence, in.position, kv_head < out.kv_heads ? kv_head : kv_head - out.kv_heads);
  }
  return in;
}

/// What earlier kernels of this forward have left: for kResidual y, for kUp the gate. Only after WaitForPrevious.
template <OutputClass kClass = OutputClass::kAny>
__device__ __forceinline__ float2 LoadOld(const OutputTask& out, int pair, int token) {
  float2 old = {0, 0};
  const Output kind = KindOf<kClass>(out);
  const float* from = kind == Output::kResidual ? out.y : kind == Output::kUp ? out.other : nullptr;
  if (from == nullptr) return old;
  const int row = FirstRow(pair);
  from += token * out.stride + row;
  if (row < out.rows) old.x = __ldcg(from);
  if (row + 8 < out.rows) old.y = __ldcg(from + 8);
  return old;
}

__device__ __forceinline__ void FinishQkv(const FinishInput& in, const OutputTask& out, int token, float a, float b) {
  if (in.skip) return;
  const int half = out.head_dim / 2, kv_head = in.head - out.heads;
  if (kv_head >= out.kv_heads) {  // a value
    StoreValue(in.place, in.position, out.cache.dim, in.i, a);
    StoreValue(in.place, in.position, out.cache.dim, in.i + half, b);
    return;
  }
  if (out.rotary == nullptr) {
    float* to = kv_head < 0 ? out.y + token * out.stride + in.head * out.head_dim
                            : out.raw_key + token * out.raw_key_stride + kv_head * out.head_dim;
    to[in.i] = a;
    to[in.i + half] = b;
    return;
  }
  const float first = a * in.turn.x - b * in.turn.y, second = b * in.turn.x + a * in.turn.y;
  if (kv_head < 0) {
    float* to = out.y + token * out.stride + in.head * out.head_dim;
    to[in.i] = first;
    to[in.i + half] = second;
  } else {
    StoreKey(in.place, in.position, out.cache.dim, in.i, first);
    StoreKey(in.place, in.position, out.cache.dim, in.i + half, second);
  }
}

/// a and b: the sums of the rows of `pair` for `token`.
template <OutputClass kClass = OutputClass::kAny>
__device__ __forceinline__ void Finish(const FinishInput& in, float2 old, const OutputTask& out, int pair, int token, float a, float b) {
  const Output kind = KindOf<kClass>(out);
  a += in.bias.x;
  b += in.bias.y;
  if (kind == Output::kQkv) return FinishQkv(in, out, token, a, b);
  float* y = out.y + token * out.stride;
  if (kind == Output::kGateUp) {
    if (pair < out.rows) y[pair] = Activate(out.relu2, a) * b;
    return;
  }
  const int row = FirstRow(pair);
  if (kind == Output::kResidual) {
    a += old.x;
    b += old.y;
  } else if (kind == Output::kUp) {
    a *= Activate(out.relu2, old.x);
    b *= Activate(out.relu2, old.y);
  }
  if (row < out.rows) y[row] = a;
  if (row + 8 < out.rows) y[row + 8] = b;
}

/// All of it at once.
__device__ __forceinline__ void Finish(const OutputTask& out, const Staging& staging, int pair, int token, float a, float b) {
  Finish(LoadFinish(out, staging, pair, token), LoadOld(out, pair, token), out, pair, token, a, b);
}

}  // namespace edgellm::cuda
