// The forward pass that calibration stands on, against references: PyTorch's logits for every family's float
// checkpoint, and the reference backend for quantised weights, whose activations it must round as kernels do.
#include "convert/float_forward.h"

#include <cmath>
#include <filesystem>

#include <gtest/gtest.h>

#include "convert/import.h"
#include "convert/quantize.h"
#include "tests/e2e/running.h"
#include "tests/source_dir.h"

namespace edgellm {
namespace {

const std::filesystem::path kGolden = SourceDir() / "tests" / "golden";
constexpr int kWindow = 24;

class EachFamily : public testing::TestWithParam<const char*> {
 protected:
  /// Two windows of one text: the second must not see the first.
  static std::vector<int32_t> Tokens(const Model& model) {
    std::vector<int32_t> tokens;
    for (int i = 0; i < 2 * kWindow; ++i) tokens.push_back((i * 37 + 11) % model.config.vocab);
    return tokens;
  }

  /// Root of the squared difference over the squared logits of the reference backend.
  static double Difference(const Model& model) {
    const Plan plan = Lower(model.config);
    auto views = model.weights.Bind(plan, "model");
    const auto tokens = Tokens(model);
    WorkerPool pool(2);
    FloatForward forward(plan, views, {tokens, kWindow}, pool);
    std::vector<std::string> seen;
    forward.Run(
        [&](std::span<const WeightId> ids, const MatrixView& inputs) {
          EXPECT_EQ(inputs.rows, 2 * kWindow);
          for (const WeightId id : ids) {
            seen.push_back(plan.weights[static_cast<size_t>(id)].name);
            EXPECT_EQ(inputs.columns, plan.weights[static_cast<size_t>(id)].cols);
          }
        },
        /*with_logits=*/true);
    EXPECT_EQ(seen.size(), static_cast<size_t>(7 * model.config.layers + 1));
    double error = 0, square = 0;
    const float* got = forward.logits().data();
    for (int window = 0; window < 2; ++window) {
      const std::vector<int32_t> part(tokens.begin() + window * kWindow, tokens.begin() + (window + 1) * kWindow);
      for (const auto& row : AllLogits(model, {"reference", ""}, part)) {
        for (const float wanted : row) {
          error += (static_cast<double>(*got) - wanted) * (static_cast<double>(*got) - wanted);
          square += static_cast<double>(wanted) * wanted;
          ++got;
        }
      }
    }
    return std::sqrt(error / square);
  }
};

TEST_P(EachFamily, AgreesWithTheReference) {
  EXPECT_LT(Difference(ImportHuggingFace(kGolden / GetParam(), {})), 2e-5);
}

TEST_P(EachFamily, AgreesWithTheReferenceOnInt4) {
  const Model source = ImportHuggingFace(kGolden / GetParam(), {});
  const Model model = Quantize(source, {.linear = WeightFormat::Parse("int4-g32-z")}, {});
  // Where an activation lies near a rounding tie, the last bit of a sum decides; that moves an output by a code's
  // share.
  EXPECT_LT(Difference(model), 5e-3);
}

INSTANTIATE_TEST_SUITE_P(Golden, EachFamily,
                         testing::Values("llama-tied", "llama3-rope", "llama-bias-head-dim", "qwen2-sharded",
                                         "qwen3-tied", "qwen3-untied", "bitnet-packed"),
                         [](const auto& row) {
                           std::string name = row.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace edgellm
