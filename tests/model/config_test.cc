// Reading configurations: every published style, what is refused and how, and the round trip through a model file's
// JSON.
#include "model/config.h"

#include <nlohmann/json.hpp>

#include "model/family.h"
#include "tests/model/expect_error.h"
#include "tests/model/sample_model.h"

namespace edgellm {
namespace {

using Json = nlohmann::ordered_json;

ModelConfig Read(const Json& json) {
  return ConfigFromHuggingFace(json, "config.json");
}

// SmolLM2-135M as published: classic keys, no head_dim.
Json SmolLm2() {
  return Json::parse(R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "bos_token_id": 0, "eos_token_id": 0, "hidden_act": "silu", "hidden_size": 576, "initializer_range": 0.041666666666666664,
    "intermediate_size": 1536, "is_llama_config": true, "max_position_embeddings": 8192, "model_type": "llama",
    "num_attention_heads": 9, "num_hidden_layers": 30, "num_key_value_heads": 3, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "rope_interleaved": false, "rope_scaling": null, "rope_theta": 100000, "tie_word_embeddings": true,
    "torch_dtype": "bfloat16", "transformers_version": "4.40.1", "use_cache": true, "vocab_size": 49152})");
}

Json Llama32() {
  return Json::parse(R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false, "head_dim": 64,
    "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false,
    "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8, "pretraining_tp": 1,
    "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0, "tie_word_embeddings": true,
    "vocab_size": 128256})");
}

Json Qwen25() {
  return Json::parse(R"({"architectures": ["Qwen2ForCausalLM"], "hidden_act": "silu", "hidden_size": 896,
    "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 21, "model_type": "qwen2",
    "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true, "use_sliding_window": false,
    "vocab_size": 151936})");
}

Json Qwen3() {
  return Json::parse(R"({"architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "head_dim": 128,
    "hidden_act": "silu", "hidden_size": 1024, "intermediate_size": 3072, "max_position_embeddings": 40960,
    "max_window_layers": 28, "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 28,
    "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null,
    "tie_word_embeddings": true, "use_sliding_window": false, "vocab_size": 151936})");
}

Json BitNet() {
  return Json::parse(R"({"architectures": ["BitNetForCausalLM"], "hidden_act": "relu2", "hidden_size": 2560,
    "intermediate_size": 6912, "max_position_embeddings": 4096, "model_type": "bitnet", "rms_norm_eps": 1e-05,
    "num_attention_heads": 20, "num_hidden_layers": 30, "num_key_value_heads": 5, "rope_theta": 500000.0,
    "tie_word_embeddings": true, "vocab_size": 128256, "quantization_config": {"quant_method": "bitnet",
    "linear_class": "autobitlinear", "quantization_mode": "offline"}})");
}

Json Mistral() {
  return Json::parse(R"({"architectures": ["MistralForCausalLM"], "hidden_act": "silu", "hidden_size": 4096,
    "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mistral", "num_attention_heads": 32,
    "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
    "sliding_window": null, "tie_word_embeddings": false, "vocab_size": 32768})");
}

TEST(ConfigTest, ReadsSmolLm) {
  const ModelConfig config = Read(SmolLm2());
  EXPECT_EQ(config.family, "llama");
  EXPECT_EQ(config.hidden, 576);
  EXPECT_EQ(config.layers, 30);
  EXPECT_EQ(config.heads, 9);
  EXPECT_EQ(config.kv_heads, 3);
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_EQ(config.ffn, 1536);
  EXPECT_EQ(config.vocab, 49152);
  EXPECT_EQ(config.max_context, 8192);
  EXPECT_EQ(config.norm_epsilon, 1e-5f);
  EXPECT_EQ(config.rope_theta, 100000.0f);
  EXPECT_TRUE(config.tied_head);
  EXPECT_FALSE(config.qkv_bias || config.output_bias || config.ffn_bias || config.qk_norm || config.sub_norms);
  EXPECT_FALSE(config.native_ternary || config.llama3_rope || config.linear_rope_factor);
}

TEST(ConfigTest, ReadsLlama3RopeScaling) {
  const ModelConfig config = Read(Llama32());
  ASSERT_TRUE(config.llama3_rope);
  EXPECT_EQ(*config.llama3_rope, (Llama3RopeScaling{32, 1, 4, 8192}));
}

TEST(ConfigTest, ReadsTheFamiliesDifferences) {
  const ModelConfig qwen2 = Read(Qwen25());
  EXPECT_TRUE(qwen2.qkv_bias);
  EXPECT_FALSE(qwen2.output_bias || qwen2.qk_norm);
  const ModelConfig qwen3 = Read(Qwen3());
  EXPECT_TRUE(qwen3.qk_norm);
  EXPECT_FALSE(qwen3.qkv_bias);
  EXPECT_EQ(qwen3.head_dim, 128);
  const ModelConfig bitnet = Read(BitNet());
  EXPECT_TRUE(bitnet.sub_norms && bitnet.native_ternary);
  EXPECT_EQ(bitnet.activation, Activation::kRelu2);
  EXPECT_EQ(Read(Mistral()).family, "mistral");
}

TEST(ConfigTest, TransformersFiveKeysMeanTheSame) {
  Json json = Llama32();
  Json rope = json["rope_scaling"];
  rope["rope_theta"] = json["rope_theta"];
  json.erase("rope_scaling");
  json.erase("rope_theta");
  json["rope_parameters"] = rope;
  json["dtype"] = "bfloat16";
  EXPECT_EQ(Read(json), Read(Llama32()));
}

TEST(ConfigTest, BiasesFollowTheFlags) {
  Json json = SmolLm2();
  json["attention_bias"] = true;
  json["mlp_bias"] = true;
  const ModelConfig config = Read(json);
  EXPECT_TRUE(config.qkv_bias && config.output_bias && config.ffn_bias);
}

TEST(ConfigTest, AbsentFieldsHaveTheirClassDefaults) {
  Json json = SmolLm2();
  for (const char* key :
       {"rope_theta", "rope_scaling", "num_key_value_heads", "tie_word_embeddings", "attention_bias"}) {
    json.erase(key);
  }
  const ModelConfig config = Read(json);
  EXPECT_EQ(config.rope_theta, 10000.0f);
  EXPECT_EQ(config.kv_heads, 9);
  EXPECT_FALSE(config.tied_head || config.qkv_bias);
  Json qwen3 = Qwen3();
  qwen3.erase("head_dim");
  EXPECT_EQ(Read(qwen3).head_dim, 128);
  json.erase("architectures");
  EXPECT_EQ(Read(json).family, "llama");  // by model_type
}

TEST(ConfigTest, ReadsLinearRopeScaling) {
  Json json = SmolLm2();
  json["rope_scaling"] = {{"type", "linear"}, {"factor", 4.0}};
  EXPECT_EQ(Read(json).linear_rope_factor, 4.0f);
}

TEST(ConfigTest, AWindowThatDoesNotActIsAccepted) {
  Json json = Mistral();
  json["sliding_window"] = 32768;
  EXPECT_NO_THROW(Read(json));
  json = Qwen25();
  json["use_sliding_window"] = true;
  json["sliding_window"] = 4096;
  json["max_window_layers"] = 24;
  EXPECT_NO_THROW(Read(json));
  json = Qwen3();
  json["layer_types"] = Json(std::vector<std::string>(28, "full_attention"));
  EXPECT_NO_THROW(Read(json));
}

struct Refusal {
  const char* what;
  std::function<Json()> make;
  ErrorCode code;
  const char* mentions;
};

Json With(Json json, const char* key, Json value) {
  json[key] = std::move(value);
  return json;
}

Json Without(Json json, const char* key) {
  json.erase(key);
  return json;
}

TEST(ConfigTest, RefusalsNameTheField) {
  constexpr auto kUnsupported = ErrorCode::kUnsupported, kCorrupt = ErrorCode::kCorrupt;
  const std::vector<Refusal> refusals = {
      {"family", [] { return With(SmolLm2(), "architectures", {"MambaForCausalLM"}); }, kUnsupported,
       "MambaForCausalLM"},
      {"a name of two lines", [] { return With(SmolLm2(), "architectures", {"Two\nLines"}); }, kUnsupported,
       "Two Lines"},
      {"a name of two lines", [] { return With(SmolLm2(), "hidden_act", "a\nb"); }, kUnsupported, "a b"},
      {"no family", [] { return Without(Without(SmolLm2(), "architectures"), "model_type"); }, kCorrupt, "model_type"},
      {"acting window", [] { return With(Mistral(), "sliding_window", 4096); }, kUnsupported, "sliding_window"},
      {"acting window", [] { return With(With(Qwen25(), "use_sliding_window", true), "sliding_window", 4096); },
       kUnsupported, "sliding_window"},
      {"layer types", [] { return With(Qwen3(), "layer_types", {"linear_attention"}); }, kUnsupported, "layer_types"},
      {"rope",
       [] {
         return With(SmolLm2(), "rope_scaling", {{"rope_type", "yarn"}, {"factor", 4}});
       },
       kUnsupported, "yarn"},
      {"rope",
       [] {
         return With(SmolLm2(), "rope_scaling", {{"type", "dynamic"}, {"factor", 4}});
       },
       kUnsupported, "rope_scaling.type"},
      {"rope factor",
       [] {
         return With(SmolLm2(), "rope_scaling", {{"rope_type", "linear"}});
       },
       kCorrupt, "rope_scaling.factor"},
      {"partial", [] { return With(SmolLm2(), "partial_rotary_factor", 0.5); }, kUnsupported, "partial_rotary_factor"},
      {"activation", [] { return With(SmolLm2(), "hidden_act", "gelu"); }, kUnsupported, "hidden_act"},
      {"quantization method",
       [] {
         return With(SmolLm2(), "quantization_config", {{"quant_method", "bitsandbytes"}});
       },
       kUnsupported, "bitsandbytes"},
      {"missing", [] { return Without(SmolLm2(), "hidden_size"); }, kCorrupt, "hidden_size"},
      {"null", [] { return With(SmolLm2(), "vocab_size", nullptr); }, kCorrupt, "vocab_size"},
      {"type", [] { return With(SmolLm2(), "hidden_size", "576"); }, kCorrupt, "hidden_size"},
      {"float", [] { return With(SmolLm2(), "hidden_size", 576.5); }, kCorrupt, "hidden_size"},
      {"negative", [] { return With(SmolLm2(), "num_hidden_layers", -1); }, kCorrupt, "num_hidden_layers"},
      {"huge", [] { return With(SmolLm2(), "hidden_size", 2147483647); }, kCorrupt, "hidden"},
      {"huger", [] { return With(SmolLm2(), "hidden_size", 18446744073709551615ull); }, kCorrupt, "hidden_size"},
      {"many layers", [] { return With(SmolLm2(), "num_hidden_layers", 100000); }, kCorrupt, "layers"},
      {"odd head", [] { return With(SmolLm2(), "head_dim", 63); }, kCorrupt, "head_dim"},
      {"no head dim", [] { return With(SmolLm2(), "num_attention_heads", 7); }, kCorrupt, "head_dim"},
      {"heads", [] { return With(SmolLm2(), "num_key_value_heads", 2); }, kCorrupt, "kv_heads"},
      {"theta", [] { return With(SmolLm2(), "rope_theta", 0); }, kCorrupt, "rope_theta"},
      {"theta", [] { return With(SmolLm2(), "rope_theta", -1); }, kCorrupt, "rope_theta"},
      {"epsilon", [] { return With(SmolLm2(), "rms_norm_eps", 7); }, kCorrupt, "rms_norm_eps"},
      {"list",
       [] {
         return Json::array({1, 2});
       },
       kCorrupt, "config.json"},
  };
  for (const Refusal& refusal : refusals) {
    SCOPED_TRACE(refusal.what);
    const std::string text = ErrorOf([&] { Read(refusal.make()); }, refusal.code);
    EXPECT_CONTAINS(text, refusal.mentions);
    EXPECT_CONTAINS(text, "config.json");
  }
}

TEST(ConfigTest, ModelFileJsonIsLossless) {
  ModelConfig odd = SampleConfig();
  odd.norm_epsilon = 1.2345678e-6f;
  odd.rope_theta = 123456.789f;
  odd.linear_rope_factor = 1.1f;
  odd.activation = Activation::kRelu2;
  odd.qk_norm = odd.output_bias = odd.native_ternary = true;
  for (const ModelConfig& config :
       {odd, Read(SmolLm2()), Read(Llama32()), Read(Qwen25()), Read(Qwen3()), Read(BitNet())}) {
    const Json json = Json::parse(ToJson(config).dump());
    EXPECT_EQ(ConfigFromJson(json, "file"), config) << json.dump();
  }
}

TEST(ConfigTest, ModelFileJsonIsStrict) {
  const Json good = ToJson(SampleConfig());
  EXPECT_CONTAINS(ErrorOf([&] { ConfigFromJson(With(good, "experts", 8), "file"); }, ErrorCode::kUnsupported),
                  "experts");
  EXPECT_CONTAINS(ErrorOf([&] { ConfigFromJson(With(good, "family", "mamba"), "file"); }, ErrorCode::kUnsupported),
                  "mamba");
  for (const auto& [key, value] : good.items()) {
    EXPECT_CONTAINS(ErrorOf([&, k = key] { ConfigFromJson(Without(good, k.c_str()), "file"); }, ErrorCode::kCorrupt),
                    key);
  }
}

TEST(FamilyTest, KeysAreUniqueAndFound) {
  for (const Family& family : Families()) {
    ASSERT_NE(FindFamily(family.key), nullptr);
    EXPECT_EQ(FindFamily(family.key)->architecture, family.architecture);
  }
  EXPECT_EQ(FindFamily("nothing"), nullptr);
}

}  // namespace
}  // namespace edgellm
