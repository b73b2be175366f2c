// Split GGUF models: the parts are one model, from whichever path, and a part that is missing, foreign or there twice
// is named.
#include "convert/gguf_parts.h"

#include <gtest/gtest.h>

#include "base/sha256.h"
#include "convert/import.h"
#include "tests/convert/gguf_samples.h"

namespace edgellm {
namespace {

namespace fs = std::filesystem;

class GgufPartsTest : public ::testing::Test {
 protected:
  fs::path Part(int number, const std::string& name = "m", int count = 3) const {
    return folder_ / (name + PartEnding(number, count) + ".gguf");
  }
  void Write(const std::vector<Bytes>& parts, const std::string& name = "m") const {
    WriteGgufParts(folder_ / ".", name, parts);
  }
  /// The error of loading the folder and of loading each part.
  void ExpectRefused(ErrorCode code, std::string_view part) const {
    EXPECT_CONTAINS(ErrorOf([&] { LoadModel(folder_ / "."); }, code), part);
    EXPECT_CONTAINS(ErrorOf([&] { LoadModel(Part(1)); }, code), part);
  }

  const TemporaryFolder folder_;
};

void ExpectSameModel(const Model& model, const Model& whole) {
  EXPECT_EQ(model.config, whole.config);
  EXPECT_EQ(model.tokenizer_json, whole.tokenizer_json);
  EXPECT_EQ(model.chat_template, whole.chat_template);
  ASSERT_EQ(model.weights.tensors().size(), whole.weights.tensors().size());
  for (const auto& [name, tensor] : whole.weights.tensors()) {
    const WeightView &a = tensor.view, &b = model.weights.tensors().find(name)->second.view;
    ASSERT_EQ(a.format, b.format) << name;
    ASSERT_EQ(a.rows, b.rows) << name;
    const size_t bytes = static_cast<size_t>(a.rows) * a.format.RowBytes(a.cols);
    EXPECT_EQ(std::memcmp(a.codes, b.codes, bytes), 0) << name;
  }
}

TEST_F(GgufPartsTest, PartsAreOneModelFromEveryPath) {
  const Model whole = ImportBytes(SampleGguf(SampleConfig()));
  for (const bool first_is_empty : {false, true}) {
    Write(SampleGgufParts(SampleConfig(), 3, first_is_empty));
    for (const fs::path& path : {Part(1), Part(3), folder_ / "."}) {
      const Model model = LoadModel(path);
      ExpectSameModel(model, whole);
      EXPECT_EQ(model.name, "a sample");
      EXPECT_EQ(model.provenance.source, "m-00001-of-00003.gguf");
      EXPECT_EQ(model.provenance.source_digest.size(), 64u);
      EXPECT_EQ(model.provenance.source_digest, LoadModel(Part(2)).provenance.source_digest);
    }
  }
}

TEST_F(GgufPartsTest, TheDigestIsOfAllParts) {
  Write(SampleGgufParts(SampleConfig(), 3));
  Bytes all;
  for (int i = 1; i <= 3; ++i) {
    const Bytes part = BytesOfFile(Part(i));
    all.insert(all.end(), part.begin(), part.end());
  }
  EXPECT_EQ(LoadModel(Part(1)).provenance.source_digest, Sha256Hex(all));
}

TEST_F(GgufPartsTest, AMissingPartIsNamed) {
  Write(SampleGgufParts(SampleConfig(), 3));
  fs::remove(Part(2));
  ExpectRefused(ErrorCode::kNotFound, "m-00002-of-00003.gguf: part 2 of 3");
  fs::remove(Part(1));
  EXPECT_CONTAINS(ErrorOf([&] { LoadModel(Part(3)); }, ErrorCode::kNotFound), "m-00001-of-00003.gguf: part 1 of 3");
}

TEST_F(GgufPartsTest, APartThatIsThereTwiceIsNamed) {
  const auto parts = SampleGgufParts(SampleConfig(), 3);
  Write({parts[0], parts[1], parts[1]});
  ExpectRefused(ErrorCode::kCorrupt, "m-00003-of-00003.gguf: in the place of part 3, but part 2");
  Write({parts[0], parts[0], parts[2]});
  ExpectRefused(ErrorCode::kCorrupt, "m-00002-of-00003.gguf: in the place of part 2, but part 1");
  // A copy that says it is another part: its tensors give it away.
  Write(
      {parts[0], SampleGgufParts(SampleConfig(), 3)[1], SampleGgufParts(SampleConfig(), 3, false, [](PartFacts& facts) {
         if (facts.number == 1) facts.number = 2;
       })[1]});
  ExpectRefused(ErrorCode::kCorrupt, "m-00003-of-00003.gguf: tensor");
}

TEST_F(GgufPartsTest, AForeignPartIsNamed) {
  const auto parts = SampleGgufParts(SampleConfig(), 3);
  ModelConfig larger = SampleConfig();
  larger.layers += 1;
  Write({parts[0], parts[1], SampleGgufParts(larger, 3)[2]});
  ExpectRefused(ErrorCode::kCorrupt, "m-00003-of-00003.gguf: a part of another model");
  Write({parts[0], SampleGgufParts(SampleConfig(), 4)[1], parts[2]});
  ExpectRefused(ErrorCode::kCorrupt, "m-00002-of-00003.gguf: a part of another model: one of 4");
  Write({parts[0], SampleGguf(SampleConfig()), parts[2]});
  ExpectRefused(ErrorCode::kCorrupt, "m-00002-of-00003.gguf: no part of a split model");
}

TEST_F(GgufPartsTest, MetadataThatDiffersIsOfAnotherModel) {
  auto parts = SampleGgufParts(SampleConfig(), 2);
  GgufWriter writer;
  writer.AddText("general.name", "something else");
  AddPartMetadata(writer, {1, 2, static_cast<int>(Lower(SampleConfig()).weights.size())});
  parts[1] = BytesOf(writer);
  Write(parts);
  EXPECT_CONTAINS(ErrorOf([&] { LoadModel(folder_ / "."); }, ErrorCode::kCorrupt), "metadata general.name differs");
}

TEST_F(GgufPartsTest, TensorsThatNoPartHasAreNoticed) {
  Write(SampleGgufParts(SampleConfig(), 3, false, [](PartFacts& facts) { facts.tensors += 1; }));
  ExpectRefused(ErrorCode::kCorrupt, "split.tensors.count");
  // Files of old versions have no such count; what is missing is then named by the model.
  auto parts =
      SampleGgufParts(SampleConfig(), 3, false, [](PartFacts& facts) { facts.left_out = {"split.tensors.count"}; });
  Write(parts);
  ExpectSameModel(LoadModel(Part(1)), ImportBytes(SampleGguf(SampleConfig())));
  GgufWriter writer;
  AddPartMetadata(writer, {2, 3, 0, {"split.tensors.count"}});
  parts[2] = BytesOf(writer);
  Write(parts);
  ExpectRefused(ErrorCode::kCorrupt, "is missing");
}

TEST_F(GgufPartsTest, PartsAreFoundByTheirNames) {
  const auto parts = SampleGgufParts(SampleConfig(), 3);
  WriteText(folder_ / "renamed.gguf", TextOf(parts[0]));
  EXPECT_CONTAINS(ErrorOf([&] { LoadModel(folder_ / "renamed.gguf"); }, ErrorCode::kUnsupported),
                  "NAME-00001-of-00003");
  WriteText(folder_ / "other-00001-of-00002.gguf", TextOf(parts[0]));
  EXPECT_CONTAINS(ErrorOf([&] { LoadModel(folder_ / "other-00001-of-00002.gguf"); }, ErrorCode::kCorrupt),
                  "of 2 by its name");
  // A whole file may be called like a part.
  WriteText(folder_ / "whole-00001-of-00002.gguf", TextOf(SampleGguf(SampleConfig())));
  EXPECT_EQ(LoadModel(folder_ / "whole-00001-of-00002.gguf").config, SampleConfig());
}

TEST_F(GgufPartsTest, AFolderHoldsOneModel) {
  EXPECT_FALSE(HoldsGguf(folder_ / "."));
  EXPECT_CONTAINS(ErrorOf([&] { LoadModel(folder_ / "."); }, ErrorCode::kNotFound), "config.json");
  Write(SampleGgufParts(SampleConfig(), 2));
  WriteText(folder_ / "README.md", "a model");
  EXPECT_TRUE(IsGgufFolder(folder_ / "."));
  EXPECT_EQ(LoadModel(folder_ / ".").config, SampleConfig());
  WriteText(folder_ / "other.gguf", TextOf(SampleGguf(SampleConfig())));
  EXPECT_FALSE(IsGgufFolder(folder_ / "."));
  EXPECT_CONTAINS(ErrorOf([&] { LoadModel(folder_ / "."); }, ErrorCode::kInvalidArgument), "other.gguf");
  const TemporaryFolder single;
  WriteText(single / "one.gguf", TextOf(SampleGguf(SampleConfig())));
  EXPECT_EQ(LoadModel(single / ".").config, SampleConfig());
}

}  // namespace
}  // namespace edgellm
