// Random values and stored matrices of any format, for the tests of backends' kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "quant/codec.h"

namespace edgellm {

/// Normal, about 0.
inline std::vector<float> Random(size_t count, unsigned seed, float deviation = 1.0f) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

/// A stored matrix with its bytes.
struct Stored {
  std::vector<std::byte> codes, scales, zeros;
  WeightView view;
};

/// Of random values.
inline Stored Store(const WeightFormat& format, int64_t rows, int64_t cols, unsigned seed) {
  Stored stored;
  const auto row_count = static_cast<size_t>(rows), groups = static_cast<size_t>(format.Groups(cols));
  stored.codes.resize(row_count * format.RowBytes(cols));
  stored.scales.resize(row_count * groups * format.ScaleBytes());
  stored.zeros.resize(format.zero_point ? row_count * groups * 2 : 0);
  stored.view = {
      format, rows, cols, stored.codes.data(), stored.scales.data(), format.zero_point ? stored.zeros.data() : nullptr};
  const std::vector<float> values = Random(row_count * static_cast<size_t>(cols), seed);
  for (size_t row = 0; row < row_count; ++row) {
    EncodeRow(format, {values.data() + row * static_cast<size_t>(cols), static_cast<size_t>(cols)},
              stored.codes.data() + row * format.RowBytes(cols),
              stored.scales.data() + row * groups * format.ScaleBytes(),
              format.zero_point ? stored.zeros.data() + row * groups * 2 : nullptr);
  }
  return stored;
}

}  // namespace edgellm
