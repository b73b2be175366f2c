// BitNet's three published forms against their definitions, by hand-made matrices and through a whole folder.
#include "convert/bitnet.h"

#include "huggingface_samples.h"
#include "quant/ternary.h"

namespace edgellm {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kRows = 8, kCols = 7;

/// A matrix of known codes.
int CodeAt(int64_t row, int64_t col) {
  return static_cast<int>((row * 5 + col * 3 + row * col) % 3) - 1;
}

std::string Packed() {
  std::string packed(kRows / 4 * kCols, '\0');
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t col = 0; col < kCols; ++col) {
      auto& byte = packed[static_cast<size_t>(row % (kRows / 4) * kCols + col)];
      byte = static_cast<char>(byte | (CodeAt(row, col) + 1) << (2 * (row / (kRows / 4))));
    }
  }
  return packed;
}

void ExpectCodes(const Tensor& tensor, float scale) {
  EXPECT_EQ(tensor.view.format.Name(), "ternary");
  const auto values = DecodeAll(tensor.view);
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t col = 0; col < kCols; ++col) {
      EXPECT_EQ(values[static_cast<size_t>(row * kCols + col)], scale * static_cast<float>(CodeAt(row, col)));
    }
  }
}

TEST(BitnetTest, RepacksExactly) {
  const std::string packed = Packed();
  ExpectCodes(RepackBitnet(std::as_bytes(std::span(packed)), kRows, kCols, 0.37f, "t"), 0.37f);
}

TEST(BitnetTest, RefusesTheInvalidCode) {
  std::string packed = Packed();
  packed[kCols + 3] = static_cast<char>(packed[kCols + 3] | 0x30);  // third quarter, second row of it
  EXPECT_CONTAINS(
      ErrorOf([&] { RepackBitnet(std::as_bytes(std::span(packed)), kRows, kCols, 1, "t"); }, ErrorCode::kCorrupt),
      "t: row 5, column 3");
}

TEST(BitnetTest, EncodesMasterWeightsByTheMatrixMean) {
  // mean |w| = 0.5; times its inverse: -2, -1, -0.5, 0.4, 1, 1.1, with ties to even.
  const std::vector<float> values = {-1.0f, -0.5f, -0.25f, 0.2f, 0.5f, 0.55f};
  const float mean = 3.0f / 6.0f;
  const Tensor source =
      EncodeTensor({}, 2, 3, [&](int64_t row) { return std::span(values).subspan(static_cast<size_t>(row) * 3, 3); });
  const Tensor tensor = EncodeBitnet(source.view, "t");
  EXPECT_EQ(DecodeAll(tensor.view), (std::vector<float>{-mean, -mean, 0, 0, mean, mean}));
}

TEST(BitnetTest, RandomWeightsUseAllThreeCodes) {
  const auto values = RandomValues(20 * 33, 3);
  const Tensor source = EncodeTensor(
      {}, 20, 33, [&](int64_t row) { return std::span(values).subspan(static_cast<size_t>(row) * 33, 33); });
  const Tensor once = EncodeBitnet(source.view, "t");
  std::vector<int8_t> codes(33);
  int counts[3] = {};
  for (int64_t row = 0; row < 20; ++row) {
    DecodeCodes(once.view, row, codes);
    for (const int8_t code : codes) ++counts[code + 1];
  }
  EXPECT_GT(counts[0], 100);
  EXPECT_GT(counts[1], 100);
  EXPECT_GT(counts[2], 100);
}

TEST(BitnetTest, ZerosAndBrokenNumbers) {
  const std::vector<float> zeros(12, 0.0f);
  const auto make = [](const std::vector<float>& values) {
    return EncodeTensor({}, 3, 4,
                        [&](int64_t row) { return std::span(values).subspan(static_cast<size_t>(row) * 4, 4); });
  };
  EXPECT_EQ(DecodeAll(EncodeBitnet(make(zeros).view, "t").view), zeros);
  std::vector<float> broken = zeros;
  broken[5] = std::nanf("");
  EXPECT_CONTAINS(ErrorOf([&] { EncodeBitnet(make(broken).view, "t"); }, ErrorCode::kCorrupt), "NaN");
}

/// A folder whose linears are in one of BitNet's forms.
class BitnetFolderTest : public testing::Test {
 protected:
  BitnetFolderTest() {
    ModelConfig config = SampleConfig();
    config.family = "bitnet";
    config.sub_norms = config.native_ternary = true;
    config.activation = Activation::kRelu2;
    model_ = SampleModel({}, config);
    checkpoint_ = CheckpointOf(model_);
    config_ = SampleHuggingFaceConfig(config);
    config_["architectures"] = {"BitNetForCausalLM"};
    config_["hidden_act"] = "relu2";
  }

  /// Linears as packed codes with this scale.
  void Pack(float scale) {
    for (auto& [name, tensor] : checkpoint_) {
      if (!name.ends_with("_proj.weight")) continue;
      const int64_t rows = tensor.shape[0], cols = tensor.shape[1];
      std::string packed(static_cast<size_t>(rows / 4 * cols), '\0');
      for (size_t i = 0; i < packed.size(); ++i) packed[i] = static_cast<char>(i % 2 == 0 ? 0x24 : 0x91);
      tensor = {"U8", {rows / 4, cols}, packed};
      scales_[name + "_scale"] = {"F32", {1}, std::string(reinterpret_cast<const char*>(&scale), 4)};
    }
    checkpoint_.insert(scales_.begin(), scales_.end());
  }

  Model Import(const char* linear_class, const char* mode) {
    config_["quantization_config"] = {
        {"quant_method", "bitnet"}, {"linear_class", linear_class}, {"quantization_mode", mode}};
    WriteText(folder_ / "config.json", config_.dump());
    WriteCheckpoint(folder_ / "model.safetensors", checkpoint_);
    return LoadModel(folder_.path());
  }

  float UpScale(const Model& model) {
    return DecodeGroup(model.weights.Find("model.layers.0.mlp.up_proj.weight")->view, 0, 0).scale;
  }

  TemporaryFolder folder_;
  Model model_;
  SampleCheckpoint checkpoint_, scales_;
  Json config_;
};

TEST_F(BitnetFolderTest, TheTwoLinearClassesUseTheScaleOppositely) {
  Pack(4.0f);
  EXPECT_EQ(UpScale(Import("autobitlinear", "offline")), 4.0f);
  EXPECT_EQ(UpScale(Import("bitlinear", "offline")), 0.25f);
  EXPECT_CONTAINS(ErrorOf([&] { Import("tribitlinear", "offline"); }, ErrorCode::kUnsupported), "tribitlinear");
  EXPECT_CONTAINS(ErrorOf([&] { Import("bitlinear", "sometimes"); }, ErrorCode::kUnsupported), "sometimes");
}

TEST_F(BitnetFolderTest, OnlineCheckpointsAreRoundedAtImport) {
  const Model model = Import("autobitlinear", "online");
  const WeightView& view = model.weights.Find("model.layers.0.mlp.up_proj.weight")->view;
  const WeightView& source = model_.weights.Find("model.layers.0.mlp.up_proj.weight")->view;
  EXPECT_EQ(PlanesText(view), PlanesText(EncodeBitnet(source, "t").view));
  EXPECT_TRUE(model.weights.Find("model.embed_tokens.weight")->view.format.is_float());
  EXPECT_TRUE(model.config.native_ternary);
}

TEST_F(BitnetFolderTest, UnpackedCodesAreAccepted) {
  for (auto& [name, tensor] : checkpoint_) {
    if (!name.ends_with("_proj.weight")) continue;
    auto* values = reinterpret_cast<float*>(tensor.bytes.data());
    for (size_t i = 0; i < tensor.bytes.size() / 4; ++i) values[i] = static_cast<float>(i % 3) - 1.0f;
    const float scale = 0.5f;
    scales_[name + "_scale"] = {"F32", {1}, std::string(reinterpret_cast<const char*>(&scale), 4)};
  }
  checkpoint_.insert(scales_.begin(), scales_.end());
  const Model model = Import("autobitlinear", "offline");
  const auto values = DecodeAll(model.weights.Find("model.layers.0.mlp.up_proj.weight")->view);
  EXPECT_EQ(values[0], -0.5f);
  EXPECT_EQ(values[1], 0.0f);
  EXPECT_EQ(values[2], 0.5f);
}

TEST_F(BitnetFolderTest, ModulesThatAreNotConvertedStayFloats) {
  Pack(1.0f);
  const auto packed = checkpoint_;
  checkpoint_ = CheckpointOf(model_);
  for (const auto& [name, tensor] : packed) {
    if (name.find("layers.0.mlp") == std::string::npos) checkpoint_[name] = tensor;
  }
  config_["quantization_config"] = {{"quant_method", "bitnet"}, {"modules_to_not_convert", {"layers.0.mlp"}}};
  WriteText(folder_ / "config.json", config_.dump());
  WriteCheckpoint(folder_ / "model.safetensors", checkpoint_);
  const Model model = LoadModel(folder_.path());
  EXPECT_TRUE(model.weights.Find("model.layers.0.mlp.up_proj.weight")->view.format.is_float());
  EXPECT_FALSE(model.weights.Find("model.layers.1.mlp.up_proj.weight")->view.format.is_float());
}

TEST_F(BitnetFolderTest, BadScalesAndShapesAreNamed) {
  Pack(1.0f);
  const auto good = checkpoint_;
  checkpoint_.erase("model.layers.0.mlp.up_proj.weight_scale");
  EXPECT_CONTAINS(ErrorOf([&] { Import("bitlinear", "offline"); }, ErrorCode::kCorrupt), "up_proj.weight_scale");
  checkpoint_ = good;
  checkpoint_["model.layers.0.mlp.up_proj.weight_scale"].bytes = std::string(4, '\0');
  EXPECT_CONTAINS(ErrorOf([&] { Import("bitlinear", "offline"); }, ErrorCode::kCorrupt), "not a positive scale");
  checkpoint_ = good;
  checkpoint_["model.layers.0.mlp.up_proj.weight"].shape = {24, 10};
  EXPECT_CONTAINS(ErrorOf([&] { Import("bitlinear", "offline"); }, ErrorCode::kCorrupt), "the model needs [10, 24]");
}

}  // namespace
}  // namespace edgellm
