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

  /// Root of the squared difference over the squared logits of the reference backend: of all, and of the position where
  /// it is least.
  struct Differences {
    double whole = 0, least = 1;
  };

  static Differences Compare(const Model& model) {
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
    Differences differences;
    double error = 0, square = 0;
    const float* got = forward.logits().data();
    for (int window = 0; window < 2; ++window) {
      const std::vector<int32_t> part(tokens.begin() + window * kWindow, tokens.begin() + (window + 1) * kWindow);
      for (const auto& row : AllLogits(model, {"reference", ""}, part)) {
        double row_error = 0, row_square = 0;
        for (const float wanted : row) {
          row_error += (static_cast<double>(*got) - wanted) * (static_cast<double>(*got) - wanted);
          row_square += static_cast<double>(wanted) * wanted;
          ++got;
        }
        differences.least = std::min(differences.least, std::sqrt(row_error / row_square));
        error += row_error;
        square += row_square;
      }
    }
    differences.whole = std::sqrt(error / square);
    return differences;
  }
};

/// Where an activation lies near a rounding tie, the last bit of a sum decides, and that moves all that follows by a
/// code's share; a position without one agrees to the last bits of floats.
void ExpectAlikeButForTies(double whole, double least) {
  EXPECT_LT(whole, 0.03);
  EXPECT_LT(least, 2e-5);
}

TEST_P(EachFamily, AgreesWithTheReference) {
  const Model model = ImportHuggingFace(kGolden / GetParam(), {});
  const auto [whole, least] = Compare(model);
  if (model.config.native_ternary) {
    ExpectAlikeButForTies(whole, least);
  } else {
    EXPECT_LT(whole, 2e-5);
  }
}

TEST_P(EachFamily, RoundsActivationsAsTheReferenceDoes) {
  const Model source = ImportHuggingFace(kGolden / GetParam(), {});
  const Model model = Quantize(source, {.linear = WeightFormat::Parse("int4-g32-z")}, {});
  const auto [whole, least] = Compare(model);
  ExpectAlikeButForTies(whole, least);
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
