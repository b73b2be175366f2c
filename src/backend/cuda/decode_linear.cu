// Shapes and launches of kernels/decode_linear.cuh.
#include <algorithm>
#include <bit>

#include "backend/cuda/kernels/decode_linear.cuh"
#include "backend/cuda/launch.cuh"

namespace edgellm::cuda {
namespace {

int RoundUp(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

/// Shared memory that the kernels declare by themselves, at most.
constexpr int kStatic = 2048;

/// DecodeFormat::kSlotBytes of a matrix.
int SlotBytes(const PackedMatrix& m) {
  const int scales = m.whole_row() ? 0 : kDecodeWarps * 8 * m.strip_groups() * (m.f16_scales ? 4 : 8);
  return kDecodeWarps * kStripBytes + (m.zeros != nullptr ? 2 : 1) * scales;
}

int GridOf(const LinearTask& task, const Launch& launch) {
  const bool everywhere = task.fused && FillsDevice(task.matrix.tiles, launch.processors);
  return everywhere ? launch.processors : std::min(task.matrix.tiles, launch.processors);
}

/// The shape of a launch of `grid` blocks, and the shared memory it takes. One token's blocks leave room for another of
/// their size, so that the next kernel's can start beside them.
DecodeShape ShapeOf(const LinearTask& task, const Launch& launch, size_t* shared_bytes) {
  constexpr int kReserved = 1024, kMostSumBytes = 16 << 10;
  const PackedMatrix& m = task.matrix;
  const int tokens = task.fused ? 1 : kPanelTokens, slot_bytes = SlotBytes(m), grid = GridOf(task, launch);
  DecodeShape s{};
  s.strips = m.strips();
  s.per_strips = static_cast<uint32_t>((65536 + s.strips - 1) / s.strips);
  s.missing = s.strips * kStripBytes - m.chunks * kChunkBytes;
  s.step = kDecodeWarps % s.strips;
  const int row = s.strips * StripK(m.codes);
  s.segments = (row + kSegment - 1) / kSegment;
  const int groups = task.input.group == 0 ? 1 : s.segments * kSegment / task.input.group;
  const int codes = s.segments * 2 * (tokens == 1 ? 64 : kChunkBytes), scales = RoundUp(groups * tokens * 4, 128);
  const int sums = m.zeros != nullptr ? scales : 0;
  // The sums of the tiles of a block, or as many as there is room for: what ends, what goes on meanwhile, and a row.
  const int sections = ((m.tiles + grid - 1) / grid * s.strips + kDecodeWarps - 1) / kDecodeWarps;
  const int strip_bytes = 8 * tokens * static_cast<int>(sizeof(float2)), least = s.strips + 2 * kDecodeWarps;
  const auto room_for = std::bit_ceil(static_cast<unsigned>(std::max(least, std::min(sections * kDecodeWarps, kMostSumBytes / strip_bytes))));
  s.sums_mask = static_cast<int>(room_for) - 1;
  s.finish_sections = std::max(1, (s.sums_mask + 1 - s.strips) / (2 * kDecodeWarps));
  if (sections * kDecodeWarps <= s.sums_mask + 1) s.finish_sections = sections;
  const int rest = codes + scales + sums + (s.sums_mask + 1) * strip_bytes;
  const int whole = launch.shared_bytes - kStatic, half = (launch.shared_bytes + kReserved) / 2 - kReserved - kStatic;
  const int most = tokens == 1 && rest + slot_bytes <= half ? half : whole;
  s.slots = std::clamp((most - rest) / slot_bytes, 1, std::min(sections, kMostSlots));
  s.input = s.slots * slot_bytes;
  s.input_scales = s.input + codes;
  s.input_sums = s.input_scales + scales;
  s.sums = s.input_sums + sums;
  *shared_bytes = static_cast<size_t>(s.input + rest);
  return s;
}

template <Codes kCodes, int kGroup, bool kZeros, bool kOne>
void Run(const LinearTask& task, const Launch& launch) {
  size_t shared = 0;
  const DecodeShape shape = ShapeOf(task, launch, &shared);
  const auto kernel = DecodeLinear<kCodes, kGroup, kZeros, kOne>;
  AllowSharedMemory(kernel, shared);
  LaunchKernel(kernel, dim3(static_cast<unsigned>(GridOf(task, launch))), kDecodeThreads, shared, launch, task, shape);
}

template <Codes kCodes, int kGroup, bool kZeros = false>
void Dispatch(const LinearTask& task, const Launch& launch) {
  if (task.fused) return Run<kCodes, kGroup, kZeros, true>(task, launch);
  Run<kCodes, kGroup, kZeros, false>(task, launch);
}

template <int kGroup>
void DispatchInt4(const LinearTask& task, const Launch& launch) {
  if (task.matrix.zeros != nullptr) return Dispatch<Codes::kInt4, kGroup, true>(task, launch);
  Dispatch<Codes::kInt4, kGroup>(task, launch);
}

}  // namespace

bool FitsDecodeLinear(const LinearTask& task, const Launch& launch) {
  size_t shared = 0;
  ShapeOf(task, launch, &shared);
  return task.tokens <= kPanelTokens && shared + kStatic <= static_cast<size_t>(launch.shared_bytes);
}

void LaunchDecodeLinear(const LinearTask& task, const Launch& launch) {
  const PackedMatrix& m = task.matrix;
  switch (m.codes) {
    case Codes::kInt8:
      if (m.group == 32) return Dispatch<Codes::kInt8, 32>(task, launch);
      if (m.group == 64) return Dispatch<Codes::kInt8, 64>(task, launch);
      return Dispatch<Codes::kInt8, 128>(task, launch);
    case Codes::kInt4:
      if (m.group == 32) return DispatchInt4<32>(task, launch);
      if (m.group == 64) return DispatchInt4<64>(task, launch);
      return DispatchInt4<128>(task, launch);
    case Codes::kTernary:
      if (m.whole_row()) return Dispatch<Codes::kTernary, 0>(task, launch);
      return Dispatch<Codes::kTernary, 256>(task, launch);
  }
}

}  // namespace edgellm::cuda
