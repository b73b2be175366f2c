// The model file: everything comes back as it was, in every weight format; damage and foreign versions are told.
#include "model/model_file.h"

#include <cstring>
#include <random>

#include "base/file.h"
#include "model/safetensors.h"
#include "quant/codec.h"
#include "tests/model/expect_error.h"
#include "tests/model/sample_model.h"

namespace edgellm {
namespace {

void ExpectEqual(const Model& a, const Model& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.config, b.config);
  EXPECT_EQ(a.tokenizer_json, b.tokenizer_json);
  EXPECT_EQ(a.chat_template, b.chat_template);
  EXPECT_EQ(a.generation.temperature, b.generation.temperature);
  EXPECT_EQ(a.generation.top_k, b.generation.top_k);
  EXPECT_EQ(a.generation.top_p, b.generation.top_p);
  EXPECT_EQ(a.generation.min_p, b.generation.min_p);
  EXPECT_EQ(a.generation.repetition_penalty, b.generation.repetition_penalty);
  EXPECT_EQ(a.generation.stop_tokens, b.generation.stop_tokens);
  EXPECT_EQ(a.generation.stop_strings, b.generation.stop_strings);
  EXPECT_EQ(a.provenance.source, b.provenance.source);
  EXPECT_EQ(a.provenance.source_format, b.provenance.source_format);
  EXPECT_EQ(a.provenance.source_digest, b.provenance.source_digest);
  EXPECT_EQ(a.provenance.recipe_json, b.provenance.recipe_json);
  EXPECT_EQ(a.provenance.created_by, b.provenance.created_by);
  EXPECT_EQ(a.provenance.notes, b.provenance.notes);
  ASSERT_EQ(a.golden.size(), b.golden.size());
  for (size_t i = 0; i < a.golden.size(); ++i) {
    EXPECT_EQ(a.golden[i].prompt, b.golden[i].prompt);
    EXPECT_EQ(a.golden[i].expected, b.golden[i].expected);
  }
  ASSERT_EQ(a.weights.tensors().size(), b.weights.tensors().size());
  for (const auto& [name, tensor] : a.weights.tensors()) {
    const Tensor* other = b.weights.Find(name);
    ASSERT_NE(other, nullptr) << name;
    EXPECT_EQ(tensor.view.format, other->view.format) << name;
    EXPECT_EQ(tensor.view.rows, other->view.rows) << name;
    EXPECT_EQ(tensor.view.cols, other->view.cols) << name;
    EXPECT_EQ(tensor.is_vector, other->is_vector) << name;
    EXPECT_EQ(PlanesText(tensor.view), PlanesText(other->view)) << name;
  }
}

std::string Written(const Model& model, const TemporaryFolder& folder) {
  WriteModelFile(model, folder / "m.edgellm", {});
  return ReadFile(folder / "m.edgellm");
}

Model ReadBack(const std::string& bytes) {
  auto kept = std::make_shared<std::string>(bytes);
  return ReadModelBytes(std::as_bytes(std::span(*kept)), "m.edgellm", kept);
}

class ModelFileFormatTest : public testing::TestWithParam<WeightFormat> {};

TEST_P(ModelFileFormatTest, RoundTrip) {
  const TemporaryFolder folder;
  const Model model = SampleModel(GetParam());
  uint64_t last = 0, total = 0;
  WriteModelFile(model, folder / "m.edgellm", [&](std::string_view, uint64_t done, uint64_t all) {
    EXPECT_LE(last, done);
    last = done;
    total = all;
  });
  EXPECT_EQ(last, total);
  EXPECT_TRUE(IsModelFile(folder / "m.edgellm"));
  ExpectEqual(model, ReadModelFile(folder / "m.edgellm"));
  EXPECT_NO_THROW(VerifyChecksums(folder / "m.edgellm", {}));
}

TEST_P(ModelFileFormatTest, ReadsFromAnyAddress) {
  const TemporaryFolder folder;
  const Model model = SampleModel(GetParam());
  const std::string bytes = Written(model, folder);
  auto shifted = std::make_shared<std::string>("x" + bytes);
  const auto view = std::as_bytes(std::span(*shifted)).subspan(1);
  const Model back = ReadModelBytes(view, "memory", shifted);
  ExpectEqual(model, back);
  for (const auto& [name, tensor] : back.weights.tensors()) {
    const size_t element = tensor.view.format.is_float() ? tensor.view.format.RowBytes(1) : 1;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.view.codes) % element, 0u) << name;
    if (tensor.view.scales != nullptr) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.view.scales) % tensor.view.format.ScaleBytes(), 0u) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllFormats, ModelFileFormatTest,
                         testing::ValuesIn(AllWeightFormats().begin(), AllWeightFormats().end()),
                         [](const auto& instance) {
                           std::string name = instance.param.Name();
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(ModelFileTest, MatricesOfWholeLinesAreAligned) {
  const TemporaryFolder folder;
  ModelConfig config = SampleConfig();
  config.hidden = 64;
  config.head_dim = 16;
  config.ffn = 128;
  WriteModelFile(SampleModel(WeightFormat::Parse("int4-g32"), config), folder / "m.edgellm", {});
  const Model model = ReadModelFile(folder / "m.edgellm");
  for (const auto& [name, tensor] : model.weights.tensors()) {
    if (tensor.is_vector || PlanesText(tensor.view).empty()) continue;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.view.codes) % 64, 0u) << name;
  }
}

TEST(ModelFileTest, OddTextsSurvive) {
  const TemporaryFolder folder;
  Model model = SampleModel({});
  model.chat_template = std::string("\xff\x00 not text", 11);  // stored as bytes
  model.name = "n\xc3\xa9 \"quoted\"\n";
  model.generation = {};
  model.tokenizer_json.clear();
  model.golden.clear();
  ExpectEqual(model, ReadBack(Written(model, folder)));
  model.name = "broken \xff name";
  EXPECT_EQ(ReadBack(Written(model, folder)).name, "broken \xef\xbf\xbd name");
}

TEST(ModelFileTest, WritingIsDeterministic) {
  const TemporaryFolder folder;
  EXPECT_EQ(Written(SampleModel({}), folder), Written(SampleModel({}), folder));
}

TEST(ModelFileTest, RefusesToWriteWhatCannotBeRead) {
  const TemporaryFolder folder;
  Model model = SampleModel({});
  model.config.ffn = 48;
  EXPECT_CONTAINS(ErrorOf([&] { WriteModelFile(model, folder / "m", {}); }, ErrorCode::kCorrupt), "gate_proj");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

/// Any one bit, of data or header, that has changed must be found.
TEST(ModelFileTest, VerifyFindsAnyDamage) {
  const TemporaryFolder folder;
  const std::string good = Written(SampleModel(WeightFormat::Parse("ternary")), folder);
  std::mt19937 generator(1);
  const std::filesystem::path path = folder / "bad.edgellm";
  for (int round = 0; round < 300; ++round) {
    std::string bad = good;
    const size_t place = generator() % bad.size();
    bad[place] = static_cast<char>(bad[place] ^ (1 << generator() % 8));
    WriteText(path, bad);
    const bool found = !SucceedsOrFailsCleanly([&] { VerifyChecksums(path, {}); });
    EXPECT_TRUE(found) << "byte " << place;
  }
}

TEST(ModelFileTest, VerifyNamesTheDamagedTensor) {
  const TemporaryFolder folder;
  std::string bytes = Written(SampleModel({}), folder);
  const auto parsed = ParseSafetensors(std::as_bytes(std::span(bytes)), "m");
  const auto& entry = parsed.tensors.at("model.layers.1.mlp.up_proj.weight");
  bytes[static_cast<size_t>(reinterpret_cast<const char*>(entry.bytes.data()) - bytes.data()) + 5] ^= 1;
  WriteText(folder / "bad.edgellm", bytes);
  EXPECT_NO_THROW(ReadModelFile(folder / "bad.edgellm"));
  EXPECT_CONTAINS(ErrorOf([&] { VerifyChecksums(folder / "bad.edgellm", {}); }, ErrorCode::kCorrupt),
                  "model.layers.1.mlp.up_proj.weight");
}

TEST(ModelFileTest, TheInvalidTernaryCodeIsFound) {
  const TemporaryFolder folder;
  Model model = SampleModel(WeightFormat::Parse("ternary"));
  const WeightView& view = model.weights.Find("lm_head.weight")->view;
  const_cast<std::byte*>(view.codes)[3] |= std::byte{0x30};
  WriteModelFile(model, folder / "m.edgellm", {});
  EXPECT_CONTAINS(ErrorOf([&] { VerifyChecksums(folder / "m.edgellm", {}); }, ErrorCode::kCorrupt), "lm_head.weight");
}

/// The bytes of a file with `from` in its header replaced by `to`, of the same length.
std::string Edited(std::string bytes, std::string_view from, std::string_view to) {
  EXPECT_EQ(from.size(), to.size());
  const size_t place = bytes.find(from);
  EXPECT_NE(place, std::string::npos) << from;
  if (place != std::string::npos) bytes.replace(place, from.size(), to);
  return bytes;
}

TEST(ModelFileTest, ANewerMajorVersionIsRefusedAndANewerMinorRead) {
  const TemporaryFolder folder;
  const std::string good = Written(SampleModel({}), folder);
  const std::string text =
      ErrorOf([&] { ReadBack(Edited(good, R"("edgellm.version":"1.0")", R"("edgellm.version":"2.0")")); },
              ErrorCode::kUnsupported);
  EXPECT_CONTAINS(text, "version 2.0");
  EXPECT_NO_THROW(ReadBack(Edited(good, R"("edgellm.version":"1.0")", R"("edgellm.version":"1.9")")));
  ErrorOf([&] { ReadBack(Edited(good, R"("edgellm.version":"1.0")", R"("edgellm.version":"x.0")")); },
          ErrorCode::kCorrupt);
}

TEST(ModelFileTest, MetadataIsHeldToTheTensors) {
  const TemporaryFolder folder;
  const std::string good = Written(SampleModel(WeightFormat::Parse("int8-g32")), folder);
  const auto refused = [&](std::string_view from, std::string_view to) {
    return ErrorOf([&] { ReadBack(Edited(good, from, to)); });
  };
  EXPECT_CONTAINS(refused(R"(\"hidden\":24)", R"(\"hidden\":25)"), "embed_tokens");
  EXPECT_CONTAINS(refused(R"(\"format\":\"int8-g32\")", R"(\"format\":\"int9-g32\")"), "int9");
  EXPECT_CONTAINS(refused(R"(\"format\":\"int8-g32\")", R"(\"format\":\"int4-g32\")"), "the metadata needs U8");
  EXPECT_CONTAINS(refused(R"(\"name\":\"lm_head.weight\")", R"(\"name\":\"mm_head.weight\")"), "mm_head");
  EXPECT_CONTAINS(refused(R"(\"prompt\":[49])", R"(\"prompt\":[50])"), "token 50");
  EXPECT_CONTAINS(refused(R"("edgellm.golden")", R"("edgellm.goldem")"), "edgellm.golden is missing");
}

TEST(ModelFileTest, DamageIsAnErrorOrHarmless) {
  const TemporaryFolder folder;
  ModelConfig config = SampleConfig();
  config.layers = 1;
  const std::string good = Written(SampleModel(WeightFormat::Parse("int4-g32-z"), config), folder);
  std::mt19937 generator(2);
  for (int round = 0; round < 300; ++round) {
    const std::string cut = good.substr(0, generator() % good.size());
    EXPECT_FALSE(SucceedsOrFailsCleanly([&] { ReadBack(cut); }));
  }
  const size_t header = good.find("  ");  // where the spaces that fill the header's room begin, at the latest
  for (int round = 0; round < 1500; ++round) {
    std::string bad = good;
    for (int flips = 1 + static_cast<int>(generator() % 2); flips > 0; --flips) {
      bad[generator() % std::min(header, bad.size())] = static_cast<char>(generator());
    }
    SucceedsOrFailsCleanly([&] { ReadBack(bad); });
  }
}

TEST(ModelFileTest, OtherFilesAreNotModelFiles) {
  const TemporaryFolder folder;
  WriteText(folder / "empty", "");
  WriteText(folder / "text", "hello, this is no model");
  WriteText(folder / "plain.safetensors", std::string("\x02\0\0\0\0\0\0\0{}", 10));
  EXPECT_FALSE(IsModelFile(folder / "empty"));
  EXPECT_FALSE(IsModelFile(folder / "text"));
  EXPECT_FALSE(IsModelFile(folder / "plain.safetensors"));
  EXPECT_CONTAINS(ErrorOf([&] { ReadModelFile(folder / "plain.safetensors"); }, ErrorCode::kUnsupported),
                  "not an EdgeLLM");
  ErrorOf([&] { ReadModelFile(folder / "absent"); }, ErrorCode::kNotFound);
  ErrorOf([&] { ReadModelFile(folder.path()); }, ErrorCode::kInvalidArgument);
}

TEST(WeightTableTest, BindNamesWhatIsWrong) {
  Model model = SampleModel({});
  const Plan plan = Lower(model.config);
  EXPECT_EQ(model.weights.Bind(plan, "m").size(), plan.weights.size());
  EXPECT_CONTAINS(ErrorOf([&] { WeightTable().Bind(plan, "m"); }, ErrorCode::kCorrupt),
                  "m: tensor model.embed_tokens.weight [50, 24] is missing");
  ModelConfig other = model.config;
  other.vocab = 51;
  EXPECT_CONTAINS(ErrorOf([&] { model.weights.Bind(Lower(other), "m"); }, ErrorCode::kCorrupt),
                  "tensor model.embed_tokens.weight has shape [50, 24], but the model needs [51, 24]");
  ErrorOf([&] { model.weights.Add("lm_head.weight", {}); }, ErrorCode::kCorrupt);
}

TEST(WeightTableTest, MadeTensorsArePlanesOfTheirFormat) {
  for (const WeightFormat& format : AllWeightFormats()) {
    const auto values = RandomValues(3 * 70, 5);
    const Tensor tensor = EncodeTensor(
        format, 3, 70, [&](int64_t row) { return std::span(values).subspan(static_cast<size_t>(row) * 70, 70); });
    EXPECT_EQ(PlanesText(tensor.view).size(), format.TotalBytes(3, 70)) << format.Name();
    std::vector<float> decoded(70);
    DecodeRow(tensor.view, 2, decoded);
    double error = 0;
    for (size_t i = 0; i < 70; ++i) error += std::fabs(static_cast<double>(decoded[i] - values[140 + i])) / 70;
    EXPECT_LT(error, 0.25) << format.Name();  // the roughest, ternary, errs by half a step on average
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.view.codes) % 64, 0u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.view.scales) % 64, 0u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.view.zeros) % 64, 0u);
  }
}

}  // namespace
}  // namespace edgellm
