// Shapes and launches of kernels/decode_linear.cuh.
#include <algorithm>

#include "backend/cuda/kernels/decode_linear.cuh"
#include "backend/cuda/launch.cuh"

namespace edgellm::cuda {
namespace {


int RoundUp(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

template <Codes kCodes, int kResults, Grouping kGrouping, bool kOne>
struct Kernel {
  static DecodeShape Shape(const LinearTask& task, int grid, size_t* shared_bytes) {
    const PackedMatrix& m = task.matrix;
    DecodeShape s{};
    s.pieces = m.chunks / kPieceChunks;
    s.groups_per_slice = kGrouping == Grouping::kWhole ? 1 : kSliceK / m.group;
    s.input_blocks = s.pieces * Piece<kCodes>::kBlocks;
    s.input_groups = task.input.group == 0 ? 1 : (m.cols + task.input.group - 1) / task.input.group;
    s.scale_bytes = m.groups * 8 * (m.f16_scales ? 4 : 8);
    const int tokens = kOne ? 1 : kPanelTokens;
    const int most_pieces = kOne ? 512 : 64, most_tiles = kDecodeThreads / (8 * tokens);
    s.pieces_per_round = std::min(s.pieces, most_pieces);
    const int tiles_of_block = (m.tiles + grid - 1) / grid;
    s.tiles_per_round = s.pieces_per_round < s.pieces ? 1 : std::clamp(most_pieces / s.pieces, 1, most_tiles);
    s.tiles_per_round = std::min({s.tiles_per_round, tiles_of_block, std::max(1, (16 << 10) / s.scale_bytes)});
    s.step_pieces = kDecodeWarps % s.pieces_per_round;
    s.input_scales_offset = RoundUp(s.input_blocks * (kOne ? 64 : kChunkBytes), 128);
    s.input_sums_offset = s.input_scales_offset + RoundUp(s.input_groups * tokens * 4, 128);
    s.scales_offset = s.input_sums_offset + (m.zeros != nullptr ? RoundUp(s.input_groups * tokens * 4, 128) : 0);
    s.results_offset = s.scales_offset + RoundUp(2 * s.tiles_per_round * s.scale_bytes, 128);
    const int tile_ints = s.pieces_per_round * kResults * kResultInts<kOne>;
    *shared_bytes = static_cast<size_t>(s.results_offset) + static_cast<size_t>(s.tiles_per_round * tile_ints) * 4;
    return s;
  }

  static void Run(const LinearTask& task, const Launch& launch) {
    const int grid = std::min(task.matrix.tiles, launch.processors);
    size_t shared = 0;
    const DecodeShape shape = Shape(task, grid, &shared);
    const auto kernel = DecodeLinear<kCodes, kResults, kGrouping, kOne>;
    AllowSharedMemory(kernel, shared);
    LaunchKernel(kernel, dim3(static_cast<unsigned>(grid)), kDecodeThreads, shared, launch, task, shape);
  }
};

template <Codes kCodes, int kResults, Grouping kGrouping>
void Dispatch(const LinearTask& task, const Launch& launch) {
  if (task.fused) return Kernel<kCodes, kResults, kGrouping, true>::Run(task, launch);
  Kernel<kCodes, kResults, kGrouping, false>::Run(task, launch);
}

}  // namespace

void LaunchDecodeLinear(const LinearTask& task, const Launch& launch) {
  const PackedMatrix& m = task.matrix;
  switch (m.codes) {
    case Codes::kInt8:
      if (m.group == 32) return Dispatch<Codes::kInt8, 2, Grouping::kOne>(task, launch);
      if (m.group == 64) return Dispatch<Codes::kInt8, 1, Grouping::kOne>(task, launch);
      return Dispatch<Codes::kInt8, 1, Grouping::kTwo>(task, launch);
    case Codes::kInt4:
      if (m.group == 32) return Dispatch<Codes::kInt4, 4, Grouping::kOne>(task, launch);
      if (m.group == 64) return Dispatch<Codes::kInt4, 2, Grouping::kOne>(task, launch);
      return Dispatch<Codes::kInt4, 1, Grouping::kOne>(task, launch);
    case Codes::kTernary:
      if (m.group == 256 && m.groups > 1) return Dispatch<Codes::kTernary, 1, Grouping::kOne>(task, launch);
      return Dispatch<Codes::kTernary, 1, Grouping::kWhole>(task, launch);
  }
}

}  // namespace edgellm::cuda
