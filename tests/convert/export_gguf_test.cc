// Export to GGUF and back: equal weights, configuration and token ids; what is exact, what falls back, what is refused.
// Whether llama.cpp itself reads these files is tools/peer_check's to say.
#include "convert/export_gguf.h"

#include <gtest/gtest.h>

#include "convert/gguf_blocks.h"
#include "convert/gguf_config.h"
#include "convert/gguf_vocabulary.h"
#include "convert/import.h"
#include "quant/codec.h"
#include "tests/convert/gguf_samples.h"
#include "tests/shared_data.h"
#include "text/tokenizer.h"

namespace edgellm {
namespace {

Model WithoutText(Model model) {
  model.tokenizer_json.clear();
  model.chat_template.clear();
  return model;
}

Model ThroughGguf(const Model& model, GgufType type) {
  const TemporaryFolder folder;
  ExportGguf(model, type, folder / "m.gguf", {});
  return ImportGguf(folder / "m.gguf", {});
}

void ExpectSameValues(const Model& a, const Model& b) {
  ASSERT_EQ(a.weights.tensors().size(), b.weights.tensors().size());
  for (const auto& [name, tensor] : a.weights.tensors()) {
    const WeightView& other = b.weights.Find(name)->view;
    std::vector<float> x(static_cast<size_t>(tensor.view.cols)), y(x.size());
    for (int64_t row = 0; row < tensor.view.rows; ++row) {
      DecodeRow(tensor.view, row, x);
      DecodeRow(other, row, y);
      ASSERT_EQ(x, y) << name << " row " << row;
    }
  }
}

std::vector<ModelConfig> Configs() {
  ModelConfig llama = WideConfig();
  ModelConfig biased = llama;
  biased.qkv_bias = biased.output_bias = biased.ffn_bias = true;
  ModelConfig llama3 = llama;
  llama3.llama3_rope = Llama3RopeScaling{8, 1, 4, 8192};
  llama3.rope_theta = 500000;
  llama3.tied_head = true;
  ModelConfig factors = llama;
  factors.rope_frequency_factors.assign(32, 1.25f);
  factors.rope_frequency_factors[0] = 1;
  ModelConfig linear = llama;
  linear.linear_rope_factor = 2.0f;
  ModelConfig qwen2 = llama;
  qwen2.family = "qwen2";
  qwen2.qkv_bias = true;
  ModelConfig qwen3 = llama;
  qwen3.family = "qwen3";
  qwen3.qk_norm = true;
  qwen3.head_dim = 32;
  ModelConfig bitnet = llama;
  bitnet.family = "bitnet";
  bitnet.sub_norms = bitnet.tied_head = bitnet.native_ternary = true;
  return {llama, biased, llama3, factors, linear, qwen2, qwen3, bitnet};
}

TEST(ExportGguf, RoundTripsEveryFamily) {
  for (const ModelConfig& config : Configs()) {
    const Model model = WithoutText(SampleModel(WeightFormat::Parse("f16"), config));
    const Model back = ThroughGguf(model, GgufType::kF16);
    EXPECT_EQ(back.config, config);
    EXPECT_EQ(back.name, model.name);
    ExpectSameValues(model, back);
  }
}

TEST(ExportGguf, IntegerFormatsGoOutBitForBit) {
  for (const auto& [name, type] : {std::pair{"int8-g32", GgufType::kQ8_0}, std::pair{"int8-g128", GgufType::kQ8_0},
                                   std::pair{"int4-g32", GgufType::kQ4_0}, std::pair{"int4-g64", GgufType::kQ4_0},
                                   std::pair{"int4-g32", GgufType::kQ8_0}}) {
    const Model model = WithoutText(SampleModel(WeightFormat::Parse(name), WideConfig()));
    const Model back = ThroughGguf(model, type);
    ExpectSameValues(model, back);
    const auto& format = back.weights.Find("model.layers.0.mlp.up_proj.weight")->view.format;
    EXPECT_EQ(format.Name(), type == GgufType::kQ8_0 ? "int8-g32" : "int4-g32");
  }
}

TEST(ExportGguf, FloatsAreRoundedAsTheQuantiserRounds) {
  const Model model = WithoutText(SampleModel(WeightFormat::Parse("f32"), WideConfig()));
  const std::string up = "model.layers.0.mlp.up_proj.weight";
  for (const auto& [name, type] : {std::pair{"int8-g32", GgufType::kQ8_0}, std::pair{"int4-g32", GgufType::kQ4_0}}) {
    const Model back = ThroughGguf(model, type);
    const WeightView& view = model.weights.Find(up)->view;
    const Tensor expected = EncodeTensor(WeightFormat::Parse(name), view.rows, view.cols, [&](int64_t row) {
      return std::span(reinterpret_cast<const float*>(view.RowCodes(row)), static_cast<size_t>(view.cols));
    });
    EXPECT_EQ(PlanesText(back.weights.Find(up)->view), PlanesText(expected.view));
    EXPECT_EQ(back.weights.Find("model.embed_tokens.weight")->view.format.Name(), "int8-g32");
  }
}

TEST(ExportGguf, RowsThatAreNoWholeBlocksBecomeF16) {
  const Model model = WithoutText(SampleModel(WeightFormat::Parse("f16")));  // rows of 24 and 40
  const Model back = ThroughGguf(model, GgufType::kQ4_0);
  EXPECT_EQ(back.weights.Find("model.layers.0.mlp.down_proj.weight")->view.format.Name(), "f16");
  ExpectSameValues(model, back);
}

TEST(ExportGguf, WritesRotaryRowsOfLlamaAsNeighbours) {
  const Model model = WithoutText(SampleModel(WeightFormat::Parse("f16"), WideConfig()));
  const TemporaryFolder folder;
  ExportGguf(model, GgufType::kF16, folder / "m.gguf", {});
  const Bytes bytes = BytesOfFile(folder / "m.gguf");
  const GgufFile file = ParseGguf(bytes, "m");
  const GgufTensor& tensor = file.tensors.at("blk.0.attn_k.weight");
  const WeightView& ours = model.weights.Find("model.layers.0.self_attn.k_proj.weight")->view;
  // Head 1 of 64 rows: GGUF's row 2i + j is row i + 32j.
  for (const auto& [theirs, mine] : {std::pair{64, 64}, std::pair{65, 96}, std::pair{66, 65}, std::pair{127, 127}}) {
    EXPECT_EQ(std::memcmp(tensor.bytes.data() + theirs * 512, ours.RowCodes(mine), 512), 0) << theirs;
  }
  EXPECT_EQ(file.tensors.at("blk.0.attn_norm.weight").traits->name, "F32");
}

TEST(ExportGguf, RefusesWhatLlamaCppHasNotGot) {
  const TemporaryFolder folder;
  const auto refuses = [&](const ModelConfig& config, const char* format, std::string_view part) {
    const Model model = WithoutText(SampleModel(WeightFormat::Parse(format), config));
    EXPECT_CONTAINS(ErrorOf([&] { ExportGguf(model, GgufType::kF16, folder / "m.gguf", {}); }, ErrorCode::kUnsupported),
                    part);
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  };
  ModelConfig config = WideConfig();
  config.family = "bitnet";
  config.sub_norms = config.tied_head = true;
  config.activation = Activation::kRelu2;
  refuses(config, "f16", "activation");
  config = WideConfig();
  config.family = "qwen3";
  config.qk_norm = true;
  config.llama3_rope = Llama3RopeScaling{8, 1, 4, 8192};
  refuses(config, "f16", "rope");
  config = WideConfig();
  config.family = "qwen2";
  refuses(config, "f16", "biases");
  Model large = WithoutText(SampleModel(WeightFormat::Parse("f32")));
  const_cast<float*>(reinterpret_cast<const float*>(large.weights.Find("lm_head.weight")->view.codes))[5] = 1e6f;
  EXPECT_CONTAINS(ErrorOf([&] { ExportGguf(large, GgufType::kF16, folder / "m.gguf", {}); }), "lm_head");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(ExportGguf, TypesAreReadByName) {
  EXPECT_EQ(ParseGgufType("q8_0"), GgufType::kQ8_0);
  EXPECT_EQ(ParseGgufType("F16"), GgufType::kF16);
  EXPECT_CONTAINS(ErrorOf([] { ParseGgufType("q5_k"); }, ErrorCode::kInvalidArgument), "q4_0");
}

// Sentences that take apart what tokenizers differ in.
constexpr const char* kTexts[] = {"",
                                  "Hello world",
                                  " Hello  world   \n\n\t x",
                                  "It's 12345.678, isn't IT?",
                                  "caf\u00e9 na\u00efve \u65e5\u672c\u8a9e \U0001f600",
                                  "def f(x):\n    return x+1  # ok\r\n",
                                  "<|im_start|>user\nhi<|im_end|></s><s>"};

void ExpectSameIds(const text::Tokenizer& a, const text::Tokenizer& b) {
  for (const char* text : kTexts) {
    EXPECT_EQ(a.Encode(text), b.Encode(text)) << text;
    EXPECT_EQ(a.Encode(text, {.add_special = false, .parse_special = false}),
              b.Encode(text, {.add_special = false, .parse_special = false}))
        << text;
    EXPECT_EQ(a.Decode(a.Encode(text)), b.Decode(a.Encode(text))) << text;
  }
}

TEST(ExportGguf, CarriesTheTokenizer) {
  SKIP_WITHOUT_SHARED_DATA();
  for (const char* name : {"tokenizers/qwen2.5", "tokenizers/llama3/tokenizer.model", "tokenizers/gpt2",
                           "tokenizers/llama2/tokenizer.model", "tokenizers/llama2/tokenizer.json", "tokenizers/smollm",
                           "stories260k/tok512.bin"}) {
    SCOPED_TRACE(name);
    const auto tokenizer = text::Tokenizer::FromPath(SharedData() / name);
    ModelConfig config = SampleConfig();
    config.vocab = (tokenizer.vocab_size() + 63) / 64 * 64;
    Model model = SampleModel(WeightFormat::Parse("f16"), config);
    model.tokenizer_json = tokenizer.ToJson();
    model.generation.stop_tokens.clear();
    const Model back = ThroughGguf(model, GgufType::kF16);
    EXPECT_EQ(back.chat_template, model.chat_template);
    ExpectSameIds(tokenizer, text::Tokenizer::FromJson(back.tokenizer_json, name));
  }
}

TEST(ExportGguf, NamesPreTokenizersAsLlamaCppDoes) {
  SKIP_WITHOUT_SHARED_DATA();
  for (const auto& [path, name] : {std::pair{"qwen2.5", "qwen2"}, std::pair{"llama3/tokenizer.model", "llama-bpe"},
                                   std::pair{"gpt2", "gpt-2"}, std::pair{"smollm", "smollm"}}) {
    const auto tokenizer = text::Tokenizer::FromPath(SharedData() / "tokenizers" / path);
    EXPECT_EQ(VocabularyForGguf(tokenizer.ToJson(), tokenizer.vocab_size(), path).pre_tokenizer, name);
  }
}

TEST(ExportGguf, ATokenizerLargerThanTheEmbeddingIsRefused) {
  text::VocabularyData data;
  data.kind = text::VocabularyKind::kByteLevel;
  data.pre_tokenizer = "gpt-2";
  data.tokens = {"a", "b", "c"};
  const std::string json = text::Tokenizer::FromVocabulary(data, "t").ToJson();
  EXPECT_EQ(VocabularyForGguf(json, 5, "t").tokens, (std::vector<std::string>{"a", "b", "c", "[PAD3]", "[PAD4]"}));
  EXPECT_CONTAINS(ErrorOf([&] { VocabularyForGguf(json, 2, "t"); }, ErrorCode::kCorrupt), "embedding");
}

}  // namespace
}  // namespace edgellm
