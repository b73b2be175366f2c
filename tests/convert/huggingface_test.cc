// Importing Hugging Face folders: shards, names, dtypes, what stands around the weights, and every way in which a
// folder can be wrong.
#include <random>

#include "huggingface_samples.h"
#include "tests/source_dir.h"

namespace edgellm {
namespace {

using Json = nlohmann::ordered_json;

class HuggingFaceTest : public testing::Test {
 protected:
  HuggingFaceTest() : model_(SampleModel({})), checkpoint_(CheckpointOf(model_)), config_(SampleHuggingFaceConfig()) {}

  void Write() {
    WriteText(folder_ / "config.json", config_.dump());
    WriteCheckpoint(folder_ / "model.safetensors", checkpoint_);
  }
  Model Import() { return LoadModel(folder_.path()); }
  Model WriteAndImport() {
    Write();
    return Import();
  }
  std::string Refused(ErrorCode code) {
    Write();
    return ErrorOf([&] { Import(); }, code);
  }

  void ExpectSameWeights(const Model& imported) const {
    for (const auto& [name, tensor] : model_.weights.tensors()) {
      const Tensor* other = imported.weights.Find(name);
      ASSERT_NE(other, nullptr) << name;
      EXPECT_EQ(PlanesText(tensor.view), PlanesText(other->view)) << name;
      EXPECT_EQ(tensor.is_vector, other->is_vector) << name;
    }
  }

  TemporaryFolder folder_;
  Model model_;
  SampleCheckpoint checkpoint_;
  Json config_;
};

TEST_F(HuggingFaceTest, OneFile) {
  const Model imported = WriteAndImport();
  ExpectSameWeights(imported);
  EXPECT_EQ(imported.config, model_.config);
  EXPECT_EQ(imported.name, folder_.path().filename().string());
  EXPECT_EQ(imported.provenance.source, imported.name);
  EXPECT_EQ(imported.provenance.source_format, "huggingface");
  EXPECT_EQ(imported.provenance.source_digest.size(), 64u);
  EXPECT_TRUE(imported.provenance.notes.empty());
  EXPECT_TRUE(imported.tokenizer_json.empty());
  EXPECT_EQ(imported.generation.stop_tokens, (std::vector<int32_t>{2}));
}

TEST_F(HuggingFaceTest, AFileOfTheFolderDoesToo) {
  Write();
  ExpectSameWeights(LoadModel(folder_ / "model.safetensors"));
  EXPECT_EQ(LoadModel(folder_.path() / "").name, folder_.path().filename().string());
}

TEST_F(HuggingFaceTest, TheModelOutlivesItsFolder) {
  Write();
  auto imported = std::make_unique<Model>(Import());
  std::filesystem::remove(folder_ / "model.safetensors");
  ExpectSameWeights(*imported);
}

TEST_F(HuggingFaceTest, EveryFloatType) {
  for (const char* format : {"f32", "f16", "bf16"}) {
    SCOPED_TRACE(format);
    const Model source = SampleModel(WeightFormat::Parse(format));
    checkpoint_ = CheckpointOf(source);
    const Model imported = WriteAndImport();
    const WeightView& view = imported.weights.Find("lm_head.weight")->view;
    EXPECT_EQ(view.format.Name(), format);
    EXPECT_EQ(PlanesText(view), PlanesText(source.weights.Find("lm_head.weight")->view));
  }
}

TEST_F(HuggingFaceTest, MisalignedTensorsAreCopied) {
  // Another writer's order: one odd byte first.
  Write();
  const std::string bytes = ReadFile(folder_ / "model.safetensors");
  const auto parsed = ParseSafetensors(std::as_bytes(std::span(bytes)), "m");
  nlohmann::json header = {{"odd", {{"dtype", "U8"}, {"shape", {1}}, {"data_offsets", {0, 1}}}}};
  std::string data = "x";
  for (const auto& [name, entry] : parsed.tensors) {
    header[name] = {{"dtype", entry.dtype},
                    {"shape", entry.shape},
                    {"data_offsets", {data.size(), data.size() + entry.bytes.size()}}};
    data.append(reinterpret_cast<const char*>(entry.bytes.data()), entry.bytes.size());
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  WriteText(folder_ / "model.safetensors", std::string(reinterpret_cast<const char*>(&length), 8) + text + data);
  const Model imported = Import();
  ExpectSameWeights(imported);
  for (const auto& [name, tensor] : imported.weights.tensors()) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.view.codes) % sizeof(float), 0u) << name;
  }
  ASSERT_EQ(imported.provenance.notes.size(), 1u);
  EXPECT_CONTAINS(imported.provenance.notes[0], "model.odd");
}

TEST_F(HuggingFaceTest, NamesWithoutPrefix) {
  SampleCheckpoint bare;
  for (const auto& [name, tensor] : checkpoint_) bare[name.starts_with("model.") ? name.substr(6) : name] = tensor;
  checkpoint_ = bare;
  ExpectSameWeights(WriteAndImport());
}

TEST_F(HuggingFaceTest, ShardsWithAndWithoutIndex) {
  WriteText(folder_ / "config.json", config_.dump());
  SampleCheckpoint parts[2];
  Json index = {{"metadata", {{"total_size", 1}}}, {"weight_map", Json::object()}};
  const std::string files[2] = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"};
  size_t i = 0;
  for (const auto& [name, tensor] : checkpoint_) {
    parts[i % 2][name] = tensor;
    index["weight_map"][name] = files[i++ % 2];
  }
  for (int part = 0; part < 2; ++part) WriteCheckpoint(folder_ / files[part], parts[part]);
  ExpectSameWeights(Import());

  const std::filesystem::path index_path = folder_ / "model.safetensors.index.json";
  WriteText(index_path, index.dump());
  WriteText(folder_ / "consolidated.safetensors", "the index does not name this file");
  ExpectSameWeights(Import());

  index["weight_map"]["lm_head.weight"] = "../elsewhere.safetensors";
  WriteText(index_path, index.dump());
  EXPECT_CONTAINS(ErrorOf([&] { Import(); }, ErrorCode::kCorrupt), "elsewhere");
  index["weight_map"]["lm_head.weight"] = "model-00003-of-00002.safetensors";
  WriteText(index_path, index.dump());
  EXPECT_CONTAINS(ErrorOf([&] { Import(); }, ErrorCode::kNotFound), "model-00003");
  WriteText(index_path, "{}");
  EXPECT_CONTAINS(ErrorOf([&] { Import(); }, ErrorCode::kCorrupt), "weight_map");

  std::filesystem::remove(index_path);
  parts[1]["lm_head.weight"] = checkpoint_["lm_head.weight"];
  parts[0]["lm_head.weight"] = checkpoint_["lm_head.weight"];
  for (int part = 0; part < 2; ++part) WriteCheckpoint(folder_ / files[part], parts[part]);
  EXPECT_CONTAINS(ErrorOf([&] { Import(); }, ErrorCode::kCorrupt), "lm_head.weight is there twice");
}

TEST_F(HuggingFaceTest, TheHeadIsTiedWhereItIsAbsentOrTheConfigurationSaysSo) {
  config_["tie_word_embeddings"] = true;
  Model imported = WriteAndImport();
  EXPECT_TRUE(imported.config.tied_head);
  EXPECT_EQ(imported.weights.Find("lm_head.weight"), nullptr);
  EXPECT_TRUE(imported.provenance.notes.empty());
  config_["tie_word_embeddings"] = false;
  checkpoint_.erase("lm_head.weight");
  imported = WriteAndImport();
  EXPECT_TRUE(imported.config.tied_head);
}

TEST_F(HuggingFaceTest, HarmlessExtraTensorsAreIgnoredAndOthersNoted) {
  checkpoint_["model.layers.0.self_attn.rotary_emb.inv_freq"] = {"F32", {3}, std::string(12, '\0')};
  EXPECT_TRUE(WriteAndImport().provenance.notes.empty());
  checkpoint_["score.weight"] = {"F32", {1}, std::string(4, '\0')};
  const Model imported = WriteAndImport();
  ASSERT_EQ(imported.provenance.notes.size(), 1u);
  EXPECT_CONTAINS(imported.provenance.notes[0], "score.weight");
}

TEST_F(HuggingFaceTest, WrongTensorsAreNamed) {
  const auto good = checkpoint_;
  checkpoint_.erase("model.layers.1.mlp.up_proj.weight");
  EXPECT_CONTAINS(Refused(ErrorCode::kCorrupt), "tensor model.layers.1.mlp.up_proj.weight [40, 24] is missing");
  checkpoint_ = good;
  checkpoint_["model.layers.1.mlp.up_proj.weight"].shape = {24, 40};
  EXPECT_CONTAINS(Refused(ErrorCode::kCorrupt), "has shape [24, 40], but the model needs [40, 24]");
  checkpoint_ = good;
  checkpoint_["model.norm.weight"].shape = {1, 24};
  EXPECT_CONTAINS(Refused(ErrorCode::kCorrupt), "has shape [1, 24], but the model needs [24]");
  checkpoint_ = good;
  checkpoint_["model.norm.weight"] = {"I32", {24}, std::string(96, '\0')};
  EXPECT_CONTAINS(Refused(ErrorCode::kUnsupported), "tensor model.norm.weight has dtype I32");
}

TEST_F(HuggingFaceTest, FoldersThatAreNoModel) {
  EXPECT_CONTAINS(ErrorOf([&] { Import(); }, ErrorCode::kNotFound), "no config.json");
  WriteText(folder_ / "config.json", config_.dump());
  EXPECT_CONTAINS(ErrorOf([&] { Import(); }, ErrorCode::kNotFound), "no .safetensors");
  WriteText(folder_ / "pytorch_model.bin", "PK");
  EXPECT_CONTAINS(ErrorOf([&] { Import(); }, ErrorCode::kNotFound), "pickle");
  WriteText(folder_ / "adapter_model.safetensors", "x");
  EXPECT_CONTAINS(ErrorOf([&] { Import(); }, ErrorCode::kNotFound), "adapter");
  WriteText(folder_ / "config.json", "{ broken");
  WriteCheckpoint(folder_ / "model.safetensors", checkpoint_);
  EXPECT_CONTAINS(ErrorOf([&] { Import(); }, ErrorCode::kCorrupt), "config.json");
  std::filesystem::remove(folder_ / "config.json");
  std::filesystem::create_directory(folder_ / "config.json");
  EXPECT_CONTAINS(ErrorOf([&] { Import(); }, ErrorCode::kInvalidArgument), "is a directory");
  std::filesystem::remove(folder_ / "config.json");
  EXPECT_CONTAINS(ErrorOf([&] { LoadModel(folder_ / "model.safetensors"); }, ErrorCode::kUnsupported),
                  "no config.json beside");
  std::filesystem::remove(folder_ / "model.safetensors");
  std::filesystem::create_directory(folder_ / "model.safetensors");
  WriteText(folder_ / "config.json", config_.dump());
  EXPECT_CONTAINS(ErrorOf([&] { Import(); }, ErrorCode::kInvalidArgument), "is a directory");
}

TEST_F(HuggingFaceTest, GenerationDefaults) {
  WriteText(folder_ / "generation_config.json",
            R"({"eos_token_id": [7, 2, -1, 5000], "do_sample": true, "temperature": 0.7, "top_p": 0.8, "top_k": 20,
                "min_p": 0.05, "repetition_penalty": 1.05, "stop_strings": "END", "transformers_version": "4.37.0"})");
  Model imported = WriteAndImport();
  EXPECT_EQ(imported.generation.stop_tokens, (std::vector<int32_t>{7, 2}));
  EXPECT_EQ(imported.generation.temperature, 0.7f);
  EXPECT_EQ(imported.generation.top_p, 0.8f);
  EXPECT_EQ(imported.generation.top_k, 20);
  EXPECT_EQ(imported.generation.min_p, 0.05f);
  EXPECT_EQ(imported.generation.repetition_penalty, 1.05f);
  EXPECT_EQ(imported.generation.stop_strings, (std::vector<std::string>{"END"}));
  WriteText(folder_ / "generation_config.json", R"({"do_sample": false, "temperature": null, "max_new_tokens": 2048})");
  imported = Import();
  EXPECT_EQ(imported.generation.temperature, 0.0f);
  EXPECT_FALSE(imported.generation.top_k);
  WriteText(folder_ / "generation_config.json", R"({"temperature": "hot"})");
  EXPECT_CONTAINS(ErrorOf([&] { Import(); }, ErrorCode::kCorrupt), "generation_config.json: temperature");
}

TEST_F(HuggingFaceTest, ChatTemplates) {
  Write();
  const std::filesystem::path tokenizer_config = folder_ / "tokenizer_config.json";
  WriteText(tokenizer_config, R"({"chat_template": "from config"})");
  EXPECT_EQ(Import().chat_template, "from config");
  WriteText(
      tokenizer_config,
      R"({"chat_template": [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]})");
  EXPECT_EQ(Import().chat_template, "plain");
  WriteText(tokenizer_config, R"({"chat_template": 7})");
  EXPECT_CONTAINS(ErrorOf([&] { Import(); }, ErrorCode::kCorrupt), "chat_template");
  WriteText(tokenizer_config, R"({"chat_template": "from config"})");
  WriteText(folder_ / "chat_template.json", R"({"chat_template": "from json"})");
  EXPECT_EQ(Import().chat_template, "from json");
  WriteText(folder_ / "chat_template.jinja", "from jinja\n");
  EXPECT_EQ(Import().chat_template, "from jinja\n");
}

TEST_F(HuggingFaceTest, DamagedFoldersAreErrorsOrHarmless) {
  Write();
  const std::string weights = ReadFile(folder_ / "model.safetensors"), config = ReadFile(folder_ / "config.json");
  const size_t header = weights.find("   ");
  std::mt19937 generator(3);
  for (int round = 0; round < 150; ++round) {
    WriteText(folder_ / "model.safetensors", std::string_view(weights).substr(0, generator() % weights.size()));
    EXPECT_FALSE(SucceedsOrFailsCleanly([&] { Import(); }));
    std::string bad = weights;
    bad[generator() % header] = static_cast<char>(generator());
    WriteText(folder_ / "model.safetensors", bad);
    SucceedsOrFailsCleanly([&] { Import(); });
  }
  WriteText(folder_ / "model.safetensors", weights);
  for (int round = 0; round < 300; ++round) {
    std::string bad = config;
    bad[generator() % bad.size()] = static_cast<char>(generator());
    if (generator() % 4 == 0) bad.resize(generator() % bad.size());
    WriteText(folder_ / "config.json", bad);
    SucceedsOrFailsCleanly([&] { Import(); });
  }
}

TEST_F(HuggingFaceTest, NoPermission) {
  if (geteuid() == 0) GTEST_SKIP() << "root may read everything";
  Write();
  std::filesystem::permissions(folder_ / "model.safetensors", std::filesystem::perms::none);
  EXPECT_CONTAINS(ErrorOf([&] { Import(); }, ErrorCode::kIo), "model.safetensors");
}

class GoldenImportTest : public testing::TestWithParam<const char*> {};

TEST_P(GoldenImportTest, Imports) {
  const auto folder = SourceDir() / "tests" / "golden" / GetParam();
  const Model model = LoadModel(folder);
  EXPECT_NO_THROW(model.weights.Bind(Lower(model.config), "golden"));
  EXPECT_TRUE(model.provenance.notes.empty()) << model.provenance.notes[0];
  const bool is_bitnet = std::string_view(GetParam()).starts_with("bitnet");
  EXPECT_EQ(model.config.native_ternary, is_bitnet);
  for (const auto& [name, tensor] : model.weights.tensors()) {
    EXPECT_EQ(tensor.view.format.is_float(), !(is_bitnet && name.ends_with("_proj.weight"))) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, GoldenImportTest,
                         testing::Values("llama-tied", "llama3-rope", "llama-bias-head-dim", "qwen2-sharded",
                                         "qwen3-tied", "qwen3-untied", "bitnet-online", "bitnet-packed"),
                         [](const auto& instance) {
                           std::string name = instance.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace edgellm
