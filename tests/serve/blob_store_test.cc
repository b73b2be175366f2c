// Blobs and the weights made of them: what is taken, what manifests refer to, and what is cleaned up when.
#include "serve/blob_store.h"

#include <fstream>

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/sha256.h"
#include "serve/create_model.h"
#include "serve/model_manifest.h"
#include "tests/base/temporary_folder.h"
#include "tests/convert/gguf_samples.h"

namespace edgellm {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

std::string DigestOf(const std::string& bytes) {
  return "sha256:" + Sha256Hex(std::as_bytes(std::span(bytes)));
}

class BlobStoreTest : public ::testing::Test {
 protected:
  /// Uploads `bytes`, and tells their digest.
  std::string Send(const std::string& bytes) {
    fs::create_directories(store_.WorkFolder());
    WriteText(store_.WorkFolder() / ".upload-1", bytes);
    blobs_.Take(store_.WorkFolder() / ".upload-1", DigestOf(bytes));
    EXPECT_FALSE(fs::exists(store_.WorkFolder() / ".upload-1"));  // moved
    return DigestOf(bytes);
  }
  void Create(CreateOptions options) {
    said_.clear();
    CreateModel(store_, options, [this](const std::string& status) { said_.push_back(status); });
  }
  /// Entries of .blobs that begin so.
  size_t Count(std::string_view start) const {
    size_t count = 0;
    if (!fs::exists(root_ / "models/.blobs")) return 0;
    for (const auto& entry : fs::directory_iterator(root_ / "models/.blobs")) {
      if (entry.path().filename().string().starts_with(start)) ++count;
    }
    return count;
  }
  static void Age(const fs::path& path, seconds age) {
    fs::last_write_time(path, fs::file_time_type::clock::now() - age);
  }

  TemporaryFolder root_;
  ModelStore store_{root_ / "models"};
  BlobStore blobs_{store_};
  std::vector<std::string> said_;
  const std::string gguf_ = TextOf(SampleGguf(SampleConfig()));
};

TEST_F(BlobStoreTest, TakesWhatHasTheDigest) {
  const std::string digest = DigestOf("abc");
  EXPECT_FALSE(blobs_.Has(digest));
  EXPECT_EQ(Send("abc"), digest);
  EXPECT_TRUE(blobs_.Has(digest));
  Send("abc");  // once more
  WriteText(root_ / "other", "abd");
  EXPECT_CONTAINS(ErrorOf([&] { blobs_.Take(root_ / "other", digest); }, ErrorCode::kInvalidArgument), "mismatch");
  EXPECT_EQ(Count("sha256-"), 1u);
}

TEST_F(BlobStoreTest, FilesAndSettingsAreOneModel) {
  CreateOptions options{.name = "mine", .files = {{"anything.gguf", Send(gguf_)}}};
  options.modelfile.system = "Be brief.";
  options.modelfile.parameters = {{"temperature", "0.5"}, {"stop", "x"}};
  options.modelfile.messages = {{"user", "Hi"}};
  options.modelfile.licenses = {"MIT"};
  options.modelfile.chat_template = "{{ messages[0].content }}!";
  Create(options);
  const Model model = LoadModelSource(FindModelSource(store_, "mine"));
  EXPECT_EQ(model.config, SampleConfig());
  EXPECT_EQ(model.preamble.system, "Be brief.");
  EXPECT_EQ(model.generation.temperature, 0.5f);
  EXPECT_EQ(model.chat_template, "{{ messages[0].content }}!");
  EXPECT_EQ(store_.List().size(), 1u);  // the weights are no model of their own
  // Over it, copied, and the first one removed: the weights stay as long as somebody needs them.
  Create({.name = "yours", .modelfile = {.from = "mine", .system = "Be long."}});
  store_.Copy("yours", "third");
  for (const char* name : {"mine", "yours"}) {
    store_.Remove(name);
    blobs_.Clean();
    EXPECT_EQ(Count("weights-"), 1u) << name;
  }
  EXPECT_EQ(LoadModelSource(FindModelSource(store_, "third")).preamble.system, "Be long.");
  store_.Remove("third");
  blobs_.Clean();
  EXPECT_EQ(Count("weights-"), 0u);
}

TEST_F(BlobStoreTest, FilesAloneAreAModelAsItIs) {
  Create({.name = "plain", .files = {{"a.gguf", Send(gguf_)}}});
  EXPECT_EQ(store_.Find("plain")->path, root_ / "models/plain.gguf");
  EXPECT_EQ(ReadFile(root_ / "models/plain.gguf"), gguf_);
  EXPECT_EQ(Count("weights-"), 0u);
  const auto parts = SampleGgufParts(SampleConfig(), 2);
  Create({.name = "split",
          .files = {{"m-00002-of-00002.gguf", Send(TextOf(parts[1]))},
                    {"m-00001-of-00002.gguf", Send(TextOf(parts[0]))}}});
  EXPECT_EQ(LoadModelSource(FindModelSource(store_, "split")).config, SampleConfig());
  CreateOptions options{.name = "with",
                        .files = {{"m-00002-of-00002.gguf", DigestOf(TextOf(parts[1]))},
                                  {"m-00001-of-00002.gguf", DigestOf(TextOf(parts[0]))}}};
  options.modelfile.system = "x";
  Create(options);
  EXPECT_EQ(LoadModelSource(FindModelSource(store_, "with")).preamble.system, "x");
}

TEST_F(BlobStoreTest, Quantises) {
  ModelConfig config = WideConfig();
  const std::string wide = TextOf(SampleGguf(config));
  CreateOptions options{.name = "small", .files = {{"a.gguf", Send(wide)}}, .quantize = "q8_0"};
  Create(options);
  EXPECT_EQ(said_.front(), "quantizing F32 model to int8-g32");
  EXPECT_EQ(store_.Find("small")->path, root_ / "models/small.edgellm");
  const Model small = LoadModelSource(FindModelSource(store_, "small"));
  EXPECT_EQ(small.weights.tensors().at("model.layers.0.mlp.up_proj.weight").view.format,
            WeightFormat::Parse("int8-g32"));
  options.name = "terse";
  options.quantize = "Q4_K_M";
  options.modelfile.system = "Be brief.";
  Create(options);
  const Model terse = LoadModelSource(FindModelSource(store_, "terse"));
  EXPECT_EQ(terse.preamble.system, "Be brief.");
  EXPECT_EQ(terse.weights.tensors().at("model.layers.0.mlp.up_proj.weight").view.format,
            WeightFormat::Parse("int4-g32"));
  // From a model of the store: its settings stay.
  options.name = "float";
  options.quantize.clear();
  Create(options);
  Create({.name = "again", .modelfile = {.from = "float", .parameters = {{"seed", "3"}}}, .quantize = "int4-g64"});
  const Model again = LoadModelSource(FindModelSource(store_, "again"));
  EXPECT_EQ(again.preamble.system, "Be brief.");
  EXPECT_EQ(again.generation.seed, 3u);
  EXPECT_EQ(again.weights.tensors().at("model.layers.0.mlp.up_proj.weight").view.format,
            WeightFormat::Parse("int4-g64"));
}

TEST_F(BlobStoreTest, RefusesWhatMakesNoModel) {
  const auto refused = [&](CreateOptions options) {
    options.name = "new";
    const std::string text = ErrorOf([&] { Create(options); });
    EXPECT_TRUE(store_.List().empty());
    blobs_.Clean();
    EXPECT_EQ(Count("weights-"), 0u);
    EXPECT_EQ(Count("making-"), 0u);
    return text;
  };
  EXPECT_CONTAINS(refused({.files = {{"a.gguf", DigestOf("never sent")}}}), "send it first");
  const std::string digest = Send(gguf_), junk = Send("GGUF junk"), text = Send("no model");
  EXPECT_CONTAINS(refused({.files = {{"../a.gguf", digest}, {"b", junk}}}), "cannot be a file's name");
  EXPECT_CONTAINS(refused({.files = {{"a.gguf", junk}}}), "model.gguf");
  refused({.files = {{"a.gguf", text}}});
  refused({.files = {{"a.txt", text}, {"b.txt", junk}}});
  EXPECT_CONTAINS(refused({.files = {{"a.gguf", digest}}, .quantize = "q2_k"}), "q2_k");
  CreateOptions settings{.files = {{"a.gguf", digest}}};
  settings.modelfile.parameters = {{"top_q", "1"}};
  EXPECT_CONTAINS(refused(settings), "top_q");
  const std::string quantised = TextOf(SampleGguf(WideConfig(), {.matrices = GgufTensorType::kQ8_0}));
  EXPECT_CONTAINS(refused({.files = {{"a.gguf", Send(quantised)}}, .quantize = "q4_0"}), "quantised already");
}

TEST_F(BlobStoreTest, CleansWhatIsOldAndUnused) {
  const fs::path folder = root_ / "models/.blobs";
  const std::string old = Send("old"), asked = Send("asked"), fresh = Send("fresh");
  const auto path = [&](const std::string& digest) { return folder / ("sha256-" + digest.substr(7)); };
  Age(path(old), BlobStore::kKept + seconds(60));
  Age(path(asked), BlobStore::kKept + seconds(60));
  EXPECT_TRUE(blobs_.Has(asked));  // somebody is about to use it
  fs::create_directories(folder / "making-abc");
  WriteText(store_.WorkFolder() / ".upload-cut", "half");
  WriteText(store_.WorkFolder() / ".upload-running", "half");
  fs::create_directories(store_.WorkFolder() / "create-abc");
  fs::create_directories(store_.WorkFolder() / "owner+model");
  for (const char* name : {".upload-cut", "create-abc", "owner+model"}) {
    Age(store_.WorkFolder() / name, BlobStore::kKept + seconds(60));
  }
  blobs_.Clean();
  EXPECT_FALSE(blobs_.Has(old));
  EXPECT_TRUE(blobs_.Has(asked));
  EXPECT_TRUE(blobs_.Has(fresh));
  EXPECT_FALSE(fs::exists(folder / "making-abc"));
  EXPECT_FALSE(fs::exists(store_.WorkFolder() / ".upload-cut"));
  EXPECT_FALSE(fs::exists(store_.WorkFolder() / "create-abc"));
  EXPECT_TRUE(fs::exists(store_.WorkFolder() / ".upload-running"));
  EXPECT_TRUE(fs::exists(store_.WorkFolder() / "owner+model"));  // an unfinished pull
}

TEST_F(BlobStoreTest, NothingGoesWhileSomebodyHoldsOrAManifestIsUnreadable) {
  const std::string reference = blobs_.Make("model.gguf", [&](const fs::path& file) { WriteText(file, gguf_); });
  EXPECT_TRUE(BlobStore::IsReference(reference));
  {
    const BlobStore::Hold hold(blobs_);
    blobs_.Clean();
    EXPECT_EQ(Count("weights-"), 1u);
  }
  fs::create_directories(root_ / "models/owner");
  WriteText(root_ / "models/owner/broken.model.json", "{");
  blobs_.Clean();
  EXPECT_EQ(Count("weights-"), 1u);
  fs::remove(root_ / "models/owner/broken.model.json");
  ModelManifest manifest;
  manifest.base = reference;
  StoreManifest(store_, "owner/mine", manifest);
  blobs_.Clean();
  EXPECT_EQ(Count("weights-"), 1u);
  fs::remove(root_ / "models/owner/mine.model.json");
  blobs_.Clean();
  EXPECT_EQ(Count("weights-"), 0u);
}

TEST(BlobReference, StaysInsideTheStore) {
  EXPECT_TRUE(BlobStore::IsReference(".blobs/weights-0123/model.gguf"));
  for (const char* text :
       {"", "demo", "/etc/passwd", ".blobs/sha256-0123", ".blobs/weights-/../../x", "x/.blobs/weights-1"}) {
    EXPECT_FALSE(BlobStore::IsReference(text)) << text;
  }
}

}  // namespace
}  // namespace edgellm
