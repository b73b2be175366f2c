// Quantising whole models: which tensor gets which format, what passes unchanged, what is refused, what the recipe
// says.
#include "convert/quantize.h"

#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "convert/bitnet.h"
#include "quant/codec.h"
#include "tests/model/expect_error.h"
#include "tests/model/sample_model.h"

namespace edgellm {
namespace {

WeightFormat Format(const char* name) {
  return WeightFormat::Parse(name);
}

ModelConfig BitnetConfig() {
  ModelConfig config = SampleConfig();
  config.family = "bitnet";
  config.activation = Activation::kRelu2;
  config.sub_norms = config.tied_head = config.native_ternary = true;
  return config;
}

std::string FormatOf(const Model& model, const std::string& name) {
  return model.weights.Find(name)->view.format.Name();
}

const std::string kUp = "model.layers.0.mlp.up_proj.weight", kTable = "model.embed_tokens.weight",
                  kNorm = "model.layers.0.input_layernorm.weight";

class QuantizeTo : public testing::TestWithParam<WeightFormat> {};

TEST_P(QuantizeTo, EachTensorInItsFormat) {
  const Model source = SampleModel(Format("f32"));
  std::vector<uint64_t> seen;
  const Model model = Quantize(source, {.linear = GetParam(), .head = {}, .force_ternary = true},
                               [&](std::string_view, uint64_t done, uint64_t total) {
                                 EXPECT_LE(done, total);
                                 seen.push_back(done);
                               });
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_GT(seen.size(), 10u);
  model.weights.Bind(Lower(model.config), "quantised");
  EXPECT_EQ(FormatOf(model, kUp), GetParam().Name());
  EXPECT_EQ(FormatOf(model, kNorm), "f32");
  // 24 values a row: no group divides it.
  const bool alike = GetParam().is_float() || GetParam().kind == WeightKind::kInt8;
  EXPECT_EQ(FormatOf(model, kTable), alike ? GetParam().Name() : "int8-g32");
  const auto recipe = nlohmann::json::parse(model.provenance.recipe_json);
  if (GetParam() == Format("f32")) {
    EXPECT_EQ(model.golden.size(), source.golden.size());
    return;
  }
  EXPECT_TRUE(model.golden.empty());
  const auto& row = recipe["tensors"][kUp];
  EXPECT_EQ(row["format"], GetParam().Name());
  EXPECT_EQ(row["source"], "f32");
  EXPECT_FALSE(row["exact"].get<bool>());
  const double error = row["relative_rms_error"];
  const double most = GetParam().is_float()                  ? 0.005
                      : GetParam().kind == WeightKind::kInt8 ? 0.02
                      : GetParam().kind == WeightKind::kInt4 ? 0.15
                                                             : 0.7;
  EXPECT_GT(error, 0);
  EXPECT_LT(error, most);
  EXPECT_EQ(recipe["source"]["linear"], "int4-g32");  // the sample's own recipe is kept
}

INSTANTIATE_TEST_SUITE_P(All, QuantizeTo, testing::ValuesIn(AllWeightFormats().begin(), AllWeightFormats().end()),
                         [](const auto& format) {
                           std::string name = format.param.Name();
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(Quantize, RowsAreThoseOfThePlainEncoder) {
  const Model source = SampleModel(Format("bf16"));
  const Model model = Quantize(source, {.linear = Format("int4-g32-z"), .head = Format("int8-g64")}, {});
  EXPECT_EQ(FormatOf(model, kTable), "int8-g64");
  EXPECT_EQ(FormatOf(model, "lm_head.weight"), "int8-g64");
  const WeightView& before = source.weights.Find(kUp)->view;
  const Tensor expected = EncodeTensor(Format("int4-g32-z"), before.rows, before.cols, [&](int64_t row) {
    static std::vector<float> values;
    values.resize(static_cast<size_t>(before.cols));
    DecodeRow(before, row, values);
    return std::span<const float>(values);
  });
  EXPECT_EQ(PlanesText(model.weights.Find(kUp)->view), PlanesText(expected.view));
}

TEST(Quantize, TheDefaultHeadTakesTheLargestGroupThatDivides) {
  for (const auto& [hidden, name] :
       {std::pair{128, "int8-g128"}, std::pair{64, "int8-g64"}, std::pair{96, "int8-g32"}, std::pair{72, "int8-g32"}}) {
    ModelConfig config = SampleConfig();
    config.hidden = hidden;
    const Model model = Quantize(SampleModel(Format("bf16"), config), {.linear = Format("int4-g32"), .head = {}}, {});
    EXPECT_EQ(FormatOf(model, kTable), name);
  }
}

TEST(Quantize, WhatHasTheFormatPassesBitForBit) {
  const Model source = SampleModel(Format("int4-g32"));
  const Model model = Quantize(source, {.linear = Format("int4-g32"), .head = {}}, {});
  for (const auto& [name, tensor] : source.weights.tensors()) {
    EXPECT_EQ(model.weights.Find(name)->view.codes, tensor.view.codes) << name;
  }
  EXPECT_EQ(model.golden.size(), source.golden.size());
  EXPECT_EQ(model.provenance.recipe_json, source.provenance.recipe_json);
}

TEST(Quantize, ASecondRoundingIsNoted) {
  const Model model = Quantize(SampleModel(Format("int8-g32")), {.linear = Format("int4-g32"), .head = {}}, {});
  EXPECT_EQ(FormatOf(model, kTable), "int8-g32");  // was integer, nothing asked: left alone
  EXPECT_CONTAINS(model.provenance.notes.back(), "second time");
  EXPECT_EQ(nlohmann::json::parse(model.provenance.recipe_json)["tensors"][kUp]["source"], "int8-g32");
}

TEST(Quantize, APlainCheckpointIsNotMadeTernary) {
  const Model source = SampleModel(Format("bf16"));
  for (const auto& options : {QuantizeOptions{Format("ternary"), {}, false},
                              QuantizeOptions{Format("int8-g32"), Format("ternary-g256"), false}}) {
    EXPECT_CONTAINS(ErrorOf([&] { Quantize(source, options, {}); }, ErrorCode::kInvalidArgument),
                    "not trained ternary");
  }
}

TEST(Quantize, ANativeCheckpointUsesTheAbsmeanOfTheMatrix) {
  const Model source = SampleModel(Format("bf16"), BitnetConfig());
  for (const char* name : {"ternary", "ternary-g256"}) {
    const Model model = Quantize(source, {.linear = Format(name), .head = {}}, {});
    const Tensor expected = EncodeBitnet(source.weights.Find(kUp)->view, kUp);
    const WeightView& got = model.weights.Find(kUp)->view;
    EXPECT_EQ(got.format.Name(), name);
    std::vector<float> a(static_cast<size_t>(got.cols)), b(a.size());
    for (int64_t row = 0; row < got.rows; ++row) {
      DecodeRow(got, row, a);
      DecodeRow(expected.view, row, b);
      EXPECT_EQ(a, b);
    }
  }
}

TEST(Quantize, WhatIsTernaryAlreadyIsKeptExactly) {
  Model source = SampleModel(Format("bf16"), BitnetConfig());
  const Model ternary = Quantize(source, {.linear = Format("ternary"), .head = {}}, {});
  // Through floats and the other ternary format and back: the values stay.
  const Model floats = Quantize(ternary, {.linear = Format("f32"), .head = {}}, {});
  const Model grouped = Quantize(ternary, {.linear = Format("ternary-g256"), .head = {}}, {});
  for (const Model* from : {&floats, &grouped}) {
    const Model again = Quantize(*from, {.linear = Format("ternary"), .head = {}}, {});
    const auto row = nlohmann::json::parse(again.provenance.recipe_json)["tensors"][kUp];
    EXPECT_TRUE(row["exact"].get<bool>());
    EXPECT_EQ(PlanesText(again.weights.Find(kUp)->view), PlanesText(ternary.weights.Find(kUp)->view));
  }
}

TEST(Quantize, WeightsThatAreNoNumbersAreRefused) {
  Model source = SampleModel(Format("f32"));
  WritableTensor bad = MakeTensor(Format("f32"), 40, 24, false);
  reinterpret_cast<float*>(bad.codes)[700] = NAN;
  WeightTable weights;
  for (const auto& [name, tensor] : source.weights.tensors()) weights.Add(name, name == kUp ? bad.tensor : tensor);
  source.weights = std::move(weights);
  for (const char* format : {"int8-g32", "int4-g32", "int4-g32-z", "ternary", "f16"}) {
    const QuantizeOptions options{.linear = Format(format), .head = {}, .force_ternary = true};
    EXPECT_CONTAINS(ErrorOf([&] { Quantize(source, options, {}); }, ErrorCode::kCorrupt), "up_proj");
  }
}

}  // namespace
}  // namespace edgellm
