// Products of float matrices for calibration: C += alpha * A B^T over any strides, blocked for the caches. Every
// element is summed in one order, that of k, in blocks of fixed size, and multiply and add are rounded apart: the bits
// do not depend on the number of threads, on how the caller cuts the work, or on the machine. Decoding models does not
// come here.
#pragma once

#include <cstdint>
#include <vector>

namespace edgellm {

/// A matrix that is not owned: element (i, k) is data[i * row_stride + k * column_stride].
struct MatrixView {
  const float* data = nullptr;
  int64_t rows = 0, columns = 0;
  int64_t row_stride = 0, column_stride = 1;

  MatrixView Rows(int64_t first, int64_t count) const {
    return {data + first * row_stride, count, columns, row_stride, column_stride};
  }
  MatrixView Columns(int64_t first, int64_t count) const {
    return {data + first * column_stride, rows, count, row_stride, column_stride};
  }
  MatrixView Transposed() const { return {data, columns, rows, column_stride, row_stride}; }
};

/// Row-major, without gaps.
inline MatrixView DenseMatrix(const float* data, int64_t rows, int64_t columns) {
  return {data, rows, columns, columns, 1};
}

/// Room for packed panels; one for each thread, reused from call to call.
struct GemmScratch {
  std::vector<float> a, b;
};

/// c[a.rows][b.rows] (row-major, `c_stride` floats a row) += alpha * A B^T; a.columns == b.columns. One thread.
void GemmAdd(const MatrixView& a, const MatrixView& b, float alpha, float* c, int64_t c_stride, GemmScratch& scratch);

}  // namespace edgellm
