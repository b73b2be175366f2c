// Every CPU kernel, on every instruction set that this machine runs: linear layers to the bit against the definition in
// quant/activation.h, over all formats and odd shapes; the float kernels to the bit against the scalar set, and by
// error against double precision.
#include <cmath>
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "backend/cpu/isa.h"
#include "backend/cpu/packing.h"
#include "base/error.h"
#include "base/half.h"
#include "quant/activation.h"
#include "quant/codec.h"

namespace edgellm::cpu {
namespace {

std::vector<float> Random(size_t count, unsigned seed, float deviation = 1.0f) {
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

Stored Store(const WeightFormat& format, int64_t rows, int64_t cols, unsigned seed) {
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

/// y for one token by the definition, in its own words.
std::vector<float> Expected(const WeightView& w, const std::vector<float>& x, const std::vector<float>& bias) {
  std::vector<float> y;
  const auto cols = static_cast<size_t>(w.cols);
  const int64_t group = w.format.GroupSize(w.cols), x_group = w.format.ActivationGroup(w.cols);
  std::vector<int8_t> x_codes(cols), codes(cols);
  std::vector<float> x_scales(cols), row(cols);
  if (!w.format.is_float()) {
    const float floor = w.format.kind == WeightKind::kTernary ? kTernaryActivationFloor : 0.0f;
    QuantizeActivations({x.data(), cols}, x_group, floor, x_codes.data(), x_scales.data());
  }
  for (int64_t r = 0; r < w.rows; ++r) {
    float sum = 0;
    if (w.format.is_float()) {
      DecodeRow(w, r, row);
      for (size_t k = 0; k < cols; ++k) sum = std::fma(row[k], x[k], sum);
    } else {
      DecodeCodes(w, r, codes);
      for (int64_t g = 0; g < w.format.Groups(w.cols); ++g) {
        int32_t dot = 0, x_sum = 0;
        for (int64_t k = g * group; k < std::min(w.cols, (g + 1) * group); ++k) {
          dot += codes[static_cast<size_t>(k)] * x_codes[static_cast<size_t>(k)];
          x_sum += x_codes[static_cast<size_t>(k)];
        }
        const GroupParameters p = DecodeGroup(w, r, g);
        float value = static_cast<float>(dot);
        if (w.format.kind == WeightKind::kInt4) {
          value = w.format.zero_point ? std::fma(-p.zero, static_cast<float>(x_sum), static_cast<float>(dot))
                                      : static_cast<float>(dot - 8 * x_sum);
        }
        sum = std::fma(value, p.scale * x_scales[static_cast<size_t>(g * group / x_group)], sum);
      }
    }
    y.push_back(sum + bias[static_cast<size_t>(r)]);
  }
  return y;
}

/// The kernel's y for `tokens` tokens: [token][padded rows].
std::vector<float> Computed(const KernelTable& kernels, const PackedMatrix& m, const WeightFormat& format,
                            const std::vector<float>& x, size_t x_stride, int64_t tokens,
                            const std::vector<float>& bias) {
  const auto count = static_cast<size_t>(tokens), code_stride = static_cast<size_t>(RoundUp(m.cols, kCodePadding));
  std::vector<int8_t> codes(count * code_stride);
  const size_t groups = static_cast<size_t>(m.groups) + 1;
  std::vector<float> scales(count * groups), y(count * static_cast<size_t>(m.tiles) * kLanes, NAN);
  std::vector<int32_t> sums(count * groups);
  LinearInput in{x.data(), x_stride, codes.data(), code_stride, scales.data(), groups, 1, sums.data(), groups};
  if (!format.is_float()) {
    const int64_t group = format.ActivationGroup(m.cols), sum_group = format.GroupSize(m.cols);
    in.scale_step = group == sum_group ? 1 : 0;
    const float floor = format.kind == WeightKind::kTernary ? kTernaryActivationFloor : 0.0f;
    for (size_t t = 0; t < count; ++t) {
      kernels.quantize(x.data() + t * x_stride, m.cols, group, sum_group, floor, codes.data() + t * code_stride,
                       scales.data() + t * groups, sums.data() + t * groups);
    }
  }
  kernels.linear(m, 0, m.tiles, in, tokens, {y.data(), static_cast<size_t>(m.tiles) * kLanes, bias.data(), false});
  return y;
}

class EachKernels : public testing::TestWithParam<const KernelTable*> {};

TEST_P(EachKernels, LinearEqualsTheDefinitionToTheBit) {
  const KernelTable& kernels = *GetParam();
  WorkerPool workers(1);
  unsigned seed = 1;
  for (const WeightFormat& format : AllWeightFormats()) {
    for (const auto& [rows, cols] : std::vector<std::pair<int64_t, int64_t>>{
             {1, 4}, {5, 20}, {16, 32}, {17, 96}, {33, 100}, {64, 128}, {80, 576}, {130, 300}, {100, 272}}) {
      const Stored stored = Store(format, rows, cols, seed++);
      const BoundMatrix bound = Pack(stored.view, workers);
      std::vector<float> bias = Random(static_cast<size_t>(RoundUp(rows, kLanes)), seed++);
      const auto x_stride = static_cast<size_t>(RoundUp(cols, kLanes));
      for (int64_t tokens : {1, 3, 4, 9}) {
        std::vector<float> x(x_stride * static_cast<size_t>(tokens));
        for (size_t t = 0; t < static_cast<size_t>(tokens); ++t) {
          const std::vector<float> values = Random(static_cast<size_t>(cols), seed++, 0.1f + static_cast<float>(t));
          std::copy(values.begin(), values.end(), x.begin() + static_cast<std::ptrdiff_t>(t * x_stride));
        }
        const std::vector<float> y = Computed(kernels, bound.matrix, format, x, x_stride, tokens, bias);
        for (size_t t = 0; t < static_cast<size_t>(tokens); ++t) {
          const auto begin = x.begin() + static_cast<std::ptrdiff_t>(t * x_stride);
          const std::vector<float> expected = Expected(stored.view, std::vector<float>(begin, begin + cols), bias);
          const float* got = y.data() + t * static_cast<size_t>(bound.matrix.tiles) * kLanes;
          for (size_t r = 0; r < expected.size(); ++r) {
            ASSERT_EQ(got[r], expected[r]) << kernels.name << " " << format.Name() << " " << rows << "x" << cols
                                           << " tokens " << tokens << " row " << r;
          }
        }
      }
    }
  }
}

TEST_P(EachKernels, LinearAddsToWhatIsThere) {
  WorkerPool workers(1);
  const Stored stored = Store({WeightKind::kF32}, 20, 24, 3);
  const BoundMatrix bound = Pack(stored.view, workers);
  const std::vector<float> x = Random(32, 5);
  std::vector<float> y(32, 1.0f), plain(32, 0.0f);
  LinearInput in{};
  in.values = x.data();
  in.value_stride = 32;
  GetParam()->linear(bound.matrix, 0, 2, in, 1, {y.data(), 32, nullptr, true});
  GetParam()->linear(bound.matrix, 0, 2, in, 1, {plain.data(), 32, nullptr, false});
  for (size_t i = 0; i < 20; ++i) EXPECT_EQ(y[i], 1.0f + plain[i]);
}

TEST_P(EachKernels, QuantizeEqualsThePlainForm) {
  for (int64_t n : {4, 16, 20, 96, 100, 300}) {
    for (int64_t group : {int64_t{32}, int64_t{128}, n}) {
      std::vector<float> x = Random(static_cast<size_t>(n), static_cast<unsigned>(n + group));
      if (n > 40) std::fill(x.begin(), x.begin() + 32, 0.0f);  // a group of zeros
      if (n > 70) x[40] = 0.5f * 0x1p-120f, x[41] = 3.5f;      // ties and tiny values
      std::vector<float> padded = x;
      padded.resize(static_cast<size_t>(RoundUp(n, kLanes)));
      std::vector<int8_t> plain(x.size()), codes(padded.size());
      std::vector<float> plain_scales(x.size()), scales(x.size());
      std::vector<int32_t> sums(x.size());
      QuantizeActivations(x, group, 0.0f, plain.data(), plain_scales.data());
      GetParam()->quantize(padded.data(), n, group, 32, 0.0f, codes.data(), scales.data(), sums.data());
      for (int64_t i = 0; i < n; ++i) ASSERT_EQ(codes[static_cast<size_t>(i)], plain[static_cast<size_t>(i)]);
      for (int64_t g = 0; g * group < n; ++g)
        ASSERT_EQ(scales[static_cast<size_t>(g)], plain_scales[static_cast<size_t>(g)]);
      for (int64_t g = 0; g * 32 < n; ++g) {
        int32_t sum = 0;
        for (int64_t i = g * 32; i < std::min(n, g * 32 + 32); ++i) sum += plain[static_cast<size_t>(i)];
        ASSERT_EQ(sums[static_cast<size_t>(g)], sum);
      }
    }
  }
}

TEST_P(EachKernels, NormIsAccurateAndEqualToScalar) {
  const KernelTable& scalar = ChooseKernels("scalar");
  for (int64_t n : {16, 24, 64, 576}) {
    std::vector<float> x = Random(static_cast<size_t>(n), 7), w = Random(static_cast<size_t>(n), 8);
    x.resize(static_cast<size_t>(RoundUp(n, kLanes)));
    w.resize(x.size());
    std::vector<float> out(x.size()), plain(x.size());
    GetParam()->rms_norm(x.data(), w.data(), n, 1e-5f, out.data());
    scalar.rms_norm(x.data(), w.data(), n, 1e-5f, plain.data());
    EXPECT_EQ(out, plain);
    double sum = 0;
    for (float value : x) sum += static_cast<double>(value) * value;
    const double inverse = 1 / std::sqrt(sum / static_cast<double>(n) + 1e-5);
    for (size_t i = 0; i < static_cast<size_t>(n); ++i) EXPECT_NEAR(out[i], x[i] * inverse * w[i], 4e-6);
  }
}

TEST_P(EachKernels, GatesAreAccurateAndEqualToScalar) {
  std::vector<float> gate, up = Random(8192, 3), out(8192), plain(8192);
  for (int i = 0; i < 8192; ++i) gate.push_back(static_cast<float>(i - 4096) / 40.0f);
  for (bool relu2 : {false, true}) {
    GetParam()->gate(relu2, gate.data(), up.data(), 8192, out.data());
    ChooseKernels("scalar").gate(relu2, gate.data(), up.data(), 8192, plain.data());
    EXPECT_EQ(out, plain);
    for (size_t i = 0; i < out.size(); ++i) {
      const double g = gate[i];
      const double expected = (relu2 ? (g > 0 ? g * g : 0) : g / (1 + std::exp(-g))) * up[i];
      EXPECT_NEAR(out[i], expected, 1e-6 * std::abs(expected) + 1e-30) << g;
    }
  }
}

struct Cache {
  int head_dim, padded_dim;
  bool f16;
  std::vector<uint8_t> bytes;
  size_t page_stride;
  std::vector<int32_t> pages;
  std::vector<std::vector<float>> keys, values;

  Cache(const KernelTable& kernels, int dim, int64_t context, bool half) : head_dim(dim), f16(half) {
    padded_dim = static_cast<int>(RoundUp(dim, kLanes));
    page_stride = static_cast<size_t>(kLanes * (head_dim + padded_dim)) * (half ? 2 : 4);
    const int64_t count = (context + kLanes - 1) / kLanes;
    bytes.assign(page_stride * static_cast<size_t>(count), 0xff);  // NaN wherever nothing is written
    for (int64_t page = 0; page < count; ++page) pages.push_back(static_cast<int32_t>(count - 1 - page));
    for (int64_t position = 0; position < context; ++position) {
      keys.push_back(Random(static_cast<size_t>(dim), static_cast<unsigned>(1000 + position)));
      values.push_back(Random(static_cast<size_t>(dim), static_cast<unsigned>(9000 + position)));
      kernels.store(keys.back().data(), values.back().data(),
                    bytes.data() + static_cast<size_t>(pages[static_cast<size_t>(position / kLanes)]) * page_stride,
                    static_cast<int>(position % kLanes), head_dim, padded_dim, half);
      if (!half) continue;
      for (float& v : keys.back()) v = F16ToFloat(FloatToF16(v));
      for (float& v : values.back()) v = F16ToFloat(FloatToF16(v));
    }
  }
};

TEST_P(EachKernels, AttentionIsAccurateAndEqualToScalar) {
  for (const auto& [heads, dim] : std::vector<std::pair<int, int>>{{1, 8}, {3, 24}, {4, 64}, {7, 80}}) {
    for (int64_t context : {1, 15, 16, 17, 70}) {
      for (bool f16 : {false, true}) {
        const std::vector<float> query = Random(static_cast<size_t>(heads * dim), 77);
        std::vector<std::vector<float>> results;
        for (const KernelTable* kernels : {GetParam(), &ChooseKernels("scalar")}) {
          const Cache cache(*kernels, dim, context, f16);
          std::vector<float> out(query.size()), scratch(static_cast<size_t>(heads * (cache.padded_dim + 48)));
          kernels->attend({query.data(), cache.bytes.data(), cache.page_stride, cache.pages.data(), context, heads, dim,
                           cache.padded_dim, 0.3f, f16, out.data(), scratch.data()});
          results.push_back(out);
          for (size_t h = 0; h < static_cast<size_t>(heads); ++h) {
            double total = 0;
            std::vector<double> sum(static_cast<size_t>(dim));
            for (size_t p = 0; p < static_cast<size_t>(context); ++p) {
              double score = 0;
              for (size_t d = 0; d < sum.size(); ++d)
                score += static_cast<double>(query[h * sum.size() + d]) * cache.keys[p][d];
              const double weight = std::exp(0.3 * score);
              total += weight;
              for (size_t d = 0; d < sum.size(); ++d) sum[d] += weight * cache.values[p][d];
            }
            for (size_t d = 0; d < sum.size(); ++d) ASSERT_NEAR(out[h * sum.size() + d], sum[d] / total, 5e-6);
          }
        }
        EXPECT_EQ(results[0], results[1]) << heads << " " << dim << " " << context << " " << f16;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, EachKernels, testing::ValuesIn(UsableKernels()), [](const auto& parameter) {
  std::string name = parameter.param->name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(Isa, UnknownNameIsRefusedWithTheAvailableOnes) {
  try {
    ChooseKernels("sse9");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kEnvironment);
    EXPECT_NE(std::string(error.what()).find("scalar"), std::string::npos);
  }
}

}  // namespace
}  // namespace edgellm::cpu
