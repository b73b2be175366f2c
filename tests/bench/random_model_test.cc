// Models of random weights: valid in every format, the same for the same seed, and exported to GGUF without a change,
// so that a peer runs the same weights.
#include "bench/random_model.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "bench/shapes.h"
#include "convert/export_gguf.h"
#include "convert/import.h"
#include "quant/codec.h"
#include "tests/base/temporary_folder.h"
#include "tests/model/sample_model.h"

namespace edgellm {
namespace {

/// A published shape made small; ternary blocks of GGUF hold 256 values.
ModelConfig SmallConfig(std::string_view shape) {
  return Resized(ShapeByName(shape), {.hidden = 256, .layers = 1, .head_dim = 64, .ffn = 512, .vocab = 300});
}

std::vector<float> Values(const WeightView& view) {
  std::vector<float> values(static_cast<size_t>(view.rows * view.cols));
  for (int64_t row = 0; row < view.rows; ++row) {
    DecodeRow(view, row,
              std::span(values).subspan(static_cast<size_t>(row * view.cols), static_cast<size_t>(view.cols)));
  }
  return values;
}

TEST(RandomModel, EveryFormatIsValidAndRepeatable) {
  for (const WeightFormat& format : AllWeightFormats()) {
    const RandomModelOptions options = {.linear = format, .head = format};
    const Model model = RandomModel("m", SmallConfig("qwen2.5-0.5b"), options, {});
    ASSERT_NO_THROW(ValidateCodes(model.weights, "m")) << format.Name();
    const Model again = RandomModel("m", SmallConfig("qwen2.5-0.5b"), options, {});
    const std::string up = "model.layers.0.mlp.up_proj.weight", down = "model.layers.0.mlp.down_proj.weight";
    const auto values = Values(model.weights.Find(up)->view);
    EXPECT_EQ(values, Values(again.weights.Find(up)->view)) << format.Name();
    EXPECT_NE(values, Values(model.weights.Find(down)->view)) << format.Name();
    // Of such a size that a layer neither dies out nor blows up: about 1 / sqrt(columns), with a mean near nothing.
    double sum = 0, square = 0;
    for (const float value : values) {
      sum += value;
      square += static_cast<double>(value) * value;
    }
    const auto count = static_cast<double>(values.size());
    EXPECT_NEAR(std::sqrt(square / count), 1.0 / 16, 0.01) << format.Name();
    EXPECT_NEAR(sum / count, 0, 0.002) << format.Name();
  }
}

TEST(RandomModel, GgufHoldsTheSameWeights) {
  const TemporaryFolder folder;
  for (const auto& [linear, head, type] :
       {std::tuple{"int4-g128", "int8-g128", GgufType::kQ4_0}, std::tuple{"ternary", "int8-g128", GgufType::kTQ2_0},
        std::tuple{"ternary-g256", "int8-g32", GgufType::kTQ2_0}}) {
    const Model model = RandomModel("m", SmallConfig("bitnet-2b4t-llama"),
                                    {.linear = WeightFormat::Parse(linear), .head = WeightFormat::Parse(head)}, {});
    ExportGguf(model, type, folder / "m.gguf", {});
    const Model back = ImportGguf(folder / "m.gguf", {});
    for (const auto& [name, tensor] : model.weights.tensors()) {
      EXPECT_EQ(Values(tensor.view), Values(back.weights.Find(name)->view)) << linear << " " << name;
    }
    const WeightKind kind = back.weights.Find("model.layers.0.mlp.up_proj.weight")->view.format.kind;
    EXPECT_EQ(kind, WeightFormat::Parse(linear).kind);
  }
}

TEST(Shapes, EachNameGivesAValidConfiguration) {
  for (const std::string& name : ShapeNames()) {
    EXPECT_NO_THROW(Validate(ShapeByName(name), name)) << name;
    const ModelConfig plain = ShapeByName(name + "-llama");
    EXPECT_EQ(plain.family, "llama");
    EXPECT_FALSE(plain.qkv_bias || plain.qk_norm || plain.sub_norms);
  }
  EXPECT_EQ(ShapeByName("Qwen2.5-1.5B").ffn, 8960);
  EXPECT_THROW(ShapeByName("gpt-9"), Error);
}

}  // namespace
}  // namespace edgellm
