// See gemm.h. The form is that of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008):
// panels of both operands are packed so that the innermost loop reads them in sequence.
#include "convert/gemm.h"

#include <algorithm>
#include <cstring>

// Several builds of the innermost loop, the best chosen when the program is loaded; sanitizers are not ready that
// early.
#if defined(__x86_64__) && !defined(EDGELLM_SANITIZED)
#define EDGELLM_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EDGELLM_CLONES
#endif

namespace edgellm {
namespace {

// A tile of C is 6 x 16 sums: twelve registers of eight lanes, which leaves four of AVX2's sixteen for the operands.
constexpr int64_t kTileRows = 6, kTileColumns = 16;
// A packed panel of B is 256 x 256 floats, 256 KiB: it stays in the second-level cache while A passes by.
constexpr int64_t kDepth = 256, kWidth = 256;

using Lanes = float __attribute__((vector_size(kTileColumns * sizeof(float))));

/// tile[6][16] = sum over k of a[k][6] b[k][16], in the order of k.
EDGELLM_CLONES void MultiplyTile(const float* a, const float* b, int64_t depth, float* tile) {
  Lanes sums[kTileRows] = {};
  for (int64_t k = 0; k < depth; ++k) {
    Lanes right;
    std::memcpy(&right, b + k * kTileColumns, sizeof(right));
#pragma GCC unroll 6
    for (int64_t i = 0; i < kTileRows; ++i) sums[i] += a[k * kTileRows + i] * right;
  }
  std::memcpy(tile, sums, sizeof(sums));
}

/// `count` rows of `source` as panels of `tile` rows: panel[k][tile], filled up with zeros.
void Pack(const MatrixView& source, int64_t first, int64_t count, int64_t from, int64_t depth, int64_t tile,
          float factor, std::vector<float>& packed) {
  const int64_t panels = (count + tile - 1) / tile;
  packed.resize(static_cast<size_t>(std::max<int64_t>(static_cast<int64_t>(packed.size()), panels * tile * depth)));
  for (int64_t panel = 0; panel < panels; ++panel) {
    float* out = packed.data() + panel * tile * depth;
    const int64_t rows = std::min(tile, count - panel * tile);
    const float* in = source.data + (first + panel * tile) * source.row_stride + from * source.column_stride;
    if (source.row_stride == 1) {
      for (int64_t k = 0; k < depth; ++k) {
        for (int64_t i = 0; i < rows; ++i) out[k * tile + i] = factor * in[i + k * source.column_stride];
        for (int64_t i = rows; i < tile; ++i) out[k * tile + i] = 0;
      }
      continue;
    }
    for (int64_t i = 0; i < tile; ++i) {
      for (int64_t k = 0; k < depth; ++k) {
        out[k * tile + i] = i < rows ? factor * in[i * source.row_stride + k * source.column_stride] : 0.0f;
      }
    }
  }
}

}  // namespace

void GemmAdd(const MatrixView& a, const MatrixView& b, float alpha, float* c, int64_t c_stride, GemmScratch& scratch) {
  alignas(64) float tile[kTileRows * kTileColumns];
  for (int64_t j0 = 0; j0 < b.rows; j0 += kWidth) {
    const int64_t width = std::min(kWidth, b.rows - j0);
    for (int64_t k0 = 0; k0 < a.columns; k0 += kDepth) {
      const int64_t depth = std::min(kDepth, a.columns - k0);
      Pack(b, j0, width, k0, depth, kTileColumns, 1.0f, scratch.b);
      for (int64_t i0 = 0; i0 < a.rows; i0 += kTileRows) {
        const int64_t rows = std::min(kTileRows, a.rows - i0);
        Pack(a, i0, rows, k0, depth, kTileRows, alpha, scratch.a);
        for (int64_t j = 0; j < width; j += kTileColumns) {
          MultiplyTile(scratch.a.data(), scratch.b.data() + j * depth, depth, tile);
          const int64_t columns = std::min(kTileColumns, width - j);
          for (int64_t i = 0; i < rows; ++i) {
            float* out = c + (i0 + i) * c_stride + j0 + j;
            for (int64_t n = 0; n < columns; ++n) out[n] += tile[i * kTileColumns + n];
          }
        }
      }
    }
  }
}

}  // namespace edgellm
