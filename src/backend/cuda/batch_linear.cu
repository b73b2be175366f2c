// Shapes and launches of kernels/batch_linear.cuh.
#include <algorithm>

#include "backend/cuda/kernels/batch_linear.cuh"
#include "backend/cuda/launch.cuh"

namespace edgellm::cuda {
namespace {

/// The shape of a launch, and the shared memory it takes.
BatchShape ShapeOf(const PackedMatrix& m, const Launch& launch, size_t* shared_bytes) {
  constexpr int kStatic = 1024, kPadding = 64;  // so that the pairs of a fragment lie in different banks
  BatchShape s{};
  s.stages = DivideUp(m.cols, kStageK);
  s.strips = m.strips();
  s.section_strips = std::min(s.strips, kBatchWarps);
  s.parts = DivideUp(s.strips, s.section_strips);
  s.section_tiles = s.parts > 1 ? 1 : kBatchWarps / s.section_strips;
  s.pair_bytes = m.pair_bytes();
  s.pair_scales = m.pair_scale_bytes();
  s.pair_step = s.section_strips * kStripPairBytes + kPadding;
  const int strip_scales = m.whole_row() ? 0 : StripK(m.codes) / m.group * 2 * m.scale_bytes();
  s.scale_step = RoundUp(s.section_strips * strip_scales, 16);
  const int pairs = s.section_tiles * 8, planes = m.zeros != nullptr ? 2 : 1;
  s.slot_scales = pairs * s.pair_step;
  s.slot_zeros = s.slot_scales + pairs * s.scale_step;
  s.slot_bytes = s.slot_scales + planes * pairs * s.scale_step;
  s.blocks = s.strips * (StripK(m.codes) / kBlockK);
  const int groups = m.codes == Codes::kTernary ? 1 : s.blocks * kBlockK / m.group;
  const int codes = s.blocks * kChunkBytes, scales = RoundUp(groups * kPanelTokens * 4, 128);
  const int sums = std::max(s.section_tiles * s.section_strips, s.strips) * kPairs * static_cast<int>(sizeof(float2));
  const int rest = codes + planes * scales + sums;
  s.slots = std::clamp((launch.shared_bytes - kStatic - rest) / s.slot_bytes, 1, kMostBatchSlots);
  s.input = RoundUp(s.slots * s.slot_bytes, 128);
  s.input_scales = s.input + codes;
  s.input_sums = s.input_scales + scales;
  s.sums = s.input_scales + planes * scales;
  *shared_bytes = static_cast<size_t>(s.input + rest);
  return s;
}

template <Codes kCodes, int kGroup, bool kZeros = false>
void Run(const LinearTask& task, const Launch& launch) {
  size_t shared = 0;
  const BatchShape shape = ShapeOf(task.matrix, launch, &shared);
  const auto kernel = BatchLinear<kCodes, kGroup, kZeros>;
  AllowSharedMemory(kernel, shared);
  const int grid = std::min(task.matrix.tiles, launch.processors);
  LaunchKernel(kernel, dim3(static_cast<unsigned>(grid)), kBatchThreads, shared, launch, task, shape);
}

template <int kGroup>
void RunInt4(const LinearTask& task, const Launch& launch) {
  if (task.matrix.zeros != nullptr) return Run<Codes::kInt4, kGroup, true>(task, launch);
  Run<Codes::kInt4, kGroup>(task, launch);
}

}  // namespace

bool FitsBatchLinear(const PackedMatrix& matrix, const Launch& launch) {
  size_t shared = 0;
  ShapeOf(matrix, launch, &shared);
  return shared + 1024 <= static_cast<size_t>(launch.shared_bytes);
}

void LaunchBatchLinear(const LinearTask& task, const Launch& launch) {
  const PackedMatrix& m = task.matrix;
  switch (m.codes) {
    case Codes::kInt8:
      if (m.group == 32) return Run<Codes::kInt8, 32>(task, launch);
      if (m.group == 64) return Run<Codes::kInt8, 64>(task, launch);
      return Run<Codes::kInt8, 128>(task, launch);
    case Codes::kInt4:
      if (m.group == 32) return RunInt4<32>(task, launch);
      if (m.group == 64) return RunInt4<64>(task, launch);
      return RunInt4<128>(task, launch);
    case Codes::kTernary:
      if (m.whole_row()) return Run<Codes::kTernary, 0>(task, launch);
      return Run<Codes::kTernary, 256>(task, launch);
  }
}

}  // namespace edgellm::cuda
