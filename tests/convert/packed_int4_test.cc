// GPTQ and AWQ checkpoints, packed here code by code after the descriptions of their formats, must come in with every
// value exact; what has no exact equal is refused.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/half.h"
#include "tests/convert/huggingface_samples.h"

namespace edgellm {
namespace {

const std::string kLayer = "model.layers.1.mlp.down_proj";

/// What a matrix is made of, before it is packed.
struct Plain {
  int64_t rows = 0, cols = 0, group = 0, groups = 0;
  std::vector<int> codes;        // [rows][cols]
  std::vector<int> zeros;        // [groups][rows]
  std::vector<uint16_t> scales;  // [groups][rows], f16

  float Value(int64_t row, int64_t column) const {
    const auto place = static_cast<size_t>(column / group * rows + row);
    return F16ToFloat(scales[place]) *
           static_cast<float>(codes[static_cast<size_t>(row * cols + column)] - zeros[place]);
  }
};

Plain MakePlain(int64_t rows, int64_t cols, int64_t group, bool symmetric, unsigned seed) {
  std::mt19937 random(seed);
  Plain plain{.rows = rows,
              .cols = cols,
              .group = group,
              .groups = (cols + group - 1) / group,
              .codes = {},
              .zeros = {},
              .scales = {}};
  for (int64_t i = 0; i < rows * cols; ++i) plain.codes.push_back(static_cast<int>(random() % 16));
  for (int64_t i = 0; i < plain.groups * rows; ++i) {
    plain.zeros.push_back(symmetric ? 8 : 1 + static_cast<int>(random() % 15));
    plain.scales.push_back(FloatToF16(0.001f * static_cast<float>(1 + random() % 100)));
  }
  return plain;
}

std::string Bytes(const std::vector<uint32_t>& words) {
  return {reinterpret_cast<const char*>(words.data()), words.size() * 4};
}

enum class Kind { kGptq, kGptqSecond, kAwq };

class PackedCheckpoint : public testing::Test {
 protected:
  PackedCheckpoint() {
    config_.hidden = 32;
    config_.head_dim = 8;
    config_.ffn = 320;
    model_ = SampleModel(WeightFormat::Parse("f16"), config_);
  }

  /// Packs every layer's matrices; `of` remembers them.
  void Pack(Kind kind, int64_t group, bool symmetric) {
    checkpoint_ = CheckpointOf(model_);
    unsigned seed = 1;
    for (const auto& [name, tensor] : model_.weights.tensors()) {
      if (!name.ends_with("_proj.weight")) continue;
      const std::string layer = name.substr(0, name.size() - 7);
      const int64_t used = group == -1 ? tensor.view.cols : group;
      const Plain plain = MakePlain(tensor.view.rows, tensor.view.cols, used, symmetric, seed++);
      checkpoint_.erase(name);
      Add(layer, plain, kind);
      plains_[name] = plain;
    }
    quantization_ = {{"quant_method", kind == Kind::kAwq ? "awq" : "gptq"}, {"bits", 4}, {"group_size", group}};
    if (kind == Kind::kAwq) {
      quantization_.update({{"version", "gemm"}, {"zero_point", true}});
    } else {
      quantization_.update({{"sym", symmetric}, {"desc_act", false}});
      if (kind == Kind::kGptqSecond) quantization_["checkpoint_format"] = "gptq_v2";
    }
  }

  void Add(const std::string& layer, const Plain& plain, Kind kind) {
    static constexpr int kOrder[] = {0, 2, 4, 6, 1, 3, 5, 7};
    const bool awq = kind == Kind::kAwq;
    std::vector<uint32_t> codes(static_cast<size_t>(plain.rows * plain.cols / 8));
    std::vector<uint32_t> zeros(static_cast<size_t>(plain.groups * plain.rows / 8));
    const auto by_row = [&](std::vector<uint32_t>& words, int64_t line, int64_t row, int value) {
      int64_t place = row % 8;
      if (awq) place = std::find(kOrder, kOrder + 8, place) - kOrder;
      words[static_cast<size_t>(line * plain.rows / 8 + row / 8)] |= static_cast<uint32_t>(value) << (4 * place);
    };
    for (int64_t row = 0; row < plain.rows; ++row) {
      for (int64_t column = 0; column < plain.cols; ++column) {
        const int code = plain.codes[static_cast<size_t>(row * plain.cols + column)];
        if (awq) {
          by_row(codes, column, row, code);
        } else {
          codes[static_cast<size_t>(column / 8 * plain.rows + row)] |= static_cast<uint32_t>(code) << (column % 8 * 4);
        }
      }
      for (int64_t group = 0; group < plain.groups; ++group) {
        by_row(zeros, group, row,
               plain.zeros[static_cast<size_t>(group * plain.rows + row)] - (kind == Kind::kGptq ? 1 : 0));
      }
    }
    const auto shape = awq ? std::vector{plain.cols, plain.rows / 8} : std::vector{plain.cols / 8, plain.rows};
    checkpoint_[layer + ".qweight"] = {"I32", shape, Bytes(codes)};
    checkpoint_[layer + ".qzeros"] = {"I32", {plain.groups, plain.rows / 8}, Bytes(zeros)};
    checkpoint_[layer + ".scales"] = {"F16",
                                      {plain.groups, plain.rows},
                                      {reinterpret_cast<const char*>(plain.scales.data()), plain.scales.size() * 2}};
    if (awq) return;
    std::vector<uint32_t> index;
    for (int64_t i = 0; i < plain.cols; ++i) index.push_back(static_cast<uint32_t>(i / plain.group));
    checkpoint_[layer + ".g_idx"] = {"I32", {plain.cols}, Bytes(index)};
  }

  Model Import() {
    auto json = SampleHuggingFaceConfig(config_);
    json["quantization_config"] = quantization_;
    WriteText(folder_ / "config.json", json.dump());
    WriteCheckpoint(folder_ / "model.safetensors", checkpoint_);
    return ImportHuggingFace(folder_.path(), {});
  }

  void ExpectExact(const Model& model, const std::string& format) {
    for (const auto& [name, plain] : plains_) {
      const WeightView& view = model.weights.Find(name)->view;
      EXPECT_EQ(view.format.Name(), format) << name;
      const auto values = DecodeAll(view);
      for (int64_t i = 0; i < plain.rows * plain.cols; ++i) {
        ASSERT_EQ(values[static_cast<size_t>(i)], plain.Value(i / plain.cols, i % plain.cols)) << name << " " << i;
      }
    }
    EXPECT_EQ(model.weights.Find("lm_head.weight")->view.format.Name(), "f16");
    EXPECT_TRUE(model.provenance.notes.empty());
  }

  std::string Refusal(ErrorCode code) {
    return ErrorOf([&] { Import(); }, code);
  }

  ModelConfig config_ = SampleConfig();
  Model model_;
  SampleCheckpoint checkpoint_;
  std::map<std::string, Plain> plains_;
  nlohmann::ordered_json quantization_;
  TemporaryFolder folder_;
};

TEST_F(PackedCheckpoint, EveryValueIsExact) {
  for (const Kind kind : {Kind::kGptq, Kind::kGptqSecond, Kind::kAwq}) {
    for (const auto& [group, name] : {std::pair{32, "int4-g32"}, std::pair{64, "int4-g64"}, std::pair{128, "int4-g128"},
                                      std::pair{256, "int4-g128"}, std::pair{-1, "int4-g128"}}) {
      for (const bool symmetric : {true, false}) {
        SCOPED_TRACE(fmt::format("{} {} {}", static_cast<int>(kind), group, symmetric));
        plains_.clear();
        Pack(kind, group, symmetric);
        const Model model = Import();
        ExpectExact(model, std::string(name) + (symmetric ? "" : "-z"));
        const auto recipe = nlohmann::json::parse(model.provenance.recipe_json);
        EXPECT_EQ(recipe["method"], "import");
        EXPECT_TRUE(recipe["tensors"][kLayer + ".weight"]["exact"].get<bool>());
      }
    }
  }
}

TEST_F(PackedCheckpoint, AZeroOfSixteenIsKept) {
  Pack(Kind::kGptq, 64, /*symmetric=*/false);
  std::string& zeros = checkpoint_[kLayer + ".qzeros"].bytes;
  std::fill(zeros.begin(), zeros.end(), '\xff');  // 15 is stored, 16 is meant
  const Model model = Import();
  EXPECT_EQ(DecodeGroup(model.weights.Find(kLayer + ".weight")->view, 3, 1).zero, 16.0f);
}

TEST_F(PackedCheckpoint, SymmetricZerosThatAreStoredAsTheyAreAreKnown) {
  Pack(Kind::kGptqSecond, 64, /*symmetric=*/true);
  quantization_["checkpoint_format"] = "gptq";  // as some writers call it
  ExpectExact(Import(), "int4-g64");
}

TEST_F(PackedCheckpoint, AHeadMayBePackedToo) {
  Pack(Kind::kAwq, 32, /*symmetric=*/false);
  config_.vocab = 48;
  model_ = SampleModel(WeightFormat::Parse("f16"), config_);
  Pack(Kind::kAwq, 32, /*symmetric=*/false);
  checkpoint_.erase("lm_head.weight");
  Add("lm_head", MakePlain(48, 32, 32, false, 99), Kind::kAwq);
  const Model model = Import();
  EXPECT_FALSE(model.config.tied_head);
  EXPECT_EQ(model.weights.Find("lm_head.weight")->view.format.Name(), "int4-g32-z");
}

TEST_F(PackedCheckpoint, WhatHasNoEqualIsRefused) {
  using Change = std::function<void(nlohmann::ordered_json&)>;
  const std::vector<std::tuple<Kind, Change, const char*>> cases = {
      {Kind::kGptq, [](auto& q) { q["bits"] = 8; }, "bits 8"},
      {Kind::kGptq, [](auto& q) { q["group_size"] = 16; }, "group_size 16"},
      {Kind::kGptq, [](auto& q) { q["checkpoint_format"] = "marlin"; }, "marlin"},
      {Kind::kGptq,
       [](auto& q) {
         q["dynamic"] = {{"-:.*down.*", {{"bits", 8}}}};
       },
       "dynamic"},
      {Kind::kAwq, [](auto& q) { q["version"] = "gemv"; }, "gemv"},
      {Kind::kAwq, [](auto& q) { q["bits"] = 3; }, "bits 3"},
  };
  for (const auto& [kind, change, part] : cases) {
    Pack(kind, 32, /*symmetric=*/false);
    change(quantization_);
    EXPECT_CONTAINS(Refusal(ErrorCode::kUnsupported), part);
  }
  Pack(Kind::kGptq, 32, /*symmetric=*/false);
  auto& index = checkpoint_[kLayer + ".g_idx"].bytes;
  std::swap(index[0], index[4 * 100]);
  const std::string text = Refusal(ErrorCode::kUnsupported);
  EXPECT_CONTAINS(text, "desc_act");
  EXPECT_CONTAINS(text, kLayer);
  EXPECT_CONTAINS(text, "model.safetensors");
}

TEST_F(PackedCheckpoint, WhatIsBrokenIsNamed) {
  const auto broken = [&](ErrorCode code, const std::function<void()>& change, const std::string& part) {
    Pack(Kind::kGptq, 32, /*symmetric=*/false);
    change();
    const std::string text = Refusal(code);
    EXPECT_CONTAINS(text, part);
    EXPECT_CONTAINS(text, kLayer);
  };
  const auto tensor = [&](const char* suffix) -> SampleTensor& { return checkpoint_[kLayer + suffix]; };
  broken(
      ErrorCode::kCorrupt, [&] { checkpoint_.erase(kLayer + ".qzeros"); }, "missing");
  broken(
      ErrorCode::kCorrupt, [&] { checkpoint_.erase(kLayer + ".scales"); }, "missing");
  broken(
      ErrorCode::kCorrupt, [&] { std::swap(tensor(".qweight").shape[0], tensor(".qweight").shape[1]); }, "shape");
  broken(
      ErrorCode::kUnsupported, [&] { tensor(".qweight").dtype = "F32"; }, "F32");
  broken(
      ErrorCode::kCorrupt, [&] { tensor(".scales").bytes[1] = '\x7e'; }, "not a finite number");
  broken(
      ErrorCode::kUnsupported,
      [&] {
        auto& scales = tensor(".scales");
        std::vector<float> wide(scales.bytes.size() / 2, 1.0001f);
        scales = {"F32", scales.shape, {reinterpret_cast<const char*>(wide.data()), wide.size() * 4}};
      },
      "no f16 value");
}

}  // namespace
}  // namespace edgellm
