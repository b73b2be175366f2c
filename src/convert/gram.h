// What calibration knows of a linear layer's inputs: H = X^T X / tokens, damped, and its factor H = L D L^T. For a row
// w that is stored as w' the mean squared change of the output over the calibration text is (w - w')^T H (w - w').
// Source of the use: Frantar et al., "GPTQ" (2022); Chee et al., "QuIP" (2023) for the form with L D L^T, which needs
// no inverse.
#pragma once

#include <span>
#include <vector>

#include "base/buffer.h"
#include "base/worker_pool.h"
#include "convert/gemm.h"

namespace edgellm {

class Gram {
 public:
  /// `inputs` is X, [tokens][size]. `damping` times the mean of the diagonal is added to the diagonal; tenfold, and
  /// again, where that is not enough for the factor. Takes size * size * 4 bytes. Throws Error(kUnsupported), naming
  /// `layer`, where the inputs are not finite numbers.
  Gram(const MatrixView& inputs, double damping, std::string_view layer, WorkerPool& pool);

  int64_t size() const { return size_; }
  /// H's diagonal, damped.
  std::span<const float> diagonal() const { return diagonal_; }
  /// D.
  std::span<const float> pivots() const { return pivots_; }
  /// L from row `first` and column `column` on, as far as it lies below the diagonal: rows of `count` columns.
  MatrixView FactorBelow(int64_t first_row, int64_t first_column, int64_t columns) const;
  /// The block of H of `count` rows from `first` and all columns to the right of it, or to the left.
  MatrixView RightOf(int64_t first, int64_t count) const;
  MatrixView LeftOf(int64_t first, int64_t count) const;
  /// The diagonal block itself, both triangles, to out[count][count].
  void CopyDiagonalBlock(int64_t first, int64_t count, float* out) const;

 private:
  float& At(int64_t row, int64_t column) { return matrix()[row * size_ + column]; }
  float* matrix() { return storage_.as<float>(); }
  const float* matrix() const { return storage_.as<float>(); }

  void Accumulate(const MatrixView& inputs, WorkerPool& pool);
  bool Factor(WorkerPool& pool);
  bool FactorDiagonalBlock(int64_t first, int64_t count);
  void FactorPanel(int64_t first, int64_t count, int64_t row);
  void UpdateTrailing(int64_t first, int64_t count, WorkerPool& pool);

  int64_t size_;
  Buffer storage_;  // [size][size]: H above the diagonal, L below it
  std::vector<float> diagonal_, pivots_;
};

}  // namespace edgellm
