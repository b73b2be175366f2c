// y = W x for batches and prompts: blocks of 128 rows times 16 to 128 tokens. Packed weights and prepared activations go
// through a ring of stages of 128 k in shared memory; weights are unpacked on the way to the matrix units. Sums of a
// group are exact integers, groups are added in order: the same bits as kernels/token_linear.cuh.
#pragma once

#include "backend/cuda/kernels/codes.cuh"
#include "backend/cuda/kernels/output.cuh"

namespace edgellm::cuda {

inline constexpr int kPromptThreads = 256, kPromptWarps = kPromptThreads / 32;
inline constexpr int kBlockTiles = 8;  // 128 rows
inline constexpr int kStageBlocks = kStageK / kBlockK;

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
  static constexpr int kGroups = kCodes == Codes::kTernary ? 0 : 4;  // ternary has f32 scales, which come from memory
  static constexpr int kScaleBytes = 8 * kGroups * 4;                // of a tile: [g][group][2], f16
  static constexpr int kInput = kBlockTiles * kTileBytes;
  static constexpr int kScales = kInput + Form::kBlockPanels * kPanelBytes;
  static constexpr int kZeroPoints = kScales + kBlockTiles * kScaleBytes;
  static constexpr int kInputScales = kZeroPoints + (kZeros ? kBlockTiles * kScaleBytes : 0);
  static constexpr int kInputSums = kInputScales + Form::kBlockPanels * kGroups * 32;
  static constexpr int kBytes = kInputSums + (kZeros ? Form::kBlockPanels * kGroups * 32 : 0);
};

inline constexpr int kSliceStages = kSliceK / kStageK, kRing = 4;
template <Codes kCodes>
inline constexpr int kStripStages = StripK(kCodes) / kStageK;

struct PromptShape {
  int stages;          // of kStageK in a row
  int stages_of_block; // that one block takes: all, or a slice's
  float* partial;      // [slice][token][row], where blockIdx.z counts slices
};

template <Codes kCodes, typename Form, bool kZeros>
__device__ __forceinline__ void FetchWeights(const PackedMatrix& m, int tile0, int stage, uint8_t* to) {
  using S = Stage<kCodes, Form, kZeros>;
  constexpr int kPairs = kBlockTiles * 8, kChunks = kStageK / ChunkK(kCodes), kUnits = kChunks * kPairChunkBytes / 16;  // of a pair
  const int pairs = m.pairs() - tile0 * 8;
  const uint8_t* codes = m.data + static_cast<size_t>(tile0) * 8 * m.pair_bytes() + stage * kUnits * 16;
  for (int i = threadIdx.x; i < kPairs * kUnits; i += kPromptThreads) {
    const int pair = i / kUnits, unit = i % kUnits;
    if (pair >= pairs) continue;
    // In the stage a tile's chunks lie one behind the other, lane after lane.
    CopyAsync16(to + pair / 8 * S::kTileBytes + unit / 4 * kChunkBytes + pair % 8 * kPairChunkBytes + unit % 4 * 16,
                codes + static_cast<size_t>(pair) * m.pair_bytes() + unit * 16);
  }
  if constexpr (kCodes != Codes::kTernary) {
    const int groups = kStageK / m.group, bytes = groups * 4;
    const size_t first = m.scale_index(tile0 * 8, stage * groups) * 2, step = static_cast<size_t>(m.pair_scale_bytes());
    for (int pair = threadIdx.x; pair < min(kPairs, pairs); pair += kPromptThreads) {
      uint8_t* place = to + S::kScales + pair / 8 * S::kScaleBytes + pair % 8 * 16;
      CopyAsync(place, m.scales + first + pair * step, bytes);
      if (kZeros) CopyAsync(place + (S::kZeroPoints - S::kScales), m.zeros + first + pair * step, bytes);
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

/// The sums of a warp: integers of a group that is longer than a stage (kInts), floats of the strip and of the slice.
template <typename Form, bool kInts>
struct PromptSums {
  int32_t ints[kInts ? Form::kTiles : 1][kInts ? Form::kPanels : 1][4];
  float strip[Form::kTiles][Form::kPanels][4], slice[Form::kTiles][Form::kPanels][4];

  template <typename Visit>
  static __device__ __forceinline__ void ForEach(Visit visit) {
#pragma unroll
    for (int i = 0; i < Form::kTiles; ++i) {
#pragma unroll
      for (int j = 0; j < Form::kPanels; ++j) {
#pragma unroll
        for (int c = 0; c < 4; ++c) visit(i, j, c);
      }
    }
  }
  __device__ __forceinline__ void Clear() {
    ForEach([&](int i, int j, int c) {
      if (kInts) ints[i][j][c] = 0;
      strip[i][j][c] = 0;
      slice[i][j][c] = 0;
    });
  }
  __device__ __forceinline__ void EndStrip() {
    ForEach([&](int i, int j, int c) {
      slice[i][j][c] += strip[i][j][c];
      strip[i][j][c] = 0;
    });
  }
};

inline constexpr int kStageSteps = kStageK / 32;

/// The operands of a warp's tiles in a stage.
template <Codes kCodes, typename Form>
struct StageWeights {
  uint32_t a[Form::kTiles][kStageSteps][4];

  template <int kTileBytes, int kStep = 0>
  __device__ __forceinline__ void Load(const uint8_t* stage, int tile) {
    if constexpr (kStep < kStageSteps) {
      constexpr int kSub = kChunkSteps<kCodes>;
#pragma unroll
      for (int i = 0; i < Form::kTiles; ++i) {
        const uint4 w = *reinterpret_cast<const uint4*>(stage + (tile + i) * kTileBytes + kStep / kSub * kChunkBytes + threadIdx.x % 32 * 16);
        Unpack<kCodes, kStep % kSub>(w, a[i][kStep]);
      }
      Load<kTileBytes, kStep + 1>(stage, tile);
    }
  }
};

/// The inputs of one panel in a stage: two values of k a word, two words a step.
struct StageInput {
  uint4 x[kStageBlocks];
  __device__ __forceinline__ void Load(const uint8_t* panel) {
#pragma unroll
    for (int block = 0; block < kStageBlocks; ++block) {
      x[block] = *reinterpret_cast<const uint4*>(panel + block * kChunkBytes + threadIdx.x % 32 * 16);
    }
  }
  __device__ __forceinline__ uint32_t Word(int step, int i) const {
    const uint4& v = x[step / 2];
    return step % 2 == 0 ? (i == 0 ? v.x : v.y) : (i == 0 ? v.z : v.w);
  }
};

/// One stage whose groups end within it.
template <Codes kCodes, typename Form, bool kZeros, int kGroupSteps>
__device__ __forceinline__ void AddStage(PromptSums<Form, false>& sums, const uint8_t* stage, int tile, int panel) {
  using S = Stage<kCodes, Form, kZeros>;
  constexpr int kGroups = kStageSteps / kGroupSteps;
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  StageWeights<kCodes, Form> weights;
  weights.template Load<S::kTileBytes>(stage, tile);
#pragma unroll
  for (int j = 0; j < Form::kPanels; ++j) {
    StageInput in;
    in.Load(stage + S::kInput + (panel + j) * S::kPanelBytes);
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      const int at = ((panel + j) * S::kGroups + group) * 32 + t * 8;
      const float2 x = *reinterpret_cast<const float2*>(stage + S::kInputScales + at);
      int2 x_sum = {0, 0};
      if (kZeros) x_sum = *reinterpret_cast<const int2*>(stage + S::kInputSums + at);
#pragma unroll
      for (int i = 0; i < Form::kTiles; ++i) {
        int32_t d[4] = {};
#pragma unroll
        for (int s = 0; s < kGroupSteps; ++s) {
          const int step = group * kGroupSteps + s;
          MmaInt8(d, weights.a[i][step], in.Word(step, 0), in.Word(step, 1));
        }
        const int of_tile = (tile + i) * S::kScaleBytes + g * 16 + group * 4;
        const float2 w = __half22float2(*reinterpret_cast<const __half2*>(stage + S::kScales + of_tile));
        float2 zero = {0, 0};
        if (kZeros) zero = __half22float2(*reinterpret_cast<const __half2*>(stage + S::kZeroPoints + of_tile));
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          const float value = ValueOf<kCodes>(d[c], kZeros, c < 2 ? zero.x : zero.y, c % 2 ? x_sum.y : x_sum.x);
          sums.strip[i][j][c] = fmaf(value, (c < 2 ? w.x : w.y) * (c % 2 ? x.y : x.x), sums.strip[i][j][c]);
        }
      }
    }
  }
}

/// One stage of ternary codes, whose groups are longer.
template <typename Form>
__device__ __forceinline__ void AddTernaryStage(PromptSums<Form, true>& sums, const uint8_t* stage, int tile, int panel) {
  using S = Stage<Codes::kTernary, Form, false>;
  StageWeights<Codes::kTernary, Form> weights;
  weights.template Load<S::kTileBytes>(stage, tile);
#pragma unroll
  for (int j = 0; j < Form::kPanels; ++j) {
    StageInput in;
    in.Load(stage + S::kInput + (panel + j) * S::kPanelBytes);
#pragma unroll
    for (int i = 0; i < Form::kTiles; ++i) {
#pragma unroll
      for (int s = 0; s < kStageSteps; ++s) MmaInt8(sums.ints[i][j], weights.a[i][s], in.Word(s, 0), in.Word(s, 1));
    }
  }
}

/// Adds a finished group of 256 ternary codes (GGML's): its scales come from memory, one scale serves all of a token.
template <typename Form>
__device__ __forceinline__ void EndTernaryGroup(PromptSums<Form, true>& sums, const PackedMatrix& m, const PreparedInput& in, int group,
                                                int tile, int panel) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
  for (int i = 0; i < Form::kTiles; ++i) {
    float2 w = {0, 0};
    if (tile + i < m.tiles) w = *reinterpret_cast<const float2*>(reinterpret_cast<const float*>(m.scales) + m.scale_index((tile + i) * 8 + g, group));
#pragma unroll
    for (int j = 0; j < Form::kPanels; ++j) {
      const float2 x = *reinterpret_cast<const float2*>(in.scales + (panel + j) * kPanelTokens + 2 * t);
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const float value = ValueOf<Codes::kTernary>(sums.ints[i][j][c], false, 0, 0);
        sums.strip[i][j][c] = fmaf(value, (c < 2 ? w.x : w.y) * (c % 2 ? x.y : x.x), sums.strip[i][j][c]);
        sums.ints[i][j][c] = 0;
      }
    }
  }
}

/// Totals of several slices, in shared memory behind the ring: they are touched once in kSliceStages stages.
template <typename Form>
struct PromptTotals {
  static constexpr size_t kBytes = static_cast<size_t>(Form::kTiles) * Form::kPanels * 4 * kPromptThreads * sizeof(float);
  float* mine;
  __device__ __forceinline__ float& At(int i, int j, int c) const { return mine[((i * Form::kPanels + j) * 4 + c) * kPromptThreads]; }
};

template <Codes kCodes, typename Form, bool kZeros, bool kSlices>
__global__ void __launch_bounds__(kPromptThreads) PromptLinear(const __grid_constant__ LinearTask task,
                                                               const __grid_constant__ PromptShape s) {
  using S = Stage<kCodes, Form, kZeros>;
  constexpr bool kTernary = kCodes == Codes::kTernary;
  using Sums = PromptSums<Form, kTernary>;
  extern __shared__ __align__(128) uint8_t shared[];
  const PackedMatrix& m = task.matrix;
  const PreparedInput& in = task.input.out;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int tile0 = blockIdx.y * kBlockTiles, panel0 = blockIdx.x * Form::kBlockPanels;
  const int panels = (task.tokens + kPanelTokens - 1) / kPanelTokens;
  const int tile = warp / Form::kWarpsAcross * Form::kTiles, panel = warp % Form::kWarpsAcross * Form::kPanels;
  const int first = blockIdx.z * s.stages_of_block, last = min(s.stages, first + s.stages_of_block);
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

  Sums sums;
  sums.Clear();
  const PromptTotals<Form> total = {reinterpret_cast<float*>(shared + kRing * S::kBytes) + threadIdx.x};
  if (kSlices) Sums::ForEach([&](int i, int j, int c) { total.At(i, j, c) = 0; });
  int slot = 0;
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
    const uint8_t* here = shared + slot * S::kBytes;
    if constexpr (kTernary) {
      AddTernaryStage<Form>(sums, here, tile, panel);
      if (!m.whole_row() && (stage % 2 == 1 || stage + 1 == s.stages)) EndTernaryGroup(sums, m, in, stage / 2, tile0 + tile, panel0 + panel);
    } else if (m.group == 128) {
      AddStage<kCodes, Form, kZeros, 4>(sums, here, tile, panel);
    } else if (m.group == 64) {
      AddStage<kCodes, Form, kZeros, 2>(sums, here, tile, panel);
    } else {
      AddStage<kCodes, Form, kZeros, 1>(sums, here, tile, panel);
    }
    slot = (slot + 1) % kRing;
    if ((stage + 1) % kStripStages<kCodes> == 0 || stage + 1 == last) sums.EndStrip();
    if (kSlices && ((stage + 1) % kSliceStages == 0 || stage + 1 == last)) {
      Sums::ForEach([&](int i, int j, int c) {
        total.At(i, j, c) += sums.slice[i][j][c];
        sums.slice[i][j][c] = 0;
      });
    }
  }

#pragma unroll
  for (int i = 0; i < Form::kTiles; ++i) {
    const int my_tile = tile0 + tile + i;
    if (my_tile >= m.tiles) continue;
    float2 w = {1, 1};
    if (kTernary && m.whole_row()) w = reinterpret_cast<const float2*>(m.scales)[my_tile * 8 + g];
#pragma unroll
    for (int j = 0; j < Form::kPanels; ++j) {
      const int my_panel = panel0 + panel + j;
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const int token = my_panel * kPanelTokens + 2 * t + c;
        if (token >= task.tokens) continue;
        float a = kSlices ? total.At(i, j, c) : sums.slice[i][j][c], b = kSlices ? total.At(i, j, c + 2) : sums.slice[i][j][c + 2];
        if constexpr (kTernary) {
          if (m.whole_row()) {
            const float x = in.scales[static_cast<size_t>(my_panel) * in.groups * kPanelTokens + 2 * t + c];
            a = fmaf(ValueOf<kCodes>(sums.ints[i][j][c], false, 0, 0), w.x * x, 0.0f);
            b = fmaf(ValueOf<kCodes>(sums.ints[i][j][c + 2], false, 0, 0), w.y * x, 0.0f);
          }
        }
        const float factor = in.factors[my_panel * kPanelTokens + 2 * t + c];
        if (gridDim.z > 1) {
          float* to = s.partial + (static_cast<size_t>(blockIdx.z) * task.tokens + token) * (m.tiles * kTileRows) + my_tile * kTileRows + g;
          to[0] = a;
          to[8] = b;
        } else {
          Finish(task.out, task.staging, my_tile * 8 + g, token, a * factor, b * factor);
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
  const float factor = task.input.out.factors[token];
  Finish(task.out, task.staging, tile * 8 + g, token, a * factor, b * factor);
}

}  // namespace edgellm::cuda
