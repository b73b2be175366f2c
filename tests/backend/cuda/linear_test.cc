// Linear layers on a CUDA device, to the bit against the definition: every format, odd shapes, one token, batches and
// prompts. Skipped where there is no device.
#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include <gtest/gtest.h>

#include "backend/cuda/device.h"
#include "backend/cuda/tasks.h"
#include "base/error.h"
#include "quant/activation.h"
#include "quant/codec.h"
#include "tests/backend/stored_matrix.h"

namespace edgellm::cuda {
namespace {

Codes CodesOf(const WeightFormat& format) {
  return format.kind == WeightKind::kInt8 ? Codes::kInt8 : format.kind == WeightKind::kInt4 ? Codes::kInt4 : Codes::kTernary;
}

/// The definition of quant/activation.h, with groups added in strips and slices (layout.h).
std::vector<float> Expected(const WeightView& w, const float* x) {
  const auto cols = static_cast<size_t>(w.cols);
  const int strip_k = StripK(CodesOf(w.format));
  const int64_t group = w.format.GroupSize(w.cols), x_group = w.format.ActivationGroup(w.cols);
  std::vector<int8_t> x_codes(cols), codes(cols);
  std::vector<float> x_scales(cols), y;
  const float floor = w.format.kind == WeightKind::kTernary ? kTernaryActivationFloor : 0.0f;
  QuantizeActivations({x, cols}, x_group, floor, x_codes.data(), x_scales.data());
  for (int64_t r = 0; r < w.rows; ++r) {
    DecodeCodes(w, r, codes);
    float strip = 0, slice = 0, total = 0;
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
      strip = std::fma(value, p.scale * x_scales[static_cast<size_t>(g * group / x_group)], strip);
      if (group >= w.cols) continue;
      if ((g + 1) * group % strip_k == 0) slice += std::exchange(strip, 0.0f);
      if ((g + 1) * group % kSliceK == 0) total += std::exchange(slice, 0.0f);
    }
    y.push_back(total + (slice + strip));
  }
  return y;
}

template <typename T>
DeviceBuffer ToDevice(const std::vector<T>& values) {
  DeviceBuffer buffer(std::max<size_t>(16, values.size() * sizeof(T)));
  if (!values.empty()) Check(cudaMemcpy(buffer.as<T>(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice), "test");
  return buffer;
}

class CudaLinear : public testing::TestWithParam<WeightFormat> {
 protected:
  void SetUp() override {
    try {
      const DeviceFacts facts = OpenDevice();
      processors_ = facts.processors;
      shared_bytes_ = static_cast<int>(facts.shared_bytes_per_block);
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
  }

  /// One matrix on the device, with buffers for up to `tokens` tokens.
  struct Case {
    DeviceBuffer codes, scales, zeros, data, packed_scales, packed_zeros, x, y, in_codes, in_scales, in_factors, in_sums, partial;
    PackedMatrix matrix{};
    LinearTask task{};
  };

  std::unique_ptr<Case> Make(const WeightView& w, const std::vector<float>& x, int tokens) {
    auto made = std::make_unique<Case>();
    const auto bytes = [](const std::byte* from, size_t count) { return std::vector<std::byte>(from, from + count); };
    const auto rows = static_cast<size_t>(w.rows), groups = static_cast<size_t>(w.format.Groups(w.cols));
    made->codes = ToDevice(bytes(w.codes, rows * w.format.RowBytes(w.cols)));
    made->scales = ToDevice(bytes(w.scales, rows * groups * w.format.ScaleBytes()));
    if (w.zeros != nullptr) made->zeros = ToDevice(bytes(w.zeros, rows * groups * 2));
    PackedMatrix& m = made->matrix;
    m = MeasureMatrix(CodesOf(w.format), w.format.ScaleBytes() == 2, RoundUp(static_cast<int>(w.rows), kTileRows) / kTileRows, static_cast<int>(w.rows),
                      static_cast<int>(w.cols), static_cast<int>(w.format.GroupSize(w.cols)));
    made->data = DeviceBuffer(m.code_bytes());
    made->packed_scales = DeviceBuffer(m.scale_count() * w.format.ScaleBytes());
    m.data = made->data.as<uint8_t>();
    m.scales = made->packed_scales.as<uint8_t>();
    if (w.zeros != nullptr) {
      made->packed_zeros = DeviceBuffer(m.scale_count() * 2);
      m.zeros = made->packed_zeros.as<uint8_t>();
    }
    PackTask pack{};
    pack.sources[0] = {made->codes.as<uint8_t>(), made->scales.as<uint8_t>(), made->zeros.as<uint8_t>(), m.rows};
    pack.count = 1;
    pack.order = RowOrder::kPlain;
    pack.half = 1;
    pack.row_bytes = static_cast<int>(w.format.RowBytes(w.cols));
    pack.to = m;
    LaunchPack(pack, nullptr);

    const int stride = RoundUp(m.cols, kBlockK), panels = RoundUp(tokens, 64) / kPanelTokens;
    std::vector<float> padded(static_cast<size_t>(tokens * stride));
    for (int t = 0; t < tokens; ++t) std::copy_n(x.begin() + t * m.cols, m.cols, padded.begin() + t * stride);
    made->x = ToDevice(padded);
    made->y = DeviceBuffer(static_cast<size_t>(tokens * m.tiles * kTileRows) * sizeof(float));
    made->in_codes = DeviceBuffer(static_cast<size_t>(panels * RoundUp(m.cols, kMostStripK) / kBlockK * kChunkBytes));
    made->in_scales = DeviceBuffer(static_cast<size_t>(panels * RoundUp(m.cols, kMostStripK) / 32 * kPanelTokens) * sizeof(float));
    made->in_factors = DeviceBuffer(static_cast<size_t>(panels * kPanelTokens) * sizeof(float));
    made->in_sums = DeviceBuffer(made->in_scales.size());
    made->partial = DeviceBuffer(static_cast<size_t>((m.cols / kSliceK + 1) * tokens * m.tiles * kTileRows) * sizeof(float));
    LinearTask& task = made->task;
    task.matrix = m;
    PrepareTask& in = task.input;
    in.x = made->x.as<float>();
    in.stride = static_cast<size_t>(stride);
    in.cols = m.cols;
    in.out = {made->in_codes.as<int8_t>(), made->in_scales.as<float>(), made->in_factors.as<float>(),
              made->in_sums.as<int32_t>(), 0, 0};
    PrepareFor(m, &in);
    task.out.kind = Output::kStore;
    task.out.y = made->y.as<float>();
    task.out.stride = static_cast<size_t>(m.tiles * kTileRows);
    task.out.rows = m.rows;
    task.tokens = tokens;
    return made;
  }

  std::vector<float> Result(const Case& done) {
    std::vector<float> y(done.y.size() / sizeof(float));
    Check(cudaMemcpy(y.data(), done.y.as<float>(), done.y.size(), cudaMemcpyDeviceToHost), "test");
    return y;
  }

  void ExpectRows(const Case& done, const WeightView& w, const std::vector<float>& x, int tokens, const char* kernel) {
    const std::vector<float> y = Result(done);
    int wrong = 0;
    for (int t = 0; t < tokens; ++t) {
      const std::vector<float> expected = Expected(w, x.data() + t * w.cols);
      for (size_t row = 0; row < expected.size(); ++row) {
        const float got = y[static_cast<size_t>(t) * done.task.out.stride + row];
        if (got != expected[row] && wrong++ < 3) {
          ADD_FAILURE() << kernel << ' ' << w.rows << 'x' << w.cols << ", " << tokens << " tokens: token " << t << " row "
                        << row << " is " << got << ", not " << expected[row];
        }
      }
    }
    EXPECT_EQ(wrong, 0) << kernel << ' ' << w.rows << 'x' << w.cols << ' ' << tokens;
  }

  int processors_ = 1, shared_bytes_ = 0;
};

// Which kernel a batch gets, by the shared memory that a block may have. Needs no device.
TEST(CudaShapes, LongRowsForManyTokensGoToTheOtherKernel) {
  const auto fits = [](int cols, int tokens, int shared_bytes) {
    const PackedMatrix matrix = MeasureMatrix(Codes::kInt4, true, 256, 4096, cols, 128);
    const Launch launch = {nullptr, false, 132, shared_bytes};
    return tokens == 1 ? FitsTokenLinear(matrix, launch) : FitsBatchLinear(matrix, launch);
  };
  constexpr int kHopper = 227 << 10, kAmpere = 99 << 10, kTuring = 64 << 10;
  EXPECT_TRUE(fits(14336, 1, kHopper));
  EXPECT_TRUE(fits(14336, 8, kHopper));
  EXPECT_TRUE(fits(18944, 1, kHopper));
  EXPECT_TRUE(fits(18944, 8, kHopper));
  EXPECT_FALSE(fits(28672, 8, kHopper));
  EXPECT_TRUE(fits(kMostCols, 1, kHopper));
  EXPECT_TRUE(fits(14336, 1, kAmpere));
  EXPECT_FALSE(fits(14336, 8, kAmpere));
  EXPECT_TRUE(fits(14336, 1, kTuring));
  EXPECT_FALSE(fits(4096, 8, kTuring));
}

TEST_P(CudaLinear, IsTheDefinitionToTheBit) {
  const Launch launch = {nullptr, false, processors_, shared_bytes_};
  unsigned seed = 1;
  for (const auto& [rows, cols] : std::vector<std::pair<int, int>>{{16, 64}, {40, 96}, {33, 160}, {100, 576}, {48, 1536}, {72, 4352}, {4000, 288}, {150000, 64}}) {
    const Stored w = Store(GetParam(), rows, cols, seed++);
    for (int tokens : {1, 2, 8, 13, 30, 64, 130}) {
      if (rows >= 4000 && tokens > (rows > 4000 ? 1 : 8)) continue;
      const std::vector<float> x = Random(static_cast<size_t>(tokens * cols), seed++);
      auto made = Make(w.view, x, tokens);
      if (tokens == 1) {
        LaunchTokenLinear(made->task, launch);
        ExpectRows(*made, w.view, x, tokens, "token");
        Check(cudaMemset(made->y.as<float>(), 255, made->y.size()), "test");
      }
      LaunchPrepare(made->task.input, tokens, launch);
      if (tokens <= kPanelTokens) {
        LaunchBatchLinear(made->task, launch);
        ExpectRows(*made, w.view, x, tokens, "batch");
        Check(cudaMemset(made->y.as<float>(), 255, made->y.size()), "test");
      }
      LaunchPromptLinear(made->task, nullptr, launch);
      ExpectRows(*made, w.view, x, tokens, "prompt");
      Check(cudaMemset(made->y.as<float>(), 255, made->y.size()), "test");
      LaunchPromptLinear(made->task, made->partial.as<float>(), launch);
      ExpectRows(*made, w.view, x, tokens, "prompt by slices");
    }
  }
}

std::vector<WeightFormat> IntegerFormats() {
  std::vector<WeightFormat> formats;
  for (const WeightFormat& format : AllWeightFormats()) {
    if (!format.is_float()) formats.push_back(format);
  }
  return formats;
}

INSTANTIATE_TEST_SUITE_P(Cuda, CudaLinear, testing::ValuesIn(IntegerFormats()), [](const auto& param) {
  std::string name = param.param.Name();
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace edgellm::cuda
