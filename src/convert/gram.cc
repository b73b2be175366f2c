// See gram.h. Blocked Cholesky, right-looking; tiles go to workers, every tile is made by one of them.
#include "convert/gram.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "convert/row_work.h"

namespace edgellm {
namespace {

// Columns that are factored at a time.
constexpr int64_t kBlock = 64;
// Edge of the tiles of H that one worker sums.
constexpr int64_t kTile = 192;
// Damping grows tenfold between attempts: after six even a matrix of one repeated row has a factor.
constexpr int kAttempts = 6;

/// Calls body(i, j) for the tiles with i >= j of a triangle of `tiles` tiles an edge, spread over workers.
template <typename Make>
void ForTriangle(WorkerPool& pool, int64_t tiles, const Make& make) {
  ForRows(pool, tiles * (tiles + 1) / 2, [&] {
    return [&, work = make()](int64_t index) mutable {
      auto i = static_cast<int64_t>((std::sqrt(8.0 * static_cast<double>(index) + 1) - 1) / 2);
      while (i * (i + 1) / 2 > index) --i;
      while ((i + 1) * (i + 2) / 2 <= index) ++i;
      work(i, index - i * (i + 1) / 2);
    };
  });
}

}  // namespace

Gram::Gram(const MatrixView& inputs, double damping, std::string_view layer, WorkerPool& pool)
    : size_(inputs.columns),
      storage_(static_cast<size_t>(size_ * size_) * sizeof(float)),
      diagonal_(static_cast<size_t>(size_)),
      pivots_(static_cast<size_t>(size_)) {
  Accumulate(inputs, pool);
  double sum = 0;
  for (int64_t i = 0; i < size_; ++i) sum += static_cast<double>(diagonal_[static_cast<size_t>(i)] = At(i, i));
  if (!std::isfinite(sum)) {
    Fail(ErrorCode::kUnsupported, "the inputs of {} on the calibration text are not finite numbers", layer);
  }
  const double mean = sum / static_cast<double>(size_);
  double added = 0;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    // A layer that only ever reads zeros is rounded as if every input mattered alike.
    const double wanted = mean > 0 ? damping * mean * std::pow(10.0, attempt) : 1.0;
    for (float& value : diagonal_) value += static_cast<float>(wanted - added);
    added = wanted;
    if (Factor(pool)) return;
  }
  Fail(ErrorCode::kUnsupported, "the inputs of {} on the calibration text span too little to be factored", layer);
}

/// H's upper triangle and diagonal.
void Gram::Accumulate(const MatrixView& inputs, WorkerPool& pool) {
  const float share = 1.0f / static_cast<float>(inputs.rows);
  ForTriangle(pool, (size_ + kTile - 1) / kTile, [&] {
    return [&, scratch = GemmScratch{}](int64_t right, int64_t left) mutable {
      const int64_t i = left * kTile, j = right * kTile;
      const int64_t rows = std::min(kTile, size_ - i), columns = std::min(kTile, size_ - j);
      GemmAdd(inputs.Columns(i, rows).Transposed(), inputs.Columns(j, columns).Transposed(), share, &At(i, j), size_,
              scratch);
    };
  });
}

bool Gram::Factor(WorkerPool& pool) {
  ForRows(pool, size_, [&] {
    return [&](int64_t row) {
      for (int64_t column = 0; column < row; ++column) At(row, column) = At(column, row);
      At(row, row) = diagonal_[static_cast<size_t>(row)];
    };
  });
  for (int64_t first = 0; first < size_; first += kBlock) {
    const int64_t count = std::min(kBlock, size_ - first);
    if (!FactorDiagonalBlock(first, count)) return false;
    ForRows(pool, size_ - first - count,
            [&] { return [&](int64_t row) { FactorPanel(first, count, first + count + row); }; });
    UpdateTrailing(first, count, pool);
  }
  for (int64_t i = 0; i < size_; ++i) pivots_[static_cast<size_t>(i)] = At(i, i) * At(i, i);
  ForRows(pool, size_, [&] {
    return [&](int64_t row) {
      for (int64_t column = 0; column < row; ++column) At(row, column) /= At(column, column);
    };
  });
  return true;
}

bool Gram::FactorDiagonalBlock(int64_t first, int64_t count) {
  for (int64_t i = first; i < first + count; ++i) {
    for (int64_t j = first; j <= i; ++j) {
      // H stands above the diagonal, so only what lies below may be read and written here.
      double sum = At(i, j);
      for (int64_t k = first; k < j; ++k) sum -= static_cast<double>(At(i, k)) * At(j, k);
      if (i == j && !(sum > 1e-7 * static_cast<double>(diagonal_[static_cast<size_t>(i)]))) return false;
      At(i, j) = static_cast<float>(i == j ? std::sqrt(sum) : sum / static_cast<double>(At(j, j)));
    }
  }
  return true;
}

/// One row of the columns of a block, by the block's factor.
void Gram::FactorPanel(int64_t first, int64_t count, int64_t row) {
  for (int64_t j = first; j < first + count; ++j) {
    double sum = At(row, j);
    for (int64_t k = first; k < j; ++k) sum -= static_cast<double>(At(row, k)) * At(j, k);
    At(row, j) = static_cast<float>(sum / static_cast<double>(At(j, j)));
  }
}

void Gram::UpdateTrailing(int64_t first, int64_t count, WorkerPool& pool) {
  const int64_t begin = first + count;
  const MatrixView panel = {matrix() + first, size_, count, size_, 1};
  ForTriangle(pool, (size_ - begin + kTile - 1) / kTile, [&] {
    return [&, scratch = GemmScratch{}, square = std::vector<float>{}](int64_t below, int64_t left) mutable {
      const int64_t i = begin + below * kTile, j = begin + left * kTile;
      const int64_t rows = std::min(kTile, size_ - i), columns = std::min(kTile, size_ - j);
      if (below != left) {
        GemmAdd(panel.Rows(i, rows), panel.Rows(j, columns), -1.0f, &At(i, j), size_, scratch);
        return;
      }
      square.assign(static_cast<size_t>(rows * columns), 0);
      GemmAdd(panel.Rows(i, rows), panel.Rows(j, columns), -1.0f, square.data(), columns, scratch);
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c <= r; ++c) At(i + r, j + c) += square[static_cast<size_t>(r * columns + c)];
      }
    };
  });
}

MatrixView Gram::FactorBelow(int64_t first_row, int64_t first_column, int64_t columns) const {
  return {matrix() + first_row * size_ + first_column, size_ - first_row, columns, size_, 1};
}

MatrixView Gram::RightOf(int64_t first, int64_t count) const {
  return {matrix() + first * size_ + first + count, count, size_ - first - count, size_, 1};
}

MatrixView Gram::LeftOf(int64_t first, int64_t count) const {
  return {matrix() + first, count, first, 1, size_};
}

void Gram::CopyDiagonalBlock(int64_t first, int64_t count, float* out) const {
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t j = i; j < count; ++j) {
      const float value =
          i == j ? diagonal_[static_cast<size_t>(first + i)] : matrix()[(first + i) * size_ + first + j];
      out[i * count + j] = out[j * count + i] = value;
    }
  }
}

}  // namespace edgellm
