// GGUF to Model: values by format, row orders, configuration, tokenizer, and what is refused.
#include "convert/import_gguf.h"

#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "convert/gguf_blocks.h"
#include "convert/import.h"
#include "quant/codec.h"
#include "tests/convert/gguf_samples.h"
#include "text/tokenizer.h"

namespace edgellm {
namespace {

constexpr GgufTensorType kTypes[] = {GgufTensorType::kF32,  GgufTensorType::kF16,  GgufTensorType::kBf16,
                                     GgufTensorType::kQ8_0, GgufTensorType::kQ4_0, GgufTensorType::kQ4_K,
                                     GgufTensorType::kQ5_K, GgufTensorType::kQ6_K, GgufTensorType::kTQ1_0,
                                     GgufTensorType::kTQ2_0};

std::vector<float> GgufRow(const GgufFile& file, std::string_view name, int64_t row) {
  const GgufTensor& tensor = file.tensors.find(name)->second;
  std::vector<float> values(static_cast<size_t>(tensor.cols));
  const size_t stride = tensor.bytes.size() / static_cast<size_t>(tensor.rows);
  DecodeGgufRow(tensor.traits->type, tensor.bytes.data() + static_cast<size_t>(row) * stride, values);
  return values;
}

std::vector<float> OurRow(const Model& model, const std::string& name, int64_t row) {
  const Tensor* tensor = model.weights.Find(name);
  std::vector<float> values(static_cast<size_t>(tensor->view.cols));
  DecodeRow(tensor->view, row, values);
  return values;
}

double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, square = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += std::pow(double{a[i]} - b[i], 2);
    square += std::pow(double{b[i]}, 2);
  }
  return std::sqrt(error / square);
}

class ImportGgufTypes : public testing::TestWithParam<GgufTensorType> {};

TEST_P(ImportGgufTypes, KeepValuesAndPutRotaryRowsInHalves) {
  const Bytes bytes = SampleGguf(WideConfig(), {.matrices = GetParam()});
  const GgufFile file = ParseGguf(bytes, "x");
  const Model model = ImportBytes(bytes);
  const GgufTarget target = TargetOfGguf(GetParam());
  const double bound = target.is_exact ? 0 : 0.01;
  EXPECT_EQ(model.weights.Find("model.layers.1.mlp.up_proj.weight")->view.format, target.format);
  for (const int64_t row : {0, 1, 31, 63, 64, 127}) {
    EXPECT_LE(
        Distance(OurRow(model, "model.layers.1.mlp.up_proj.weight", row), GgufRow(file, "blk.1.ffn_up.weight", row)),
        bound);
    EXPECT_LE(Distance(OurRow(model, "model.layers.0.self_attn.v_proj.weight", row),
                       GgufRow(file, "blk.0.attn_v.weight", row)),
              bound);
    // Within a head of 64: row i comes from 2i, row 32 + i from 2i + 1.
    const int64_t head = row / 64 * 64, within = row % 64;
    const int64_t from = head + (within < 32 ? 2 * within : 2 * (within - 32) + 1);
    for (const auto& [ours, theirs] : {std::pair{"q_proj", "attn_q"}, std::pair{"k_proj", "attn_k"}}) {
      EXPECT_LE(Distance(OurRow(model, fmt::format("model.layers.0.self_attn.{}.weight", ours), row),
                         GgufRow(file, fmt::format("blk.0.{}.weight", theirs), from)),
                bound);
    }
  }
  const auto recipe = nlohmann::json::parse(model.provenance.recipe_json);
  if (target.format.is_float()) {
    EXPECT_TRUE(recipe.empty());
    return;
  }
  const auto& row = recipe["tensors"]["model.layers.0.self_attn.q_proj.weight"];
  EXPECT_EQ(row["exact"], target.is_exact);
  EXPECT_EQ(row["source"], std::string(GgufTraits(GetParam()).name));
  EXPECT_EQ(row["format"], target.format.Name());
  EXPECT_EQ(row.contains("relative_rms_error"), !target.is_exact);
  if (!target.is_exact) {
    EXPECT_LT(row["relative_rms_error"].get<double>(), 0.01);
  }
}

INSTANTIATE_TEST_SUITE_P(All, ImportGgufTypes, testing::ValuesIn(kTypes),
                         [](const auto& type) { return std::string(GgufTraits(type.param).name); });

TEST(ImportGguf, FloatsAreMappedNotCopied) {
  auto owner = std::make_shared<Bytes>(SampleGguf(SampleConfig(), {.matrices = GgufTensorType::kF32}));
  const Model model = ImportGgufBytes(*owner, "x", owner, {});
  const auto* codes = model.weights.Find("model.layers.0.mlp.up_proj.weight")->view.codes;
  EXPECT_TRUE(codes >= owner->data() && codes < owner->data() + owner->size());
}

TEST(ImportGguf, FillsConfigurationTokenizerAndDefaults) {
  const Model model = ImportBytes(SampleGguf(SampleConfig()));
  ModelConfig expected = SampleConfig();
  EXPECT_EQ(model.config, expected);
  EXPECT_EQ(model.name, "a sample");
  EXPECT_EQ(model.chat_template, "{{ messages[0].content }}");
  EXPECT_EQ(model.generation.stop_tokens, (std::vector<int32_t>{3, 4}));
  const auto tokenizer = text::Tokenizer::FromJson(model.tokenizer_json, "t");
  EXPECT_EQ(tokenizer.Encode("abb", {.add_special = false}), (std::vector<int32_t>{2, 1}));
}

TEST(ImportGguf, FamiliesWithHalvesKeepTheirRows) {
  ModelConfig config = SampleConfig();
  config.family = "qwen2";
  config.qkv_bias = true;
  const Bytes bytes = SampleGguf(config, {.architecture = "qwen2"});
  const GgufFile file = ParseGguf(bytes, "x");
  const Model model = ImportBytes(bytes);
  EXPECT_EQ(model.config, config);
  EXPECT_EQ(OurRow(model, "model.layers.0.self_attn.q_proj.weight", 1), GgufRow(file, "blk.0.attn_q.weight", 1));
  EXPECT_EQ(OurRow(model, "model.layers.0.self_attn.q_proj.bias", 0), GgufRow(file, "blk.0.attn_q.bias", 0));

  config = SampleConfig();
  config.family = "qwen3";
  config.qk_norm = true;
  config.tied_head = true;
  EXPECT_EQ(ImportBytes(SampleGguf(config, {.architecture = "qwen3"})).config, config);
}

TEST(ImportGguf, BiasesOfLlamaAreReorderedToo) {
  ModelConfig config = SampleConfig();
  config.qkv_bias = true;
  const Bytes bytes = SampleGguf(config);
  const auto theirs = GgufRow(ParseGguf(bytes, "x"), "blk.0.attn_q.bias", 0);
  const auto ours = OurRow(ImportBytes(bytes), "model.layers.0.self_attn.q_proj.bias", 0);
  EXPECT_EQ(ours[1], theirs[2]);
  EXPECT_EQ(ours[3], theirs[1]);  // heads of 6
  EXPECT_EQ(ours[6], theirs[6]);
}

TEST(ImportGguf, BitnetsDifferInTheirActivation) {
  for (const auto& [architecture, activation] :
       {std::pair{"bitnet", Activation::kSilu}, std::pair{"bitnet-b1.58", Activation::kRelu2},
        std::pair{"bitnet-25", Activation::kRelu2}}) {
    ModelConfig config = WideConfig();
    config.family = "bitnet";
    config.sub_norms = true;
    config.tied_head = true;
    config.native_ternary = true;
    config.activation = activation;
    const Model model =
        ImportBytes(SampleGguf(config, {.architecture = architecture, .matrices = GgufTensorType::kTQ2_0}));
    EXPECT_EQ(model.config, config);
  }
}

TEST(ImportGguf, AFactorBesideATernaryMatrixGoesIntoItsScales) {
  ModelConfig config = WideConfig();
  config.family = "bitnet";
  config.sub_norms = config.tied_head = config.native_ternary = true;
  const auto add_factor = [](GgufWriter& writer) {
    writer.AddTensor("blk.0.attn_q.scale", GgufTensorType::kF32, 1, 1, true, [](const GgufWriter::Sink& sink) {
      const float factor = 2.0f;
      sink(std::as_bytes(std::span(&factor, 1)));
    });
  };
  const std::string name = "model.layers.0.self_attn.q_proj.weight";
  const GgufVariation plain{.architecture = "bitnet", .matrices = GgufTensorType::kTQ1_0};
  GgufVariation scaled = plain;
  scaled.add = add_factor;
  auto once = OurRow(ImportBytes(SampleGguf(config, plain)), name, 3);
  for (float& x : once) x *= 2;
  EXPECT_EQ(OurRow(ImportBytes(SampleGguf(config, scaled)), name, 3), once);
}

void AddFactors(GgufWriter& writer, std::vector<float> factors) {
  const auto count = static_cast<int64_t>(factors.size());
  writer.AddTensor(
      kRopeFactorsTensor, GgufTensorType::kF32, 1, count, true,
      [factors = std::move(factors)](const GgufWriter::Sink& sink) { sink(std::as_bytes(std::span(factors))); });
}

TEST(ImportGguf, RopeFactorsOfLlama3AreRecognised) {
  const ModelConfig config = WideConfig();
  for (const float factor : {8.0f, 32.0f}) {
    const Llama3RopeScaling scaling{factor, 1, 4, 8192};
    const Model model =
        ImportBytes(SampleGguf(config, {.add = [&](GgufWriter& writer) {
                                 AddFactors(writer, Llama3RopeFactors(scaling, config.rope_theta, config.head_dim));
                               }}));
    EXPECT_EQ(model.config.llama3_rope, scaling);
    EXPECT_TRUE(model.config.rope_frequency_factors.empty());
  }
}

TEST(ImportGguf, OtherRopeFactorsAreKeptAsTheyAre) {
  const ModelConfig config = SampleConfig();
  const Model model = ImportBytes(SampleGguf(config, {.add = [&](GgufWriter& writer) {
                                               AddFactors(writer, {1, 1.5f, 7});
                                             }}));
  EXPECT_EQ(model.config.rope_frequency_factors, (std::vector<float>{1, 1.5f, 7}));
  const auto plain = Lower(config).rope_inverse_frequencies, scaled = Lower(model.config).rope_inverse_frequencies;
  EXPECT_EQ(scaled[0], plain[0]);
  EXPECT_EQ(scaled[1], plain[1] / 1.5f);
  EXPECT_EQ(ConfigFromJson(ToJson(model.config), "c"), model.config);
  ErrorOf([&] { ImportBytes(SampleGguf(config, {.add = [&](GgufWriter& w) { AddFactors(w, {1, 2}); }})); });
  ErrorOf([&] { ImportBytes(SampleGguf(config, {.add = [&](GgufWriter& w) { AddFactors(w, {1, 2, NAN}); }})); });
}

TEST(ImportGguf, MissingTensorsAreNamed) {
  for (const char* name : {"token_embd.weight", "blk.0.attn_q.weight", "blk.1.ffn_norm.weight", "output_norm.weight"}) {
    EXPECT_CONTAINS(
        ErrorOf([&] { ImportBytes(SampleGguf(SampleConfig(), {.left_out = {name}})); }, ErrorCode::kCorrupt), name);
  }
  for (const char* key : {"block_count", "embedding_length", "attention.layer_norm_rms_epsilon", "context_length",
                          "feed_forward_length", "attention.head_count", "general.architecture"}) {
    EXPECT_CONTAINS(ErrorOf([&] { ImportBytes(SampleGguf(SampleConfig(), {.left_out = {key}})); }, ErrorCode::kCorrupt),
                    key);
  }
}

TEST(ImportGguf, TensorsWithoutAPlaceAreRefused) {
  for (const char* name : {"blk.0.attn_rot.weight", "blk.9.attn_q.weight", "blk.0.attn_k.bias", "blk.00.attn_q.weight",
                           "blk.0.attn_q.scale", "a\nb"}) {
    const auto add = [&](GgufWriter& writer) {
      writer.AddTensor(name, GgufTensorType::kF32, 1, 4, true, [](const GgufWriter::Sink& sink) { sink(Bytes(16)); });
    };
    ErrorOf([&] { ImportBytes(SampleGguf(SampleConfig(), {.add = add})); });
  }
}

TEST(ImportGguf, WrongShapesAreRefused) {
  const Bytes bytes = SampleGguf(SampleConfig());
  for (int ModelConfig::*field : {&ModelConfig::hidden, &ModelConfig::ffn, &ModelConfig::heads, &ModelConfig::layers}) {
    // Metadata of another model than the tensors'.
    ModelConfig other = SampleConfig();
    other.*field *= 2;
    GgufWriter writer;
    AddSampleMetadata(writer, other, {});
    for (const auto& [name, tensor] : ParseGguf(bytes, "x").tensors) {
      writer.AddTensor(
          name, tensor.traits->type, tensor.rows, tensor.cols, tensor.is_vector,
          [part = Bytes(tensor.bytes.begin(), tensor.bytes.end())](const GgufWriter::Sink& sink) { sink(part); });
    }
    ErrorOf([&] { ImportBytes(BytesOf(writer)); }, ErrorCode::kCorrupt);
  }
}

TEST(ImportGguf, WhatWouldChangeTheResultIsRefused) {
  const auto refuses = [](const std::function<void(GgufWriter&)>& add, std::string_view part) {
    EXPECT_CONTAINS(ErrorOf([&] { ImportBytes(SampleGguf(SampleConfig(), {.add = add})); }, ErrorCode::kUnsupported),
                    part);
  };
  refuses([](GgufWriter& w) { w.AddUint32("llama.expert_count", 8); }, "experts");
  refuses([](GgufWriter& w) { w.AddUint32("llama.attention.sliding_window", 16); }, "window");
  refuses([](GgufWriter& w) { w.AddUint32("llama.rope.dimension_count", 4); }, "rotated");
  refuses([](GgufWriter& w) { w.AddText("llama.rope.scaling.type", "yarn"); }, "yarn");
  refuses([](GgufWriter& w) { w.AddFloat("llama.attention.scale", 0.3f); }, "attention.scale");
  EXPECT_CONTAINS(
      ErrorOf([&] { ImportBytes(SampleGguf(SampleConfig(), {.architecture = "mamba"})); }, ErrorCode::kUnsupported),
      "mamba");
  const Model linear = ImportBytes(SampleGguf(SampleConfig(), {.add = [](GgufWriter& w) {
                                                w.AddText("llama.rope.scaling.type", "linear");
                                                w.AddFloat("llama.rope.scaling.factor", 4.0f);
                                              }}));
  EXPECT_EQ(linear.config.linear_rope_factor, 4.0f);
}

TEST(ImportGguf, AnUnknownTokenizerIsNamed) {
  GgufVariation variation{.vocabulary = false};
  EXPECT_TRUE(ImportBytes(SampleGguf(SampleConfig(), variation)).tokenizer_json.empty());
  variation.add = [](GgufWriter& w) {
    w.AddText("tokenizer.ggml.model", "t5");
    w.AddTexts("tokenizer.ggml.tokens", {"a"});
  };
  EXPECT_CONTAINS(ErrorOf([&] { ImportBytes(SampleGguf(SampleConfig(), variation)); }, ErrorCode::kUnsupported), "t5");
}

TEST(ImportGguf, TokensInErrorsAreMadeOneLine) {
  GgufVariation variation;
  variation.vocabulary = false;
  variation.add = [](GgufWriter& w) {
    w.AddText("tokenizer.ggml.model", "gpt2");
    w.AddText("tokenizer.ggml.pre", "gpt-2");
    w.AddTexts("tokenizer.ggml.tokens", {"a", "b"});
    w.AddTexts("tokenizer.ggml.merges", {"a \x9d\n"});
  };
  EXPECT_CONTAINS(ErrorOf([&] { ImportBytes(SampleGguf(SampleConfig(), variation)); }, ErrorCode::kCorrupt), "merge");
}

TEST(ImportGguf, AFileOnDiskCarriesItsDigest) {
  const TemporaryFolder folder;
  const Bytes bytes = SampleGguf(SampleConfig());
  WriteText(folder / "m.gguf", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  const Model model = LoadModel(folder / "m.gguf");
  EXPECT_EQ(model.provenance.source, "m.gguf");
  EXPECT_EQ(model.provenance.source_format, "gguf");
  EXPECT_EQ(model.provenance.source_digest.size(), 64u);
}

TEST(GgufNames, GoBothWaysForEveryWeight) {
  ModelConfig config = SampleConfig();
  config.qkv_bias = config.output_bias = config.ffn_bias = config.qk_norm = config.sub_norms = true;
  for (const WeightSlot& slot : Lower(config).weights) {
    const auto name = GgufName(slot.name);
    ASSERT_TRUE(name.has_value()) << slot.name;
    EXPECT_EQ(CanonicalName(*name), slot.name);
  }
  for (const char* wrong : {"", "blk.", "blk.1", "blk.1.", "blk.-1.attn_q.weight", "blk.01.attn_q.weight",
                            "blk.1.attn_q.scale", "blk.99999999999.attn_q.weight", "blk.1attn_q.weight"}) {
    EXPECT_FALSE(CanonicalName(wrong).has_value()) << wrong;
  }
}

TEST(GgufNames, RowOrdersAreInverse) {
  for (const int64_t head_dim : {2, 6, 64}) {
    for (int64_t row = 0; row < 3 * head_dim; ++row) {
      EXPECT_EQ(RowInHalves(RowInPairs(row, head_dim), head_dim), row);
      EXPECT_EQ(RowInPairs(row, head_dim) / head_dim, row / head_dim);
    }
  }
}

}  // namespace
}  // namespace edgellm
