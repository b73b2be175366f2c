// y = W x for batches and prompts: blocks of 128 rows times 16 to 128 tokens. Packed weights and prepared activations go
// through a ring of stages of 128 k in shared memory; weights are unpacked on the way to the matrix units. Sums of a
// group are exact integers, groups are added in order: the same bits as kernels/decode_linear.cuh.
#pragma once

#include "backend/cuda/kernels/codes.cuh"
#include "backend/cuda/kernels/output.cuh"

namespace edgellm::cuda {

inline constexpr int kPromptThreads = 256, kPromptWarps = kPromptThreads / 32;
inline constexpr int kBlockTiles = 8;  // 128 rows
inline constexpr int kStageK = 128, kStageBlocks = kStageK / kBlockK;

/// What one warp computes: tiles x panels, kWarpsAcross warps beside one another along the tokens.
template <int kTilesOfWarp, int kPanelsOfWarp>
struct PromptForm {
  static constexpr int kTiles = kTilesOfWarp, kPanels = kPanelsOfWarp;
  static constexpr int kWarpsDown = kBlockTiles / kTiles, kWarpsAcross = kPromptWarps / kWarpsDown;
  static constexpr int kBlockPanels = kPanels * kWarpsAcross, kTokens = kBlockPanels * kPanelTokens;
};

/// One stage of the ring, in bytes from its begin. Room for four groups of 32.
template <Codes kCodes, typename Form, bool kZeros>
struct Stage {
  static constexpr int kTileBytes = kStageK / ChunkK(kCodes) * kChunkBytes;
  static constexpr int kPanelBytes = kStageBlocks * kChunkBytes;
  static constexpr int kGroups = kCodes == Codes::kTernary ? 1 : 4;  // ternary has its scales at the end (or f32 ones, at 256)
  static constexpr int kScaleBytes = kGroups * 32;                   // of a tile, f16
  static constexpr int kInput = kBlockTiles * kTileBytes;
  static constexpr int kScales = kInput + Form::kBlockPanels * kPanelBytes;
  static constexpr int kZeroPoints = kScales + kBlockTiles * kScaleBytes;
  static constexpr int kInputScales = kZeroPoints + (kZeros ? kBlockTiles * kScaleBytes : 0);
  static constexpr int kInputSums = kInputScales + Form::kBlockPanels * kGroups * 32;
  static constexpr int kBytes = kInputSums + (kZeros ? Form::kBlockPanels * kGroups * 32 : 0);
};

struct PromptShape {
  int stages;          // of kStageK in a row
  int slice_stages;    // in a slice
  int slices_of_block; // that one block adds up; fewer than all where blockIdx.z counts them
  float* partial;      // [slice][token][row], where blockIdx.z counts slices
};

template <Codes kCodes, typename Form, bool kZeros>
__device__ __forceinline__ void FetchWeights(const PackedMatrix& m, int tile0, int stage, uint8_t* to) {
  using S = Stage<kCodes, Form, kZeros>;
  constexpr int kUnits = S::kTileBytes / 16;
  const int first_chunk = stage * (kStageK / ChunkK(kCodes));
  const int units = min(kUnits, (m.chunks - first_chunk) * (kChunkBytes / 16));
  for (int i = threadIdx.x; i < kBlockTiles * kUnits; i += kPromptThreads) {
    const int tile = i / kUnits, unit = i % kUnits;
    if (tile0 + tile >= m.tiles || unit >= units) continue;
    const size_t chunk = static_cast<size_t>(tile0 + tile) * m.chunks + first_chunk;
    CopyAsync16(to + tile * S::kTileBytes + unit * 16, m.data + chunk * kChunkBytes + unit * 16);
  }
  if constexpr (kCodes != Codes::kTernary) {
    const int stage_groups = kStageK / m.group, first = stage * stage_groups, units_of_tile = stage_groups * 2;
    const int have = min(units_of_tile, (m.groups - first) * 2);
    for (int i = threadIdx.x; i < kBlockTiles * units_of_tile; i += kPromptThreads) {
      const int tile = i / units_of_tile, unit = i % units_of_tile;
      if (tile0 + tile >= m.tiles || unit >= have) continue;
      const size_t at = (static_cast<size_t>(tile0 + tile) * m.groups + first) * 32 + unit * 16;
      CopyAsync16(to + S::kScales + tile * S::kScaleBytes + unit * 16, m.scales + at);
      if (kZeros) CopyAsync16(to + S::kZeroPoints + tile * S::kScaleBytes + unit * 16, m.zeros + at);
    }
  }
}

template <Codes kCodes, typename Form, bool kZeros>
__device__ __forceinline__ void FetchActivations(const PreparedInput& in, int group, int panels, int panel0, int stage,
                                                 uint8_t* to) {
  using S = Stage<kCodes, Form, kZeros>;
  constexpr int kUnits = S::kPanelBytes / 16;
  const int units = min(kUnits, (in.blocks - stage * kStageBlocks) * (kChunkBytes / 16));
  for (int i = threadIdx.x; i < Form::kBlockPanels * kUnits; i += kPromptThreads) {
    const int panel = i / kUnits, unit = i % kUnits;
    if (panel0 + panel >= panels || unit >= units) continue;
    const size_t block = static_cast<size_t>(panel0 + panel) * in.blocks + stage * kStageBlocks;
    CopyAsync16(to + S::kInput + panel * S::kPanelBytes + unit * 16, in.codes + block * kChunkBytes + unit * 16);
  }
  if constexpr (kCodes != Codes::kTernary) {
    const int stage_groups = kStageK / group, first = stage * stage_groups, units_of_panel = stage_groups * 2;
    const int have = min(units_of_panel, (in.groups - first) * 2);
    for (int i = threadIdx.x; i < Form::kBlockPanels * units_of_panel; i += kPromptThreads) {
      const int panel = i / units_of_panel, unit = i % units_of_panel;
      if (panel0 + panel >= panels || unit >= have) continue;
      const size_t at = (static_cast<size_t>(panel0 + panel) * in.groups + first) * kPanelTokens + unit * 4;
      CopyAsync16(to + S::kInputScales + panel * S::kGroups * 32 + unit * 16, in.scales + at);
      if (kZeros) CopyAsync16(to + S::kInputSums + panel * S::kGroups * 32 + unit * 16, in.sums + at);
    }
  }
}

/// The sums of a warp: exact integers of the group, floats of the slice.
template <typename Form>
struct PromptSums {
  int32_t ints[Form::kTiles][Form::kPanels][4];
  float slice[Form::kTiles][Form::kPanels][4];

  __device__ __forceinline__ void Clear() {
#pragma unroll
    for (int i = 0; i < Form::kTiles; ++i) {
#pragma unroll
      for (int j = 0; j < Form::kPanels; ++j) {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          ints[i][j][c] = 0;
          slice[i][j][c] = 0;
        }
      }
    }
  }
};

template <Codes kCodes, typename Form, int kStep>
__device__ __forceinline__ void PromptStep(PromptSums<Form>& sums, const uint4 (&w)[Form::kTiles],
                                           const uint32_t (&b)[Form::kPanels][2]) {
#pragma unroll
  for (int i = 0; i < Form::kTiles; ++i) {
    uint32_t a[4];
    Unpack<kCodes, kStep>(w[i], a);
#pragma unroll
    for (int j = 0; j < Form::kPanels; ++j) MmaInt8(sums.ints[i][j], a, b[j][0], b[j][1]);
  }
}

/// Adds the finished group to the slice.
template <Codes kCodes, typename Form, bool kZeros>
__device__ __forceinline__ void EndGroup(PromptSums<Form>& sums, const uint8_t* stage, int group, int tile, int panel) {
  using S = Stage<kCodes, Form, kZeros>;
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  float2 w[Form::kTiles], zero[Form::kTiles] = {};
#pragma unroll
  for (int i = 0; i < Form::kTiles; ++i) {
    const int at = (tile + i) * S::kScaleBytes + group * 32 + g * 4;
    w[i] = __half22float2(*reinterpret_cast<const __half2*>(stage + S::kScales + at));
    if (kZeros) zero[i] = __half22float2(*reinterpret_cast<const __half2*>(stage + S::kZeroPoints + at));
  }
#pragma unroll
  for (int j = 0; j < Form::kPanels; ++j) {
    const int at = ((panel + j) * S::kGroups + group) * 32 + t * 8;
    const float2 x = *reinterpret_cast<const float2*>(stage + S::kInputScales + at);
    int2 x_sum = {0, 0};
    if (kZeros) x_sum = *reinterpret_cast<const int2*>(stage + S::kInputSums + at);
#pragma unroll
    for (int i = 0; i < Form::kTiles; ++i) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const float value = ValueOf<kCodes>(sums.ints[i][j][c], kZeros, c < 2 ? zero[i].x : zero[i].y, c % 2 ? x_sum.y : x_sum.x);
        sums.slice[i][j][c] = fmaf(value, (c < 2 ? w[i].x : w[i].y) * (c % 2 ? x.y : x.x), sums.slice[i][j][c]);
        sums.ints[i][j][c] = 0;
      }
    }
  }
}

/// Adds a finished group of 256 ternary codes (GGML's): its scales come from memory, one scale serves all of a token.
template <typename Form>
__device__ __forceinline__ void EndTernaryGroup(PromptSums<Form>& sums, const PackedMatrix& m, const PreparedInput& in, int group,
                                                int tile, int panel) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
  for (int i = 0; i < Form::kTiles; ++i) {
    float2 w = {0, 0};
    if (tile + i < m.tiles) w = reinterpret_cast<const float2*>(m.scales)[(static_cast<size_t>(tile + i) * m.groups + group) * 8 + g];
#pragma unroll
    for (int j = 0; j < Form::kPanels; ++j) {
      const float2 x = *reinterpret_cast<const float2*>(in.scales + (panel + j) * kPanelTokens + 2 * t);
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const float value = ValueOf<Codes::kTernary>(sums.ints[i][j][c], false, 0, 0);
        sums.slice[i][j][c] = fmaf(value, (c < 2 ? w.x : w.y) * (c % 2 ? x.y : x.x), sums.slice[i][j][c]);
        sums.ints[i][j][c] = 0;
      }
    }
  }
}

template <Codes kCodes, typename Form, bool kZeros, int kStep = 0>
__device__ __forceinline__ void PromptStage(PromptSums<Form>& sums, const uint8_t* stage, int group_steps, int steps, int tile,
                                            int panel) {
  using S = Stage<kCodes, Form, kZeros>;
  constexpr int kSteps = kStageK / 32;
  if constexpr (kStep < kSteps) {
    if (kStep >= steps) {
      // The row ends within the stage, and with it its last group.
      if (kCodes != Codes::kTernary && kStep % group_steps != 0) EndGroup<kCodes, Form, kZeros>(sums, stage, kStep / group_steps, tile, panel);
      return;
    }
    const int lane = threadIdx.x % 32;
    uint4 w[Form::kTiles];
    uint32_t b[Form::kPanels][2];
#pragma unroll
    for (int i = 0; i < Form::kTiles; ++i) {
      w[i] = *reinterpret_cast<const uint4*>(stage + (tile + i) * S::kTileBytes + kStep / kChunkSteps<kCodes> * kChunkBytes + lane * 16);
    }
#pragma unroll
    for (int j = 0; j < Form::kPanels; ++j) {
      const uint2 x = *reinterpret_cast<const uint2*>(stage + S::kInput + (panel + j) * S::kPanelBytes + kStep / 2 * kChunkBytes +
                                                      lane * 16 + kStep % 2 * 8);
      b[j][0] = x.x;
      b[j][1] = x.y;
    }
    PromptStep<kCodes, Form, kStep % kChunkSteps<kCodes>>(sums, w, b);
    if (kCodes != Codes::kTernary && (kStep + 1) % group_steps == 0) {
      EndGroup<kCodes, Form, kZeros>(sums, stage, kStep / group_steps, tile, panel);
    }
    PromptStage<kCodes, Form, kZeros, kStep + 1>(sums, stage, group_steps, steps, tile, panel);
  }
}

template <Codes kCodes, typename Form, bool kZeros, bool kSlices>
__global__ void __launch_bounds__(kPromptThreads) PromptLinear(const __grid_constant__ LinearTask task,
                                                               const __grid_constant__ PromptShape s) {
  using S = Stage<kCodes, Form, kZeros>;
  constexpr int kRing = 4;
  extern __shared__ __align__(128) uint8_t shared[];
  const PackedMatrix& m = task.matrix;
  const PreparedInput& in = task.input.out;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int tile0 = blockIdx.y * kBlockTiles, panel0 = blockIdx.x * Form::kBlockPanels;
  const int panels = (task.tokens + kPanelTokens - 1) / kPanelTokens;
  const int tile = warp / Form::kWarpsAcross * Form::kTiles, panel = warp % Form::kWarpsAcross * Form::kPanels;
  const int first = blockIdx.z * s.slice_stages;
  const int last = min(s.stages, first + s.slice_stages * s.slices_of_block);
  const int group_steps = kCodes == Codes::kTernary ? 1 : m.group / 32;
  const int input_group = task.input.group;
  LetNextStart();
#pragma unroll
  for (int i = 0; i < kRing - 1; ++i) {
    if (first + i < last) FetchWeights<kCodes, Form, kZeros>(m, tile0, first + i, shared + i * S::kBytes);
  }
  WaitForPrevious();
#pragma unroll
  for (int i = 0; i < kRing - 1; ++i) {
    if (first + i < last) FetchActivations<kCodes, Form, kZeros>(in, input_group, panels, panel0, first + i, shared + i * S::kBytes);
    CopyCommit();  // the first of these holds all weights so far: it is waited for first anyway
  }

  PromptSums<Form> sums;
  sums.Clear();
  float total[kSlices ? Form::kTiles : 1][kSlices ? Form::kPanels : 1][4] = {};
  int slot = 0, in_slice = 0;
  for (int stage = first; stage < last; ++stage) {
    CopyWait<kRing - 2>();
    __syncthreads();
    const int next = stage + kRing - 1;
    if (next < last) {
      uint8_t* to = shared + (slot + kRing - 1) % kRing * S::kBytes;
      FetchWeights<kCodes, Form, kZeros>(m, tile0, next, to);
      FetchActivations<kCodes, Form, kZeros>(in, input_group, panels, panel0, next, to);
    }
    CopyCommit();
    const int steps = (min(kStageK, m.cols - stage * kStageK) + 31) / 32;
    PromptStage<kCodes, Form, kZeros>(sums, shared + slot * S::kBytes, group_steps, steps, tile, panel);
    slot = (slot + 1) % kRing;
    if (kCodes == Codes::kTernary && m.group < m.cols && (stage % 2 == 1 || stage + 1 == s.stages)) {
      EndTernaryGroup(sums, m, in, stage / 2, tile0 + tile, panel0 + panel);
    }
    if (kSlices && ++in_slice == s.slice_stages) {
      in_slice = 0;
#pragma unroll
      for (int i = 0; i < Form::kTiles; ++i) {
#pragma unroll
        for (int j = 0; j < Form::kPanels; ++j) {
#pragma unroll
          for (int c = 0; c < 4; ++c) {
            total[i][j][c] += sums.slice[i][j][c];
            sums.slice[i][j][c] = 0;
          }
        }
      }
    }
  }

#pragma unroll
  for (int i = 0; i < Form::kTiles; ++i) {
    const int my_tile = tile0 + tile + i;
    if (my_tile >= m.tiles) continue;
    float2 w = {1, 1};
    const bool one_group = kCodes == Codes::kTernary && m.group >= m.cols;
    if (one_group) w = reinterpret_cast<const float2*>(m.scales)[my_tile * 8 + g];
#pragma unroll
    for (int j = 0; j < Form::kPanels; ++j) {
      const int my_panel = panel0 + panel + j;
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const int token = my_panel * kPanelTokens + 2 * t + c;
        if (token >= task.tokens) continue;
        float a = sums.slice[i][j][c], b = sums.slice[i][j][c + 2];
        if (one_group) {
          const float x = in.scales[static_cast<size_t>(my_panel) * in.groups * kPanelTokens + 2 * t + c];
          a = fmaf(ValueOf<kCodes>(sums.ints[i][j][c], false, 0, 0), w.x * x, 0.0f);
          b = fmaf(ValueOf<kCodes>(sums.ints[i][j][c + 2], false, 0, 0), w.y * x, 0.0f);
        }
        if (kSlices) {
          a = total[i][j][c] + a;
          b = total[i][j][c + 2] + b;
        } else {
          a = 0.0f + a;
          b = 0.0f + b;
        }
        if (gridDim.z > 1) {
          float* to = s.partial + (static_cast<size_t>(blockIdx.z) * task.tokens + token) * (m.tiles * kTileRows) + my_tile * kTileRows + g;
          to[0] = a;
          to[8] = b;
        } else {
          Finish(task.out, task.staging, my_tile, g, token, a, b);
        }
      }
    }
  }
}

/// Adds the slices of a row in order and finishes it.
__global__ void AddSlices(const __grid_constant__ LinearTask task, const float* partial, int slices) {
  LetNextStart();
  WaitForPrevious();
  const int index = blockIdx.x * blockDim.x + threadIdx.x, token = blockIdx.y;
  if (index >= task.matrix.tiles * 8) return;
  const int tile = index / 8, g = index % 8, width = task.matrix.tiles * kTileRows;
  float a = 0, b = 0;
  for (int slice = 0; slice < slices; ++slice) {
    const float* from = partial + (static_cast<size_t>(slice) * task.tokens + token) * width + tile * kTileRows + g;
    a += from[0];
    b += from[8];
  }
  Finish(task.out, task.staging, tile, g, token, a, b);
}

}  // namespace edgellm::cuda
