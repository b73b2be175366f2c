// Every CPU kernel, on every instruction set that this machine runs: linear layers to the bit against the definition in
// quant/activation.h, over all formats and odd shapes; the float kernels to the bit against the scalar set, and by
// error against double precision.
#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "backend/cpu/isa.h"
#include "backend/cpu/packing.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/half.h"
#include "quant/activation.h"
#include "quant/codec.h"
#include "tests/backend/stored_matrix.h"

namespace edgellm::cpu {
namespace emulated_tiles {
const KernelTable& Kernels();
}
namespace {

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

/// The activations of several tokens as a linear layer wants them.
struct Input {
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<int32_t> sums;
  Buffer tables;
  LinearInput in{};

  Input(const KernelTable& kernels, const PackedMatrix& m, const WeightFormat& format, const std::vector<float>& x,
        size_t x_stride, int64_t tokens) {
    const int64_t interleave = tokens == 1 ? 1 : kernels.panel_tokens, panels = (tokens + interleave - 1) / interleave;
    const int64_t padding = std::max<int64_t>(kCodePadding, kernels.panel_chunk);
    const size_t code_stride = static_cast<size_t>((RoundUp(m.cols, padding) + kCodeSlack) * interleave);
    const size_t group_stride = static_cast<size_t>((m.groups + 1) * interleave);
    codes.resize(static_cast<size_t>(panels) * code_stride, 99);  // what lies past the end must not count
    scales.resize(static_cast<size_t>(panels) * group_stride);
    sums.resize(scales.size());
    in = {x.data(),      x_stride, interleave,  codes.data(), code_stride,
          scales.data(), 1,        sums.data(), group_stride, nullptr};
    if (format.is_float()) return;
    const int64_t group = format.ActivationGroup(m.cols), sum_group = format.GroupSize(m.cols);
    in.scale_step = group == sum_group ? 1 : 0;
    const float floor = format.kind == WeightKind::kTernary ? kTernaryActivationFloor : 0.0f;
    for (int64_t t = 0; t < tokens; ++t) {
      const auto panel = static_cast<size_t>(t / interleave), within = static_cast<size_t>(t % interleave);
      kernels.quantize(x.data() + static_cast<size_t>(t) * x_stride, m.cols, group, sum_group, floor, interleave,
                       codes.data() + panel * code_stride + within * static_cast<size_t>(kernels.panel_chunk),
                       scales.data() + panel * group_stride + within, sums.data() + panel * group_stride + within);
    }
    if (m.packing != Packing::kTernaryTables || tokens > 1) return;
    const int64_t fours = (m.cols + 3) / 4;
    tables = Buffer(static_cast<size_t>(fours) * 64);
    kernels.build_tables(codes.data(), 0, fours / 2, tables.as<uint8_t>());
    kernels.build_tables(codes.data(), fours / 2, fours, tables.as<uint8_t>());
    in.tables = tables.as<uint8_t>();
  }
};

/// The kernel's y for `tokens` tokens: [token][padded rows].
std::vector<float> Computed(const KernelTable& kernels, const PackedMatrix& m, const WeightFormat& format,
                            const std::vector<float>& x, size_t x_stride, int64_t tokens,
                            const std::vector<float>& bias) {
  const Input input(kernels, m, format, x, x_stride, tokens);
  std::vector<float> y(static_cast<size_t>(tokens * m.tiles) * kLanes, NAN);
  Buffer scratch(kernels.linear_scratch(tokens));
  kernels.linear(m, 0, m.tiles, input.in, tokens, {y.data(), static_cast<size_t>(m.tiles) * kLanes, bias.data(), false},
                 scratch.as<uint8_t>());
  return y;
}

/// A matrix packed, with its memory.
struct Packed {
  Buffer memory;
  PackedMatrix matrix;
  Packed(const WeightView& view, Packing packing, WorkerPool& workers)
      : memory(PackedBytes(view, packing)), matrix(Pack(view, packing, memory.data(), workers)) {}
};

/// All ways in which a format can be packed.
std::vector<Packing> PackingsOf(const WeightFormat& format) {
  if (format.kind != WeightKind::kTernary) return {PackingOf(format, Packing::kTernary)};
  return {Packing::kTernary, Packing::kTernaryTables, Packing::kTernaryDense};
}

constexpr std::pair<int64_t, int64_t> kShapes[] = {{1, 4},    {5, 20},   {16, 32},   {17, 96},   {33, 100},
                                                   {64, 128}, {80, 576}, {130, 300}, {100, 272}, {51, 1100},
                                                   {70, 267}, {3, 1},    {65, 1057}};

class EachKernels : public testing::TestWithParam<const KernelTable*> {};

TEST_P(EachKernels, LinearEqualsTheDefinitionToTheBit) {
  const KernelTable& kernels = *GetParam();
  WorkerPool workers(1);
  unsigned seed = 1;
  for (const WeightFormat& format : AllWeightFormats()) {
    for (const auto& [rows, cols] : kShapes) {
      const Stored stored = Store(format, rows, cols, seed++);
      std::vector<float> bias = Random(static_cast<size_t>(RoundUp(rows, kLanes)), seed++);
      const auto x_stride = static_cast<size_t>(RoundUp(cols, kLanes));
      for (int64_t tokens : {1, 2, 3, 8, 23, 39}) {
        std::vector<float> x(x_stride * static_cast<size_t>(tokens)), expected;
        for (size_t t = 0; t < static_cast<size_t>(tokens); ++t) {
          const std::vector<float> values = Random(static_cast<size_t>(cols), seed++, 0.1f + static_cast<float>(t));
          std::copy(values.begin(), values.end(), x.begin() + static_cast<std::ptrdiff_t>(t * x_stride));
          const std::vector<float> of_token = Expected(stored.view, values, bias);
          expected.insert(expected.end(), of_token.begin(), of_token.end());
        }
        for (const Packing packing : PackingsOf(format)) {
          const Packed packed(stored.view, packing, workers);
          const std::vector<float> y = Computed(kernels, packed.matrix, format, x, x_stride, tokens, bias);
          const auto y_stride = static_cast<size_t>(packed.matrix.tiles) * kLanes;
          for (size_t i = 0; i < expected.size(); ++i) {
            const size_t token = i / static_cast<size_t>(rows), row = i % static_cast<size_t>(rows);
            ASSERT_EQ(y[token * y_stride + row], expected[i])
                << kernels.name << " " << format.Name() << ", packing " << static_cast<int>(packing) << ", " << rows
                << "x" << cols << ", token " << token << " of " << tokens << ", row " << row;
          }
        }
      }
    }
  }
}

TEST_P(EachKernels, TernarySumsAreExactAtTheirGreatest) {
  // All codes and activations as large as they can be, with both signs, over rows long enough to overflow 16 bits of
  // sums that are not taken out in time.
  const KernelTable& kernels = *GetParam();
  WorkerPool workers(1);
  const int64_t rows = 70, cols = 7000;
  for (const WeightFormat& format : AllWeightFormats()) {
    if (format.kind != WeightKind::kTernary) continue;
    for (const float sign : {1.0f, -1.0f}) {
      Stored stored = Store(format, rows, cols, 1);
      std::vector<float> ones(static_cast<size_t>(cols), sign);
      for (size_t row = 0; row < static_cast<size_t>(rows); ++row) {
        EncodeRow(format, ones, stored.codes.data() + row * format.RowBytes(cols),
                  stored.scales.data() + row * static_cast<size_t>(format.Groups(cols)) * format.ScaleBytes(), nullptr);
      }
      const auto x_stride = static_cast<size_t>(RoundUp(cols, kLanes));
      std::vector<float> x(x_stride), bias(static_cast<size_t>(RoundUp(rows, kLanes)));
      std::fill_n(x.begin(), cols, 3.0f);
      const std::vector<float> expected = Expected(stored.view, x, bias);
      for (const Packing packing : PackingsOf(format)) {
        const Packed packed(stored.view, packing, workers);
        const std::vector<float> y = Computed(kernels, packed.matrix, format, x, x_stride, 1, bias);
        for (size_t r = 0; r < expected.size(); ++r) {
          ASSERT_EQ(y[r], expected[r]) << kernels.name << " " << format.Name() << ", packing "
                                       << static_cast<int>(packing);
        }
      }
    }
  }
}

TEST_P(EachKernels, AnyShareOfTheTilesIsWrittenAndNothingElse) {
  const KernelTable& kernels = *GetParam();
  WorkerPool workers(1);
  const WeightFormat format = {WeightKind::kTernary};
  const Stored stored = Store(format, 150, 72, 4);  // ten tiles
  const auto x_stride = size_t{80};
  std::vector<float> x = Random(72, 5), bias(160);
  x.resize(x_stride);
  for (const Packing packing : PackingsOf(format)) {
    const Packed packed(stored.view, packing, workers);
    const std::vector<float> whole = Computed(kernels, packed.matrix, format, x, x_stride, 1, bias);
    const Input input(kernels, packed.matrix, format, x, x_stride, 1);
    for (int64_t first = 0; first < 10; ++first) {
      for (int64_t last = first + 1; last <= 10; ++last) {
        std::vector<float> y(160, -1.5f);
        Buffer scratch(kernels.linear_scratch(1));
        kernels.linear(packed.matrix, first, last, input.in, 1, {y.data(), 160, bias.data(), false},
                       scratch.as<uint8_t>());
        for (int64_t r = 0; r < 160; ++r) {
          const bool written = r >= first * kLanes && r < last * kLanes;
          ASSERT_EQ(y[static_cast<size_t>(r)], written ? whole[static_cast<size_t>(r)] : -1.5f)
              << static_cast<int>(packing) << " " << first << " " << last << " " << r;
        }
      }
    }
  }
}

TEST_P(EachKernels, LinearAddsToWhatIsThere) {
  WorkerPool workers(1);
  const Stored stored = Store({WeightKind::kF32}, 20, 24, 3);
  const Packed packed(stored.view, Packing::kF32, workers);
  const PackedMatrix& matrix = packed.matrix;
  const std::vector<float> x = Random(32, 5);
  std::vector<float> y(32, 1.0f), plain(32, 0.0f);
  LinearInput in{};
  in.values = x.data();
  in.value_stride = 32;
  GetParam()->linear(matrix, 0, 2, in, 1, {y.data(), 32, nullptr, true}, nullptr);
  GetParam()->linear(matrix, 0, 2, in, 1, {plain.data(), 32, nullptr, false}, nullptr);
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
      GetParam()->quantize(padded.data(), n, group, 32, 0.0f, 1, codes.data(), scales.data(), sums.data());
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

TEST_P(EachKernels, QuantizeOfNoNumbersStaysWithinItsTypes) {
  std::vector<float> x(64, 1.0f);
  x[3] = NAN;
  x[20] = INFINITY;
  x[40] = -INFINITY;
  std::vector<int8_t> codes(64);
  std::vector<float> scales(4);
  std::vector<int32_t> sums(4);
  for (int64_t group : {16, 32, 64}) {
    GetParam()->quantize(x.data(), 64, group, group, 0.0f, 1, codes.data(), scales.data(), sums.data());
    for (int64_t g = 0; g * group < 64; ++g) EXPECT_LE(std::abs(sums[static_cast<size_t>(g)]), 127 * 64);
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
      uint8_t* page = bytes.data() + static_cast<size_t>(pages[static_cast<size_t>(position / kLanes)]) * page_stride;
      const int slot = static_cast<int>(position % kLanes);
      kernels.store_key(keys.back().data(), page, slot, head_dim, half);
      kernels.store_value(values.back().data(), page, slot, head_dim, padded_dim, half);
      if (!half) continue;
      for (float& v : keys.back()) v = F16ToFloat(FloatToF16(v));
      for (float& v : values.back()) v = F16ToFloat(FloatToF16(v));
    }
  }
};

/// Attention of rows with contexts of their own, [row][dim].
std::vector<float> Attended(const KernelTable& kernels, const Cache& cache, const std::vector<float>& queries,
                            const std::vector<int64_t>& contexts) {
  const auto dim = static_cast<size_t>(cache.head_dim);
  std::vector<float> out(queries.size());
  Buffer scratch(static_cast<size_t>(kAttendRows * (cache.padded_dim + kAttendPositions)) * sizeof(float));
  AttendTask task{};
  task.rows = static_cast<int>(contexts.size());
  for (size_t r = 0; r < contexts.size(); ++r) {
    task.query[r] = queries.data() + r * dim;
    task.out[r] = out.data() + r * dim;
    task.context[r] = contexts[r];
  }
  task.cache = cache.bytes.data();
  task.page_stride = cache.page_stride;
  task.pages = cache.pages.data();
  task.head_dim = cache.head_dim;
  task.padded_dim = cache.padded_dim;
  task.scale = 0.3f;
  task.f16 = cache.f16;
  task.scratch = scratch.as<float>();
  kernels.attend(task);
  return out;
}

/// By the definition, in double.
std::vector<double> ExpectedAttention(const Cache& cache, const float* query, int64_t context) {
  double total = 0;
  std::vector<double> sum(static_cast<size_t>(cache.head_dim));
  for (size_t p = 0; p < static_cast<size_t>(context); ++p) {
    double score = 0;
    for (size_t d = 0; d < sum.size(); ++d) score += static_cast<double>(query[d]) * cache.keys[p][d];
    const double weight = std::exp(0.3 * score);
    total += weight;
    for (size_t d = 0; d < sum.size(); ++d) sum[d] += weight * cache.values[p][d];
  }
  for (double& value : sum) value /= total;
  return sum;
}

TEST_P(EachKernels, AttentionIsAccurateAndEqualToScalarAndToRowsAlone) {
  for (const auto& [rows, dim] : std::vector<std::pair<size_t, int>>{
           {1, 8}, {2, 16}, {3, 24}, {4, 64}, {5, 32}, {7, 80}, {8, 128}, {9, 40}, {12, 64}}) {
    for (int64_t context : {1, 15, 16, 17, 64, 70, 150}) {
      for (bool f16 : {false, true}) {
        const std::vector<float> queries = Random(rows * static_cast<size_t>(dim), 77);
        const Cache cache(*GetParam(), dim, context, f16), plain(ChooseKernels("scalar"), dim, context, f16);
        std::vector<int64_t> contexts;  // as consecutive tokens of a prompt have them
        for (size_t r = 0; r < rows; ++r)
          contexts.push_back(std::max<int64_t>(1, context - static_cast<int64_t>(rows - 1 - r) / 2));
        const std::vector<float> out = Attended(*GetParam(), cache, queries, contexts);
        EXPECT_EQ(out, Attended(ChooseKernels("scalar"), plain, queries, contexts))
            << rows << " " << dim << " " << context;
        for (size_t r = 0; r < rows; ++r) {
          const auto begin = queries.begin() + static_cast<std::ptrdiff_t>(r) * dim;
          const std::vector<float> alone = Attended(*GetParam(), cache, {begin, begin + dim}, {contexts[r]});
          const auto expected = ExpectedAttention(cache, &*begin, contexts[r]);
          for (size_t d = 0; d < alone.size(); ++d) {
            ASSERT_NEAR(alone[d], expected[d], 5e-6);
            ASSERT_EQ(out[r * alone.size() + d], alone[d]) << rows << " " << dim << " " << context << " " << f16;
          }
        }
      }
    }
  }
}

/// Those of this machine, and tile registers where there are none.
std::vector<const KernelTable*> TestedKernels() {
  std::vector<const KernelTable*> kernels = UsableKernels();
  kernels.push_back(&emulated_tiles::Kernels());
  return kernels;
}

INSTANTIATE_TEST_SUITE_P(Cpu, EachKernels, testing::ValuesIn(TestedKernels()), [](const auto& parameter) {
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
