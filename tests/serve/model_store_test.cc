// Names to files: what counts as a name, which of two models is meant, copying and removing.
#include "serve/model_store.h"

#include <chrono>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"

namespace edgellm {
namespace {

namespace fs = std::filesystem;

class ModelStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "edgellm-store-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
  }
  void TearDown() override { fs::remove_all(root_); }

  void Write(const fs::path& path, std::string_view text) {
    fs::create_directories((root_ / path).parent_path());
    FileWriter file(root_ / path);
    file.Write(text);
    file.Commit();
  }
  ModelStore Store() const { return ModelStore(root_ / "models", {root_ / "bundled"}); }

  fs::path root_;
};

TEST(ModelName, Names) {
  for (const char* name : {"demo", "smollm2:int4", "owner/model", "host.com/owner/model:1.5b-q4", "a_b-c.d"}) {
    EXPECT_TRUE(IsModelName(name)) << name;
  }
  for (const char* name :
       {"", ".", "..", "a/", "/a", "a//b", "a/b/c/d", "a:", ":a", "a:b:c", "a b", "../a", "a/../b", "a\n"}) {
    EXPECT_FALSE(IsModelName(name)) << name;
  }
}

TEST_F(ModelStoreTest, ListsFilesFoldersAndBundledModels) {
  Write("models/small.edgellm", "123");
  Write("models/small:int4.edgellm", "1234");
  Write("models/owner/other.gguf", "12");
  Write("models/folder/config.json", "{}");
  Write("models/folder/model.safetensors", "12345");
  Write("models/readme.txt", "no model");
  Write("bundled/demo/demo.edgellm", "1");
  Write("bundled/demo/train.py", "no model");
  Write("bundled/small/small.edgellm", "hidden by the store's own");
  std::vector<std::string> names;
  for (const auto& model : Store().List()) names.push_back(model.name);
  EXPECT_EQ(names, (std::vector<std::string>{"demo", "folder", "owner/other", "small", "small:int4"}));
  EXPECT_EQ(Store().Find("small")->bytes, 3u);
  EXPECT_EQ(Store().Find("folder")->bytes, 7u);
  EXPECT_TRUE(Store().Find("demo")->bundled);
  EXPECT_FALSE(Store().Find("small")->bundled);
}

TEST_F(ModelStoreTest, ResolvesNamesBeforePaths) {
  Write("models/small.edgellm", "123");
  EXPECT_EQ(Store().Resolve("small"), root_ / "models/small.edgellm");
  EXPECT_EQ(Store().Resolve("small:latest"), root_ / "models/small.edgellm");
  const std::string path = (root_ / "models").string();
  EXPECT_EQ(Store().Resolve(path), path);
  try {
    Store().Resolve("absent");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  }
  EXPECT_THROW(Store().Resolve(""), Error);
}

TEST_F(ModelStoreTest, CopiesAndRemoves) {
  Write("somewhere/model.edgellm", "weights");
  Write("somewhere/folder/config.json", "{}");
  const ModelStore store = Store();
  store.Copy((root_ / "somewhere/model.edgellm").string(), "a");
  store.Copy("a", "owner/b:tag");
  EXPECT_EQ(ReadFile(root_ / "models/owner/b:tag.edgellm"), "weights");
  EXPECT_EQ(ShortId(root_ / "models/a.edgellm"), ShortId(root_ / "models/owner/b:tag.edgellm"));
  // A folder takes the place of a file of the same name.
  store.Copy((root_ / "somewhere/folder").string(), "a");
  EXPECT_EQ(store.Resolve("a"), root_ / "models/a");
  EXPECT_FALSE(fs::exists(root_ / "models/a.edgellm"));
  store.Copy("a", "a");
  store.Remove("a");
  store.Remove("owner/b:tag");
  EXPECT_TRUE(store.List().empty());
  EXPECT_THROW(store.Remove("a"), Error);
  EXPECT_THROW(store.Copy("a", "../escape"), Error);
}

TEST_F(ModelStoreTest, BundledModelsStay) {
  Write("bundled/demo/demo.edgellm", "1");
  EXPECT_THROW(Store().Remove("demo"), Error);
  Store().Copy("demo", "demo");
  EXPECT_FALSE(Store().Find("demo")->bundled);
  Store().Remove("demo");
  EXPECT_TRUE(Store().Find("demo")->bundled);
}

TEST_F(ModelStoreTest, HubNamesMeanTheSameWithAndWithoutTheHost) {
  Write("models/owner/model:Q4_K_M.gguf", "123");
  for (const char* name : {"owner/model:Q4_K_M", "hf.co/owner/model:Q4_K_M", "huggingface.co/owner/model:Q4_K_M"}) {
    EXPECT_TRUE(Store().Find(name)) << name;
  }
}

TEST_F(ModelStoreTest, UnfinishedPullsAreNotListed) {
  Write("models/.pull/owner+model/files/model.gguf", "half");
  Write("models/.pull/folder/files/config.json", "{}");
  Write("models/.blobs/x.gguf", "blob");
  EXPECT_TRUE(Store().List().empty());
  Store().Remove("owner/model");
  EXPECT_FALSE(fs::exists(root_ / "models/.pull/owner+model"));
  EXPECT_THROW(Store().Remove("owner/model"), Error);
}

TEST_F(ModelStoreTest, PublishesInOneStep) {
  const ModelStore store = Store();
  Write("models/.pull/1/model.gguf", "first");
  store.Publish(root_ / "models/.pull/1/model.gguf", "owner/model");
  EXPECT_EQ(ReadFile(store.Resolve("owner/model")), "first");
  // A folder in place of the file, then another folder in place of that.
  for (const char* content : {"{\"a\": 1}", "{\"b\": 2}"}) {
    Write("models/.pull/2/files/config.json", content);
    store.Publish(root_ / "models/.pull/2/files", "owner/model");
    EXPECT_EQ(ReadFile(store.Resolve("owner/model") / "config.json"), content);
    EXPECT_FALSE(fs::exists(root_ / "models/owner/model.gguf"));
    EXPECT_FALSE(fs::exists(root_ / "models/.pull/2/files"));
  }
  EXPECT_EQ(store.List().size(), 1u);
}

TEST_F(ModelStoreTest, PublishingHidesNoOtherModels) {
  const ModelStore store = Store();
  Write("models/owner/model.gguf", "1");
  Write("models/folder/config.json", "{}");
  Write("models/.pull/1/config.json", "{}");
  EXPECT_THROW(store.Publish(root_ / "models/.pull/1", "owner"), Error);
  EXPECT_THROW(store.Publish(root_ / "models/.pull/1", "folder/inside"), Error);
  EXPECT_THROW(store.Publish(root_ / "models/.pull/1", "../outside"), Error);
  EXPECT_EQ(store.List().size(), 2u);
}

TEST_F(ModelStoreTest, PartsOfASplitModelAreOneModel) {
  const ModelStore store = Store();
  // As `pull` leaves them: a folder of their own.
  Write("models/.pull/1/files/m-00001-of-00002.gguf", "one");
  Write("models/.pull/1/files/m-00002-of-00002.gguf", "two!");
  store.Publish(root_ / "models/.pull/1/files", "owner/split:Q8_0");
  // As somebody may put them there: beside other models.
  Write("models/owner/loose-00001-of-00002.gguf", "1");
  Write("models/owner/loose-00002-of-00002.gguf", "22");
  Write("models/owner/other.gguf", "333");
  std::vector<std::string> names;
  for (const auto& model : store.List()) names.push_back(model.name);
  EXPECT_EQ(names, (std::vector<std::string>{"owner/loose", "owner/other", "owner/split:Q8_0"}));
  EXPECT_EQ(store.Find("owner/split:Q8_0")->bytes, 7u);
  EXPECT_EQ(store.Find("owner/loose")->bytes, 3u);
  EXPECT_EQ(FilesOf(store.Resolve("owner/loose")).size(), 2u);
  EXPECT_THROW(store.Publish(root_ / "models/owner/split:Q8_0", "owner/split:Q8_0/inside"), Error);
}

TEST_F(ModelStoreTest, PartsOfASplitModelGoTogether) {
  const ModelStore store = Store();
  Write("models/loose-00001-of-00002.gguf", "1");
  Write("models/loose-00002-of-00002.gguf", "22");
  store.Copy("loose", "copy");
  EXPECT_EQ(FilesOf(store.Resolve("copy")).size(), 2u);
  EXPECT_EQ(ReadFile(store.Resolve("copy") / "loose-00002-of-00002.gguf"), "22");
  store.Copy("copy", "copy2");
  EXPECT_EQ(store.Find("copy2")->bytes, 3u);
  store.Remove("loose");
  EXPECT_FALSE(fs::exists(root_ / "models/loose-00002-of-00002.gguf"));
  store.Remove("copy");
  EXPECT_FALSE(fs::exists(root_ / "models/copy"));
  // Another form of the model takes the place of all parts.
  Write("models/loose-00001-of-00002.gguf", "1");
  Write("models/loose-00002-of-00002.gguf", "22");
  Write("models/.pull/1/model.gguf", "whole");
  store.Publish(root_ / "models/.pull/1/model.gguf", "loose");
  EXPECT_EQ(ReadFile(store.Resolve("loose")), "whole");
  EXPECT_FALSE(fs::exists(root_ / "models/loose-00001-of-00002.gguf"));
  EXPECT_FALSE(fs::exists(root_ / "models/loose-00002-of-00002.gguf"));
}

TEST_F(ModelStoreTest, OfTwoFormsTheNewerCounts) {
  Write("models/a.edgellm", "old");
  Write("models/a.gguf", "new");
  fs::last_write_time(root_ / "models/a.edgellm", fs::file_time_type::clock::now() - std::chrono::hours(1));
  EXPECT_EQ(Store().Find("a")->path.extension(), ".gguf");
  fs::last_write_time(root_ / "models/a.gguf", fs::file_time_type::clock::now() - std::chrono::hours(2));
  EXPECT_EQ(Store().Find("a")->path.extension(), ".edgellm");
}

}  // namespace
}  // namespace edgellm
