// LoadModel tells files by their content, and says clearly what it cannot use.
#include "huggingface_samples.h"
#include "model/model_file.h"
#include "tests/source_dir.h"

namespace edgellm {
namespace {

TEST(LoadModelTest, ModelFilesByAnyName) {
  const TemporaryFolder folder;
  const Model model = SampleModel(WeightFormat::Parse("int4-g32"));
  WriteModelFile(model, folder / "anything.bin", {});
  const Model back = LoadModel(folder / "anything.bin");
  EXPECT_EQ(back.name, "sample");
  EXPECT_EQ(PlanesText(back.weights.Find("lm_head.weight")->view),
            PlanesText(model.weights.Find("lm_head.weight")->view));
}

TEST(LoadModelTest, AnImportSurvivesTheModelFile) {
  const TemporaryFolder folder;
  const Model model = LoadModel(SourceDir() / "tests" / "golden" / "bitnet-packed");
  WriteModelFile(model, folder / "m.edgellm", {});
  EXPECT_NO_THROW(VerifyChecksums(folder / "m.edgellm", {}));
  const Model back = LoadModel(folder / "m.edgellm");
  EXPECT_EQ(back.config, model.config);
  for (const auto& [name, tensor] : model.weights.tensors()) {
    EXPECT_EQ(PlanesText(tensor.view), PlanesText(back.weights.Find(name)->view)) << name;
  }
}

TEST(LoadModelTest, ADamagedModelFileIsCalledSo) {
  const TemporaryFolder folder;
  WriteModelFile(SampleModel({}), folder / "m.edgellm", {});
  const std::string bytes = ReadFile(folder / "m.edgellm");
  WriteText(folder / "cut.edgellm", bytes.substr(0, bytes.size() / 2));
  EXPECT_CONTAINS(ErrorOf([&] { LoadModel(folder / "cut.edgellm"); }, ErrorCode::kCorrupt), "cut short");
}

TEST(LoadModelTest, ForeignFilesGetOneClearLine) {
  const TemporaryFolder folder;
  WriteText(folder / "empty", "");
  WriteText(folder / "text", "once upon a time there was a file that was no model at all");
  WriteText(folder / "zip.bin", std::string("PK\x03\x04 and so on"));
  WriteText(folder / "short.gguf", "GGUF");
  EXPECT_CONTAINS(ErrorOf([&] { LoadModel(folder / "empty"); }, ErrorCode::kCorrupt), "empty");
  EXPECT_CONTAINS(ErrorOf([&] { LoadModel(folder / "text"); }, ErrorCode::kUnsupported), "not a model");
  EXPECT_CONTAINS(ErrorOf([&] { LoadModel(folder / "zip.bin"); }, ErrorCode::kUnsupported), "pickle");
  ErrorOf([&] { LoadModel(folder / "short.gguf"); });
  ErrorOf([&] { LoadModel(folder / "absent"); }, ErrorCode::kNotFound);
  ErrorOf([&] { LoadModel(folder / "text" / "below"); });
  ErrorOf([&] { LoadModel("/dev/null"); }, ErrorCode::kInvalidArgument);
  ErrorOf([&] { LoadModel(""); });
}

}  // namespace
}  // namespace edgellm
