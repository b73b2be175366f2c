// Rounding against inputs: what the factor is, that it beats rounding to the nearest where inputs hang together, that
// it is never worse, and that threads do not show.
#include "convert/calibrated_rounding.h"

#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "quant/codec.h"
#include "tests/model/expect_error.h"
#include "tests/model/sample_model.h"

namespace edgellm {
namespace {

WeightFormat Format(const char* name) {
  return WeightFormat::Parse(name);
}

/// `tokens` inputs of `size` channels that share a few causes, as activations do; one channel is larger than the rest,
/// one is always zero.
std::vector<float> Inputs(int64_t tokens, int64_t size, unsigned seed) {
  const auto causes = RandomValues(static_cast<size_t>(tokens * 8), seed);
  const auto mixture = RandomValues(static_cast<size_t>(8 * size), seed + 1);
  auto inputs = RandomValues(static_cast<size_t>(tokens * size), seed + 2);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 0; i < size; ++i) {
      float& x = inputs[static_cast<size_t>(t * size + i)];
      x *= 0.3f;
      for (int64_t c = 0; c < 8; ++c)
        x += causes[static_cast<size_t>(t * 8 + c)] * mixture[static_cast<size_t>(c * size + i)];
      if (i == 3) x *= 20;
      if (i == 5) x = 0;
    }
  }
  return inputs;
}

Tensor Weights(int64_t rows, int64_t cols, unsigned seed) {
  const auto values = RandomValues(static_cast<size_t>(rows * cols), seed);
  return EncodeTensor({}, rows, cols, [&](int64_t row) {
    return std::span(values).subspan(static_cast<size_t>(row * cols), static_cast<size_t>(cols));
  });
}

/// Root mean square of X (W - W')^T over that of X W^T, in double.
double OutputError(const std::vector<float>& inputs, const WeightView& wanted, const WeightView& got) {
  const auto cols = static_cast<size_t>(wanted.cols);
  std::vector<float> a(cols), b(cols);
  double error = 0, square = 0;
  for (int64_t row = 0; row < wanted.rows; ++row) {
    DecodeRow(wanted, row, a);
    DecodeRow(got, row, b);
    for (size_t t = 0; t < inputs.size(); t += cols) {
      double y = 0, difference = 0;
      for (size_t i = 0; i < cols; ++i) {
        y += static_cast<double>(inputs[t + i]) * a[i];
        difference += static_cast<double>(inputs[t + i]) * (static_cast<double>(a[i]) - b[i]);
      }
      square += y * y;
      error += difference * difference;
    }
  }
  return std::sqrt(error / square);
}

TEST(Gram, FactorTimesItsTransposeIsTheMatrix) {
  for (const int64_t size : {1, 7, 64, 65, 200}) {
    const auto inputs = Inputs(300, size, 1);
    WorkerPool pool(2);
    const Gram gram(DenseMatrix(inputs.data(), 300, size), 0.01, "layer", pool);
    std::vector<float> h(static_cast<size_t>(size * size));
    gram.CopyDiagonalBlock(0, size, h.data());
    const MatrixView factor = gram.FactorBelow(0, 0, size);
    const auto at = [&](int64_t i, int64_t k) -> double {
      return i == k ? 1.0 : i > k ? static_cast<double>(factor.data[i * factor.row_stride + k]) : 0.0;
    };
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < size; ++i) {
      for (int64_t j = 0; j < size; ++j) {
        double product = 0, moment = 0;
        for (int64_t k = 0; k < size; ++k) product += at(i, k) * gram.pivots()[static_cast<size_t>(k)] * at(j, k);
        for (size_t t = 0; t < inputs.size(); t += static_cast<size_t>(size)) {
          moment += static_cast<double>(inputs[t + static_cast<size_t>(i)]) * inputs[t + static_cast<size_t>(j)] / 300;
        }
        const double stored = h[static_cast<size_t>(i * size + j)];
        largest = std::max(largest, std::fabs(moment));
        worst = std::max(worst, std::fabs(product - stored));
        if (i != j) worst = std::max(worst, std::fabs(moment - stored));
        if (i == j) {
          EXPECT_GT(stored, moment);  // damped
        }
      }
    }
    EXPECT_LT(worst, 2e-5 * largest) << size;
  }
}

TEST(Gram, InputsThatAreAllZeroOrAllAlikeHaveAFactor) {
  WorkerPool pool(1);
  const std::vector<float> zeros(64 * 40), ones(64 * 40, 1.0f);
  for (const auto* inputs : {&zeros, &ones}) {
    const Gram gram(DenseMatrix(inputs->data(), 64, 40), 1e-9, "layer", pool);
    for (const float pivot : gram.pivots()) EXPECT_GT(pivot, 0);
  }
  const std::vector<float> bad(64 * 40, NAN);
  EXPECT_CONTAINS(ErrorOf([&] { Gram(DenseMatrix(bad.data(), 64, 40), 0.01, "the.layer", pool); }), "the.layer");
}

class RoundCalibratedTo : public testing::TestWithParam<const char*> {};

TEST_P(RoundCalibratedTo, OutputsChangeLess) {
  const WeightFormat format = Format(GetParam());
  const int64_t cols = 200;  // the last group is ragged
  const auto inputs = Inputs(600, cols, 5);
  const Tensor weights = Weights(70, cols, 9);
  WorkerPool pool(2);
  const Gram gram(DenseMatrix(inputs.data(), 600, cols), 1e-5, "layer", pool);  // so little that it does not show below
  OutputErrors errors;
  const Tensor got = RoundCalibrated(weights.view, format, gram, pool, &errors);
  const Tensor plain = EncodeTensor(format, 70, cols, [&](int64_t row) {
    return std::span(reinterpret_cast<const float*>(weights.view.codes) + row * cols, static_cast<size_t>(cols));
  });
  const double before = OutputError(inputs, weights.view, plain.view);
  const double after = OutputError(inputs, weights.view, got.view);
  EXPECT_LT(after, 0.5 * before);
  EXPECT_NEAR(errors.plain, before, 0.01 * before);
  EXPECT_NEAR(errors.calibrated, after, 0.01 * after);
}

TEST_P(RoundCalibratedTo, ThreadsDoNotShow) {
  const WeightFormat format = Format(GetParam());
  const auto inputs = Inputs(300, 96, 3);
  const Tensor weights = Weights(150, 96, 4);
  std::string first;
  for (const int threads : {1, 2, 5}) {
    WorkerPool pool(threads);
    const Gram gram(DenseMatrix(inputs.data(), 300, 96), 0.01, "layer", pool);
    OutputErrors errors;
    const std::string planes = PlanesText(RoundCalibrated(weights.view, format, gram, pool, &errors).view);
    if (first.empty()) first = planes;
    EXPECT_EQ(planes, first) << threads;
  }
}

/// Inputs that do not hang together leave little to gain; nothing may be lost either, row by row.
TEST_P(RoundCalibratedTo, NoRowIsWorseThanByThePlainEncoder) {
  const WeightFormat format = Format(GetParam());
  const auto inputs = RandomValues(500 * 64, 8);
  WorkerPool pool(2);
  const Gram gram(DenseMatrix(inputs.data(), 500, 64), 0.01, "layer", pool);
  for (unsigned seed = 20; seed < 60; ++seed) {
    const Tensor weights = Weights(1, 64, seed);
    OutputErrors errors;
    RoundCalibrated(weights.view, format, gram, pool, &errors);
    EXPECT_LE(errors.calibrated, errors.plain);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, RoundCalibratedTo, testing::Values("int4-g32", "int4-g64-z", "int4-g128", "int8-g32"),
                         [](const auto& row) {
                           std::string name = row.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(RoundCalibrated, ARowOfZerosStaysZero) {
  const auto inputs = Inputs(200, 64, 3);
  WorkerPool pool(1);
  const Gram gram(DenseMatrix(inputs.data(), 200, 64), 0.01, "layer", pool);
  const std::vector<float> zeros(64);
  const Tensor weights = EncodeTensor({}, 2, 64, [&](int64_t) { return std::span<const float>(zeros); });
  for (const char* name : {"int4-g32", "int4-g64-z", "int8-g128"}) {
    OutputErrors errors;
    const Tensor got = RoundCalibrated(weights.view, Format(name), gram, pool, &errors);
    std::vector<float> row(64, 1.0f);
    DecodeRow(got.view, 1, row);
    EXPECT_EQ(row, zeros);
    EXPECT_EQ(errors.calibrated, 0);
  }
}

}  // namespace
}  // namespace edgellm
