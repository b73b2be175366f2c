// Shapes and launches of kernels/prompt_linear.cuh.
#include <algorithm>

#include "backend/cuda/kernels/prompt_linear.cuh"
#include "backend/cuda/launch.cuh"

namespace edgellm::cuda {
namespace {

template <Codes kCodes, typename Form, bool kZeros, bool kSlices>
void Start(const LinearTask& task, const PromptShape& shape, int grid_slices, const Launch& launch) {
  constexpr size_t kShared = kRing * Stage<kCodes, Form, kZeros>::kBytes + (kSlices ? PromptTotals<Form>::kBytes : 0);
  const auto kernel = PromptLinear<kCodes, Form, kZeros, kSlices>;
  AllowSharedMemory(kernel, kShared);
  const dim3 grid(static_cast<unsigned>(DivideUp(task.tokens, Form::kTokens)),
                  static_cast<unsigned>(DivideUp(task.matrix.tiles, kBlockTiles)), static_cast<unsigned>(grid_slices));
  LaunchKernel(kernel, grid, kPromptThreads, kShared, launch, task, shape);
}

template <Codes kCodes, typename Form, bool kZeros>
void Run(const LinearTask& task, float* partial, const Launch& launch) {
  const PackedMatrix& m = task.matrix;
  PromptShape shape{};
  shape.stages = DivideUp(m.chunks * ChunkK(kCodes), kStageK);
  // Where a row is one group, its integers are exact, whatever the order.
  const int slices = m.whole_row() ? 1 : DivideUp(shape.stages, kSliceStages);
  shape.stages_of_block = shape.stages;
  shape.partial = partial;
  const int blocks = DivideUp(task.tokens, Form::kTokens) * DivideUp(m.tiles, kBlockTiles);
  if (slices > 1 && partial != nullptr && blocks < launch.processors) {
    shape.stages_of_block = kSliceStages;
    Start<kCodes, Form, kZeros, false>(task, shape, slices, launch);
    constexpr int kThreads = 128;
    const dim3 grid(static_cast<unsigned>(DivideUp(m.tiles * 8, kThreads)), static_cast<unsigned>(task.tokens));
    LaunchKernel(AddSlices, grid, kThreads, 0, launch, task, static_cast<const float*>(partial), slices);
    return;
  }
  if (slices > 1) return Start<kCodes, Form, kZeros, true>(task, shape, 1, launch);
  Start<kCodes, Form, kZeros, false>(task, shape, 1, launch);
}

template <Codes kCodes, bool kZeros>
void Dispatch(const LinearTask& task, float* partial, const Launch& launch) {
  if (task.tokens <= 16) return Run<kCodes, PromptForm<1, 2>, kZeros>(task, partial, launch);
  if (task.tokens <= 32) return Run<kCodes, PromptForm<1, 4>, kZeros>(task, partial, launch);
  if (task.tokens <= 64) return Run<kCodes, PromptForm<1, 8>, kZeros>(task, partial, launch);
  Run<kCodes, PromptForm<2, 8>, kZeros>(task, partial, launch);
}

}  // namespace

void LaunchPromptLinear(const LinearTask& task, float* partial, const Launch& launch) {
  switch (task.matrix.codes) {
    case Codes::kInt8:
      return Dispatch<Codes::kInt8, false>(task, partial, launch);
    case Codes::kInt4:
      if (task.matrix.zeros != nullptr) return Dispatch<Codes::kInt4, true>(task, partial, launch);
      return Dispatch<Codes::kInt4, false>(task, partial, launch);
    case Codes::kTernary:
      return Dispatch<Codes::kTernary, false>(task, partial, launch);
  }
}

}  // namespace edgellm::cuda
