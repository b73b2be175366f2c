// Shapes and launches of kernels/token_linear.cuh.
#include <algorithm>

#include "backend/cuda/kernels/token_linear.cuh"
#include "backend/cuda/launch.cuh"

namespace edgellm::cuda {
namespace {

/// Every multiprocessor has a block, if need be one without rows: else the next kernel's blocks would find two places on
/// one and none on another, and a forward waits for the slowest.
int GridOf(const Launch& launch) { return launch.processors; }

/// The shape of a launch, and the shared memory it takes: at most half of a multiprocessor's, so that the next kernel's
/// blocks can start beside these. Where pairs are large there are fewer teams, so that each has two under way or more.
TokenShape ShapeOf(const PackedMatrix& m, const Launch& launch, size_t* shared_bytes) {
  constexpr int kReserved = 1024, kStatic = 4096;
  TokenShape s{};
  s.stages = DivideUp(m.cols, kStageK);
  s.slices = DivideUp(s.stages, kSliceOfStages);
  s.pair_bytes = m.pair_bytes();
  s.pair_scales = m.pair_scale_bytes();
  const int planes = m.zeros != nullptr ? 2 : 1, most = DivideUp(m.pairs(), GridOf(launch));
  s.slot_scales = s.pair_bytes;
  s.slot_zeros = s.slot_scales + s.pair_scales;
  s.slot_bytes = s.pair_bytes + planes * s.pair_scales;
  const int codes = s.stages * kStageK, scales = RoundUp(s.stages * (kStageK / 32) * 4, 128);
  const int sums = s.slices > 1 ? most * s.slices * static_cast<int>(sizeof(float2)) : 0;
  const int rest = codes + planes * scales + sums;
  const int half = (launch.shared_bytes + kReserved) / 2 - kReserved - kStatic, whole = launch.shared_bytes - kStatic;
  const int slots = std::max(half - rest >= 2 * s.slot_bytes ? half - rest : whole - rest, 0) / s.slot_bytes;
  s.teams = std::clamp(slots / 2, 1, std::min(kTokenWarps / s.slices, most));
  s.depth = std::clamp(slots / s.teams, 1, std::min(kMostDepth, DivideUp(most, s.teams)));
  s.input = RoundUp(s.depth * s.teams * s.slot_bytes, 128);
  s.input_scales = s.input + codes;
  s.input_sums = s.input_scales + scales;
  s.sums = s.input_scales + planes * scales;
  *shared_bytes = static_cast<size_t>(s.input + rest);
  return s;
}

template <Codes kCodes, int kGroup, bool kZeros, bool kLong, OutputClass kClass>
void Run(const LinearTask& task, const Launch& launch) {
  size_t shared = 0;
  const TokenShape shape = ShapeOf(task.matrix, launch, &shared);
  const auto kernel = TokenLinear<kCodes, kGroup, kZeros, kLong, kClass>;
  AllowSharedMemory(kernel, shared);
  LaunchKernel(kernel, dim3(static_cast<unsigned>(GridOf(launch))), kTokenThreads, shared, launch, task, shape);
}

template <Codes kCodes, int kGroup, bool kZeros, OutputClass kClass>
void ByLength(const LinearTask& task, const Launch& launch) {
  if (task.matrix.cols > kSliceK) return Run<kCodes, kGroup, kZeros, true, kClass>(task, launch);
  Run<kCodes, kGroup, kZeros, false, kClass>(task, launch);
}

/// The formats that most models have get kernels for each output: the less code, the sooner it is there.
template <Codes kCodes, int kGroup>
void ByOutput(const LinearTask& task, const Launch& launch) {
  switch (task.out.kind) {
    case Output::kQkv:
      return ByLength<kCodes, kGroup, false, OutputClass::kQkv>(task, launch);
    case Output::kGateUp:
      return ByLength<kCodes, kGroup, false, OutputClass::kGateUp>(task, launch);
    case Output::kStore:
    case Output::kResidual:
      return ByLength<kCodes, kGroup, false, OutputClass::kRows>(task, launch);
    case Output::kUp:
      return ByLength<kCodes, kGroup, false, OutputClass::kAny>(task, launch);
  }
}
template <Codes kCodes, int kGroup, bool kZeros = false>
void AnyOutput(const LinearTask& task, const Launch& launch) {
  ByLength<kCodes, kGroup, kZeros, OutputClass::kAny>(task, launch);
}

}  // namespace

bool FitsTokenLinear(const PackedMatrix& matrix, const Launch& launch) {
  size_t shared = 0;
  ShapeOf(matrix, launch, &shared);
  return shared + sizeof(PrepareScratch) + 1024 <= static_cast<size_t>(launch.shared_bytes);
}

void LaunchTokenLinear(const LinearTask& task, const Launch& launch) {
  const PackedMatrix& m = task.matrix;
  switch (m.codes) {
    case Codes::kInt8:
      if (m.group == 32) return AnyOutput<Codes::kInt8, 32>(task, launch);
      if (m.group == 64) return AnyOutput<Codes::kInt8, 64>(task, launch);
      return ByOutput<Codes::kInt8, 128>(task, launch);
    case Codes::kInt4:
      if (m.zeros != nullptr) {
        if (m.group == 32) return AnyOutput<Codes::kInt4, 32, true>(task, launch);
        if (m.group == 64) return AnyOutput<Codes::kInt4, 64, true>(task, launch);
        return AnyOutput<Codes::kInt4, 128, true>(task, launch);
      }
      if (m.group == 32) return AnyOutput<Codes::kInt4, 32>(task, launch);
      if (m.group == 64) return AnyOutput<Codes::kInt4, 64>(task, launch);
      return ByOutput<Codes::kInt4, 128>(task, launch);
    case Codes::kTernary:
      if (m.whole_row()) return ByOutput<Codes::kTernary, 0>(task, launch);
      return AnyOutput<Codes::kTernary, 256>(task, launch);
  }
}

}  // namespace edgellm::cuda
