// Calibrating whole models: what is rounded and what is left, that outputs gain, and that a killed run goes on to the
// same bytes.
#include "convert/calibrate.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/journal.h"
#include "convert/quantize.h"
#include "tests/model/expect_error.h"
#include "tests/model/sample_model.h"

namespace edgellm {
namespace {

constexpr int kWindow = 16;

ModelConfig Config(bool tied = false) {
  ModelConfig config = SampleConfig();
  config.hidden = 64;
  config.head_dim = 16;
  config.ffn = 96;
  config.tied_head = tied;
  return config;
}

QuantizeOptions Options(const char* format = "int4-g32") {
  Calibration calibration;
  calibration.text = "text.txt";
  calibration.text_sha256 = std::string(64, 'c');
  for (int i = 0; i < 20 * kWindow; ++i) calibration.tokens.push_back((i * i * 7 + i * 13) % 50);
  calibration.window = kWindow;
  const WeightFormat parsed = WeightFormat::Parse(format);
  return {.linear = parsed, .head = parsed, .calibration = calibration};
}

/// All matrices of a model, as bytes.
std::string BytesOf(const Model& model) {
  std::string bytes;
  for (const auto& [name, tensor] : model.weights.tensors()) bytes += name + PlanesText(tensor.view);
  return bytes;
}

TEST(SpreadWindows, TakesWholeWindowsFromAllOverTheText) {
  std::vector<int32_t> tokens(1003);
  for (int i = 0; i < 1003; ++i) tokens[static_cast<size_t>(i)] = i;
  const auto two = SpreadWindows(tokens, 100, 250, {});
  ASSERT_EQ(two.size(), 200u);
  EXPECT_EQ(two[0], 200);
  EXPECT_EQ(two[99], 299);
  EXPECT_EQ(two[100], 700);
  EXPECT_EQ(SpreadWindows(tokens, 100, 1, {}).size(), 100u);  // never less than one
  const auto all = SpreadWindows(tokens, 100, 1 << 20, -5);
  ASSERT_EQ(all.size(), 1000u);
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], i % 100 == 0 ? -5 : static_cast<int>(i));
  EXPECT_CONTAINS(ErrorOf([&] { SpreadWindows(tokens, 1004, 5000, {}); }), "1003 tokens");
}

TEST(Calibrate, EveryLayerGainsAndTheRecipeTells) {
  const Model source = SampleModel(WeightFormat::Parse("bf16"), Config());
  for (const char* format : {"int4-g32", "int4-g64-z", "int8-g32"}) {
    const Model model = Quantize(source, Options(format), {});
    const auto recipe = nlohmann::json::parse(model.provenance.recipe_json);
    EXPECT_EQ(recipe["calibration"]["tokens"], 20 * kWindow);
    EXPECT_EQ(recipe["calibration"]["window"], kWindow);
    EXPECT_EQ(recipe["calibration"]["text"], "text.txt");
    EXPECT_EQ(recipe["calibration"]["text_sha256"], std::string(64, 'c'));
    int calibrated = 0;
    for (const auto& [name, row] : recipe["tensors"].items()) {
      EXPECT_EQ(row.contains("output_error"), name != "model.embed_tokens.weight") << name;
      if (!row.contains("output_error")) continue;
      EXPECT_LT(row["output_error"].get<double>(), row["output_error_plain"].get<double>()) << name;
      ++calibrated;
    }
    EXPECT_EQ(calibrated, 15);  // two layers of seven, and the head
  }
}

TEST(Calibrate, ATableThatIsEmbeddingAndHeadIsRoundedPlainly) {
  const Model source = SampleModel(WeightFormat::Parse("bf16"), Config(/*tied=*/true));
  QuantizeOptions options = Options();
  options.head = WeightFormat::Parse("int4-g32");
  const Model calibrated = Quantize(source, options, {});
  options.calibration.reset();
  const Model plain = Quantize(source, options, {});
  const char* table = "model.embed_tokens.weight";
  EXPECT_EQ(PlanesText(calibrated.weights.Find(table)->view), PlanesText(plain.weights.Find(table)->view));
}

TEST(Calibrate, ThreadsDoNotShow) {
  const Model source = SampleModel(WeightFormat::Parse("bf16"), Config());
  QuantizeOptions options = Options();
  options.threads = 1;
  const std::string one = BytesOf(Quantize(source, options, {}));
  options.threads = 3;
  EXPECT_EQ(BytesOf(Quantize(source, options, {})), one);
}

TEST(Calibrate, AKilledRunGoesOnToTheSameBytes) {
  const TemporaryFolder folder;
  const Model source = SampleModel(WeightFormat::Parse("bf16"), Config());
  const QuantizeOptions whole = Options();
  const std::string expected = BytesOf(Quantize(source, whole, {}));
  QuantizeOptions options = whole;
  options.journal = folder / "model.partial";
  std::string note;
  const auto listen = [&](std::string_view text) { note = text; };
  for (const int stop_after : {1, 4, 9, 12}) {
    int calls = 0;
    const auto progress = [&](std::string_view activity, uint64_t, uint64_t) {
      if (activity == "calibrating" && calls++ == stop_after) throw std::runtime_error("killed");
    };
    EXPECT_THROW(Quantize(source, options, progress, listen), std::runtime_error) << stop_after;
  }
  EXPECT_CONTAINS(note, "earlier run finished");
  EXPECT_EQ(BytesOf(Quantize(source, options, {}, listen)), expected);
  EXPECT_CONTAINS(note, "12 matrices");

  // Other options are other work: nothing of it is taken over.
  options.linear = WeightFormat::Parse("int4-g64");
  const Model other = Quantize(source, options, {}, listen);
  EXPECT_CONTAINS(note, "not used");
  options.journal.clear();
  EXPECT_EQ(BytesOf(other), BytesOf(Quantize(source, options, {})));
}

TEST(Calibrate, WhatCannotBeIsRefused) {
  const Model source = SampleModel(WeightFormat::Parse("bf16"), Config());
  QuantizeOptions options = Options();
  options.calibration->tokens[5] = 50;
  EXPECT_CONTAINS(ErrorOf([&] { Quantize(source, options, {}); }, ErrorCode::kInvalidArgument), "token 50");
  options = Options();
  options.calibration->window = 80;
  EXPECT_CONTAINS(ErrorOf([&] { Quantize(source, options, {}); }, ErrorCode::kInvalidArgument), "context of 64");
}

}  // namespace
}  // namespace edgellm
