// See packing.h.
#include "backend/cpu/packing.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "quant/activation.h"
#include "quant/codec.h"

namespace edgellm::cpu {
namespace {

static_assert(kSmallestGroup == kSmallestActivation, "the kernels keep a copy because they include nothing");

/// Planes in a line: how many times 4 values of a row one 64-byte line holds.
int64_t Planes(Packing packing) {
  switch (packing) {
    case Packing::kInt4:
    case Packing::kInt4Zero:
      return 2;
    case Packing::kTernary:
      return 4;
    case Packing::kTernaryDense:
      return 5;
    default:
      return 1;
  }
}

struct RowRange {
  int64_t first, last;
};

template <typename Element>
void PackFloats(const WeightView& view, RowRange rows, uint8_t* codes) {
  Element* out = reinterpret_cast<Element*>(codes);
  for (int64_t row = rows.first; row < rows.last; ++row) {
    const Element* in = reinterpret_cast<const Element*>(view.RowCodes(row));
    Element* lane = out + row / kLanes * view.cols * kLanes + row % kLanes;
    for (int64_t k = 0; k < view.cols; ++k) std::memcpy(lane + k * kLanes, in + k, sizeof(Element));
  }
}

/// Codes as unsigned numbers: -1..1 becomes 0..2.
std::vector<uint8_t> RowCodes(const WeightView& view, int64_t row) {
  std::vector<int8_t> codes(static_cast<size_t>(view.cols));
  DecodeCodes(view, row, codes);
  const int lift = view.format.kind == WeightKind::kTernary ? 1 : 0;
  std::vector<uint8_t> lifted;
  lifted.reserve(codes.size());
  for (const int8_t code : codes) lifted.push_back(static_cast<uint8_t>(code + lift));
  return lifted;
}

void PackPlanes(const WeightView& view, const PackedMatrix& m, RowRange rows, uint8_t* codes) {
  const int64_t planes = Planes(m.packing);
  const int bits = 8 / static_cast<int>(planes);
  for (int64_t row = rows.first; row < rows.last; ++row) {
    const std::vector<uint8_t> row_codes = RowCodes(view, row);
    uint8_t* tile = codes + row / kLanes * m.blocks * 64 + row % kLanes * 4;
    for (int64_t k = 0; k < view.cols; ++k) {
      const int64_t block = k / (4 * planes), within = k % (4 * planes);
      tile[block * 64 + within % 4] |=
          static_cast<uint8_t>(row_codes[static_cast<size_t>(k)] << (static_cast<int>(within / 4) * bits));
    }
  }
}

/// Lines that each group begins anew.
int64_t DenseLinesOfGroup(int64_t values) {
  return (values + 19) / 20;
}

void PackDense(const WeightView& view, const PackedMatrix& m, RowRange rows, uint8_t* codes) {
  constexpr int kPlaces[] = {1, 3, 9, 29, 85};  // kernels/ternary.h
  for (int64_t row = rows.first; row < rows.last; ++row) {
    const std::vector<uint8_t> row_codes = RowCodes(view, row);
    uint8_t* tile = codes + row / kLanes * m.blocks * 64 + row % kLanes * 4;
    for (int64_t k = 0; k < view.cols; ++k) {
      const int64_t in_group = k % m.group, within = in_group % 20;
      const int64_t block = k / m.group * DenseLinesOfGroup(m.group) + in_group / 20;
      tile[block * 64 + within % 4] =
          static_cast<uint8_t>(tile[block * 64 + within % 4] + row_codes[static_cast<size_t>(k)] * kPlaces[within / 4]);
    }
  }
}

void PackTables(const WeightView& view, const PackedMatrix& m, RowRange rows, uint8_t* codes) {
  const int64_t row_blocks = (m.tiles + kTablesTiles - 1) / kTablesTiles;
  for (int64_t row = rows.first; row < rows.last; ++row) {
    const std::vector<uint8_t> row_codes = RowCodes(view, row);
    const int64_t tile = row / kLanes, within = row % kLanes * kTablesTiles + tile % kTablesTiles;
    for (int64_t part = 0; part < m.blocks; part += kTableFours) {
      const int64_t part_fours = std::min<int64_t>(kTableFours, m.blocks - part);
      uint8_t* bytes = codes + (part * row_blocks + tile / kTablesTiles * part_fours) * 64 + within;
      for (int64_t k = 4 * part; k < std::min(view.cols, 4 * (part + part_fours)); ++k) {
        bytes[(k / 4 - part) * 64] |= static_cast<uint8_t>(row_codes[static_cast<size_t>(k)] << 2 * (k % 4));
      }
    }
  }
}

void PackScales(const WeightView& view, const PackedMatrix& m, RowRange rows, uint8_t* scales, uint8_t* zeros) {
  const size_t bytes = view.format.ScaleBytes();
  for (int64_t row = rows.first; row < rows.last; ++row) {
    for (int64_t g = 0; g < m.groups; ++g) {
      const size_t to = static_cast<size_t>((row / kLanes * m.groups + g) * kLanes + row % kLanes);
      std::memcpy(scales + to * bytes, view.RowScales(row) + static_cast<size_t>(g) * bytes, bytes);
      if (zeros != nullptr) std::memcpy(zeros + to * 2, view.RowZeros(row) + static_cast<size_t>(g) * 2, 2);
    }
  }
}

/// The sizes of a packed matrix; pointers are still null.
PackedMatrix Measure(const WeightView& view, Packing packing) {
  PackedMatrix m{};
  m.packing = packing;
  m.rows = view.rows;
  m.cols = view.cols;
  m.tiles = (view.rows + kLanes - 1) / kLanes;
  const bool is_float = view.format.is_float();
  m.group = is_float ? view.cols : view.format.GroupSize(view.cols);
  m.groups = is_float ? 0 : view.format.Groups(view.cols);
  m.blocks = is_float ? 0 : (view.cols + 4 * Planes(packing) - 1) / (4 * Planes(packing));
  if (packing == Packing::kTernaryDense) {
    const int64_t whole = m.groups - 1;
    m.blocks = whole * DenseLinesOfGroup(m.group) + DenseLinesOfGroup(view.cols - whole * m.group);
  }
  return m;
}

/// Bytes of each part of a packed matrix.
struct PartBytes {
  size_t codes, scales, zeros;
};
PartBytes PartsOf(const WeightView& view, const PackedMatrix& m) {
  const auto tiles = static_cast<size_t>(m.tiles), at_once = static_cast<size_t>(TilesAtOnce(m.packing));
  const size_t code_bytes = view.format.is_float()
                                ? tiles * static_cast<size_t>(m.cols) * kLanes * view.format.RowBytes(1)
                                : (tiles + at_once - 1) / at_once * static_cast<size_t>(m.blocks) * 64;
  const size_t scales = tiles * static_cast<size_t>(m.groups) * kLanes;
  return {code_bytes, scales * view.format.ScaleBytes(), view.format.zero_point ? scales * 2 : 0};
}

}  // namespace

Packing PackingOf(const WeightFormat& format, Packing ternary) {
  switch (format.kind) {
    case WeightKind::kF32:
      return Packing::kF32;
    case WeightKind::kF16:
      return Packing::kF16;
    case WeightKind::kBf16:
      return Packing::kBf16;
    case WeightKind::kInt8:
      return Packing::kInt8;
    case WeightKind::kInt4:
      return format.zero_point ? Packing::kInt4Zero : Packing::kInt4;
    case WeightKind::kTernary:
      return ternary;
  }
  return Packing::kF32;
}

size_t PackedBytes(const WeightView& view, Packing packing) {
  const PartBytes parts = PartsOf(view, Measure(view, packing));
  return static_cast<size_t>(RoundUp(static_cast<int64_t>(parts.codes + parts.scales + parts.zeros), 64));
}

PackedMatrix Place(const WeightView& view, Packing packing, std::byte* memory) {
  PackedMatrix m = Measure(view, packing);
  const PartBytes parts = PartsOf(view, m);
  const auto* codes = reinterpret_cast<const uint8_t*>(memory);
  m.codes = codes;
  m.scales = codes + parts.codes;
  m.zeros = parts.zeros > 0 ? m.scales + parts.scales : nullptr;
  return m;
}

PackedMatrix Pack(const WeightView& view, Packing packing, std::byte* memory, WorkerPool& workers) {
  const PackedMatrix m = Place(view, packing, memory);
  const PartBytes parts = PartsOf(view, m);
  auto* codes = reinterpret_cast<uint8_t*>(memory);
  auto* scales = codes + parts.codes;
  auto* zeros = parts.zeros > 0 ? scales + parts.scales : nullptr;
  workers.Run([&](int worker) {
    const auto [first, last] = SliceOf(m.tiles, worker, workers.size());
    const RowRange rows{first * kLanes, std::min(last * kLanes, view.rows)};
    switch (packing) {
      case Packing::kF32:
        return PackFloats<uint32_t>(view, rows, codes);
      case Packing::kF16:
      case Packing::kBf16:
        return PackFloats<uint16_t>(view, rows, codes);
      case Packing::kTernaryTables:
        PackTables(view, m, rows, codes);
        break;
      case Packing::kTernaryDense:
        PackDense(view, m, rows, codes);
        break;
      default:
        PackPlanes(view, m, rows, codes);
    }
    PackScales(view, m, rows, scales, zeros);
  });
  return m;
}

}  // namespace edgellm::cpu
