// The product against sums in double, over odd sizes and every kind of stride; and that cutting the work changes no
// bit.
#include "convert/gemm.h"

#include <cmath>

#include <gtest/gtest.h>

#include "tests/model/sample_model.h"

namespace edgellm {
namespace {

TEST(Gemm, IsTheProductWhateverTheStrides) {
  GemmScratch scratch;
  for (const auto& [m, n, k] : {std::array{1, 1, 1}, std::array{6, 16, 256}, std::array{7, 17, 257},
                                std::array{5, 300, 3}, std::array{13, 40, 600}}) {
    const auto a = RandomValues(static_cast<size_t>(m * k), 1), b = RandomValues(static_cast<size_t>(n * k), 2);
    for (const bool a_turned : {false, true}) {
      for (const bool b_turned : {false, true}) {
        const MatrixView left = a_turned ? DenseMatrix(a.data(), k, m).Transposed() : DenseMatrix(a.data(), m, k);
        const MatrixView right = b_turned ? DenseMatrix(b.data(), k, n).Transposed() : DenseMatrix(b.data(), n, k);
        std::vector<float> c(static_cast<size_t>(m * (n + 3)), 1.0f);
        GemmAdd(left, right, -2.0f, c.data(), n + 3, scratch);
        for (int i = 0; i < m; ++i) {
          for (int j = 0; j < n + 3; ++j) {
            double sum = 0;
            for (int t = 0; t < k && j < n; ++t) {
              sum += static_cast<double>(left.data[i * left.row_stride + t * left.column_stride]) *
                     right.data[j * right.row_stride + t * right.column_stride];
            }
            EXPECT_NEAR(c[static_cast<size_t>(i * (n + 3) + j)], 1 - 2 * sum, 1e-4);
          }
        }
      }
    }
  }
}

TEST(Gemm, CuttingTheWorkChangesNoBit) {
  constexpr int64_t kRows = 50, kColumns = 70, kDepth = 500;
  const auto a = RandomValues(kRows * kDepth, 3), b = RandomValues(kColumns * kDepth, 4);
  GemmScratch scratch;
  std::vector<float> whole(kRows * kColumns), parts(whole.size());
  const MatrixView left = DenseMatrix(a.data(), kRows, kDepth), right = DenseMatrix(b.data(), kColumns, kDepth);
  GemmAdd(left, right, 0.7f, whole.data(), kColumns, scratch);
  for (int64_t i = 0; i < kRows; i += 11) {
    for (int64_t j = 0; j < kColumns; j += 9) {
      GemmAdd(left.Rows(i, std::min<int64_t>(11, kRows - i)), right.Rows(j, std::min<int64_t>(9, kColumns - j)), 0.7f,
              parts.data() + i * kColumns + j, kColumns, scratch);
    }
  }
  EXPECT_EQ(whole, parts);
}

}  // namespace
}  // namespace edgellm
