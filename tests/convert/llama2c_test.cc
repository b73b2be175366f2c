// llama2.c checkpoints: the layout, the change of rotary convention, and a real trained model.
#include "convert/llama2c.h"

#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

#include "huggingface_samples.h"
#include "tests/shared_data.h"

namespace edgellm {
namespace {

struct Sizes {
  int32_t dim = 8, hidden_dim = 12, layers = 2, heads = 2, kv_heads = 1, vocab = 20, context = 16;
};

/// A file in which value i of the data is i.
std::string MakeFile(const Sizes& s) {
  const int head_dim = s.dim / s.heads, kv = head_dim * s.kv_heads, vocab = std::abs(s.vocab);
  size_t count = static_cast<size_t>(
      vocab * s.dim + s.layers * (2 * s.dim + 2 * s.dim * s.dim + 2 * kv * s.dim + 3 * s.hidden_dim * s.dim) + s.dim +
      s.context * head_dim);
  if (s.vocab < 0) count += static_cast<size_t>(vocab * s.dim);
  std::vector<float> data(count);
  std::iota(data.begin(), data.end(), 0.0f);
  const int32_t header[7] = {s.dim, s.hidden_dim, s.layers, s.heads, s.kv_heads, s.vocab, s.context};
  return std::string(reinterpret_cast<const char*>(header), sizeof header) +
         std::string(reinterpret_cast<const char*>(data.data()), data.size() * sizeof(float));
}

Model Load(const TemporaryFolder& folder, std::string_view bytes) {
  WriteText(folder / "m.bin", bytes);
  return LoadModel(folder / "m.bin");
}

TEST(Llama2cTest, ReadsTheLayout) {
  const TemporaryFolder folder;
  const Model model = Load(folder, MakeFile({}));
  EXPECT_EQ(model.name, "m");
  EXPECT_EQ(model.provenance.source, "m.bin");
  EXPECT_EQ(model.config.head_dim, 4);
  EXPECT_TRUE(model.config.tied_head);
  EXPECT_EQ(model.generation.stop_tokens, (std::vector<int32_t>{1}));
  const auto first = [&](const char* name) { return DecodeAll(model.weights.Find(name)->view)[0]; };
  EXPECT_EQ(first("model.embed_tokens.weight"), 0);
  EXPECT_EQ(first("model.layers.0.input_layernorm.weight"), 160);
  EXPECT_EQ(first("model.layers.1.input_layernorm.weight"), 168);
  EXPECT_EQ(first("model.layers.0.self_attn.q_proj.weight"), 176);
  EXPECT_EQ(first("model.layers.0.self_attn.k_proj.weight"), 176 + 2 * 64);
  EXPECT_EQ(first("model.layers.0.self_attn.v_proj.weight"), 176 + 2 * 64 + 2 * 32);
  EXPECT_EQ(first("model.layers.0.self_attn.o_proj.weight"), 176 + 2 * 64 + 4 * 32);
  EXPECT_EQ(first("model.layers.0.post_attention_layernorm.weight"), 176 + 4 * 64 + 4 * 32);
  const float ffn = 176 + 4 * 64 + 4 * 32 + 2 * 8;
  EXPECT_EQ(first("model.layers.0.mlp.gate_proj.weight"), ffn);
  EXPECT_EQ(first("model.layers.0.mlp.down_proj.weight"), ffn + 2 * 96);
  EXPECT_EQ(first("model.layers.0.mlp.up_proj.weight"), ffn + 4 * 96);
  EXPECT_EQ(first("model.norm.weight"), ffn + 6 * 96);
}

TEST(Llama2cTest, ANegativeVocabularyMeansAHeadOfItsOwn) {
  const TemporaryFolder folder;
  const Model model = Load(folder, MakeFile({.vocab = -20}));
  EXPECT_FALSE(model.config.tied_head);
  EXPECT_EQ(model.config.vocab, 20);
  EXPECT_EQ(DecodeAll(model.weights.Find("lm_head.weight")->view)[0],
            160 + 2 * (16 + 2 * 64 + 2 * 32 + 3 * 96) + 8 + 64);
}

/// Turning neighbours in the file's order gives the same q·k as turning halves in ours.
TEST(Llama2cTest, RotaryConventionsAgree) {
  const TemporaryFolder folder;
  const Model model = Load(folder, MakeFile({}));
  const auto ours = DecodeAll(model.weights.Find("model.layers.0.self_attn.q_proj.weight")->view);
  constexpr int kDim = 8, kHeadDim = 4;
  // The file's row r holds 176 + 8 r …: look at column 0.
  for (int head = 0; head < 2; ++head) {
    for (int row = 0; row < kHeadDim; ++row) {
      const int pair = row % (kHeadDim / 2), second = row / (kHeadDim / 2);
      const int file_row = head * kHeadDim + 2 * pair + second;
      EXPECT_EQ(ours[static_cast<size_t>((head * kHeadDim + row) * kDim)], static_cast<float>(176 + kDim * file_row));
    }
  }
}

TEST(Llama2cTest, OtherSizesThanTheHeadersAreRefused) {
  const TemporaryFolder folder;
  const std::string good = MakeFile({});
  EXPECT_CONTAINS(ErrorOf([&] { Load(folder, good.substr(0, good.size() - 1)); }, ErrorCode::kCorrupt), "llama2.c");
  EXPECT_CONTAINS(ErrorOf([&] { Load(folder, good + "x"); }, ErrorCode::kCorrupt), "llama2.c");
  EXPECT_CONTAINS(ErrorOf([&] { Load(folder, good.substr(0, 20)); }, ErrorCode::kUnsupported), "not a model");
}

TEST(Llama2cTest, DamagedHeadersAreErrorsOrHarmless) {
  const TemporaryFolder folder;
  const std::string good = MakeFile({});
  std::mt19937 generator(4);
  for (int round = 0; round < 500; ++round) {
    std::string bad = good;
    bad[generator() % 28] = static_cast<char>(generator());
    SucceedsOrFailsCleanly([&] { Load(folder, bad); });
  }
  EXPECT_FALSE(LooksLikeLlama2c({}));
}

TEST(Llama2cTest, Stories260K) {
  SKIP_WITHOUT_SHARED_DATA();
  const Model model = LoadModel(SharedData() / "stories260k" / "stories260K.bin");
  EXPECT_EQ(model.config.hidden, 64);
  EXPECT_EQ(model.config.ffn, 172);
  EXPECT_EQ(model.config.layers, 5);
  EXPECT_EQ(model.config.heads, 8);
  EXPECT_EQ(model.config.kv_heads, 4);
  EXPECT_EQ(model.config.vocab, 512);
  EXPECT_EQ(model.config.max_context, 512);
  EXPECT_FALSE(model.tokenizer_json.empty());
  EXPECT_TRUE(model.chat_template.empty());
}

}  // namespace
}  // namespace edgellm
