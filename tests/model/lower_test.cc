// Lowering as data: a small plan's whole text, the weights of each variation, and rotary frequencies against known
// values.
#include "model/lower.h"

#include <algorithm>

#include "tests/model/expect_error.h"
#include "tests/model/sample_model.h"

namespace edgellm {
namespace {

TEST(LowerTest, PlanOfASmallLlama) {
  ModelConfig config = SampleConfig();
  config.layers = 1;
  EXPECT_EQ(ToText(Lower(config)),
            "hidden 24, 1 layers, 4 heads / 2 kv heads of 6, ffn 40, vocab 50, context 64, epsilon 1e-05\n"
            "Embed   model.embed_tokens.weight[50x24]\n"
            "Qkv     layer 0: norm model.layers.0.input_layernorm.weight[24], "
            "q model.layers.0.self_attn.q_proj.weight[24x24], k model.layers.0.self_attn.k_proj.weight[12x24], "
            "v model.layers.0.self_attn.v_proj.weight[12x24]\n"
            "Attend  layer 0: scale 0.408248\n"
            "Project attention -> model.layers.0.self_attn.o_proj.weight[24x24]\n"
            "GateUp  norm model.layers.0.post_attention_layernorm.weight[24], "
            "silu(gate model.layers.0.mlp.gate_proj.weight[40x24]) * up model.layers.0.mlp.up_proj.weight[40x24]\n"
            "Project ffn -> model.layers.0.mlp.down_proj.weight[24x40]\n"
            "Logits  norm model.norm.weight[24], head lm_head.weight[50x24]\n");
}

TEST(LowerTest, PlanWithEveryVariation) {
  ModelConfig config = SampleConfig();
  config.layers = 1;
  config.head_dim = 8;  // not hidden / heads
  config.tied_head = config.qkv_bias = config.output_bias = config.ffn_bias = config.qk_norm = config.sub_norms = true;
  config.activation = Activation::kRelu2;
  EXPECT_EQ(
      ToText(Lower(config)),
      "hidden 24, 1 layers, 4 heads / 2 kv heads of 8, ffn 40, vocab 50, context 64, epsilon 1e-05\n"
      "Embed   model.embed_tokens.weight[50x24]\n"
      "Qkv     layer 0: norm model.layers.0.input_layernorm.weight[24], "
      "q model.layers.0.self_attn.q_proj.weight[32x24]+bias, k model.layers.0.self_attn.k_proj.weight[16x24]+bias, "
      "v model.layers.0.self_attn.v_proj.weight[16x24]+bias, q_norm model.layers.0.self_attn.q_norm.weight[8], "
      "k_norm model.layers.0.self_attn.k_norm.weight[8]\n"
      "Attend  layer 0: scale 0.353553\n"
      "Project attention, sub_norm model.layers.0.self_attn.attn_sub_norm.weight[32] -> "
      "model.layers.0.self_attn.o_proj.weight[24x32]+bias\n"
      "GateUp  norm model.layers.0.post_attention_layernorm.weight[24], "
      "relu2(gate model.layers.0.mlp.gate_proj.weight[40x24]+bias) * up model.layers.0.mlp.up_proj.weight[40x24]+bias\n"
      "Project ffn, sub_norm model.layers.0.mlp.ffn_sub_norm.weight[40] -> "
      "model.layers.0.mlp.down_proj.weight[24x40]+bias\n"
      "Logits  norm model.norm.weight[24], head model.embed_tokens.weight[50x24]\n");
}

TEST(LowerTest, EveryVariationIsSoundAndNamesEachWeightOnce) {
  for (int bits = 0; bits < 64; ++bits) {
    ModelConfig config = SampleConfig();
    config.tied_head = (bits & 1) != 0;
    config.qkv_bias = (bits & 2) != 0;
    config.output_bias = (bits & 4) != 0;
    config.ffn_bias = (bits & 8) != 0;
    config.qk_norm = (bits & 16) != 0;
    config.sub_norms = (bits & 32) != 0;
    const Plan plan = Lower(config);
    EXPECT_NO_THROW(Validate(plan));
    EXPECT_EQ(plan.steps.size(), 2u + 5u * 2u);
    std::vector<std::string> names;
    for (const WeightSlot& slot : plan.weights) names.push_back(slot.name);
    std::sort(names.begin(), names.end());
    EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
  }
}

TEST(LowerTest, DefaultFrequencies) {
  ModelConfig config = SampleConfig();
  config.head_dim = 8;
  const auto frequencies = Lower(config).rope_inverse_frequencies;
  ASSERT_EQ(frequencies.size(), 4u);
  EXPECT_EQ(frequencies[0], 1.0f);
  EXPECT_EQ(frequencies[1], 0.1f);
  EXPECT_EQ(frequencies[2], 0.01f);
  EXPECT_EQ(frequencies[3], 0.001f);
}

TEST(LowerTest, LinearScalingDividesFrequencies) {
  ModelConfig config = SampleConfig();
  config.head_dim = 8;
  config.linear_rope_factor = 4.0f;
  EXPECT_EQ(Lower(config).rope_inverse_frequencies[0], 0.25f);
  EXPECT_EQ(Lower(config).rope_inverse_frequencies[1], 0.1f / 4.0f);
}

// Llama 3.2's parameters. Long wavelengths are divided by the factor, short ones kept; values between by the published
// formula, here in double.
TEST(LowerTest, Llama3ScalingHasItsThreeParts) {
  ModelConfig config = SampleConfig();
  config.head_dim = 64;
  config.rope_theta = 500000.0f;
  const auto plain = Lower(config).rope_inverse_frequencies;
  config.llama3_rope = Llama3RopeScaling{32, 1, 4, 8192};
  const auto scaled = Lower(config).rope_inverse_frequencies;
  int kept = 0, between = 0, stretched = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    const double wavelength = 2 * 3.14159265358979323846 / static_cast<double>(plain[i]);
    if (wavelength < 8192.0 / 4) {
      ++kept;
      EXPECT_EQ(scaled[i], plain[i]);
    } else if (wavelength > 8192.0) {
      ++stretched;
      EXPECT_EQ(scaled[i], plain[i] / 32.0f);
    } else {
      ++between;
      const double smooth = (8192.0 / wavelength - 1) / 3;
      const double expected = static_cast<double>(plain[i]) * ((1 - smooth) / 32 + smooth);
      EXPECT_NEAR(static_cast<double>(scaled[i]) / expected, 1.0, 1e-6);
    }
  }
  EXPECT_EQ(kept, 15);
  EXPECT_EQ(between, 3);
  EXPECT_EQ(stretched, 14);
}

TEST(LowerTest, RefusesAnUnsoundConfiguration) {
  ModelConfig config = SampleConfig();
  config.hidden = 1 << 30;
  EXPECT_CONTAINS(ErrorOf([&] { Lower(config); }, ErrorCode::kCorrupt), "hidden");
}

}  // namespace
}  // namespace edgellm
