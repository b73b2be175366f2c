// Models over models: what a Modelfile becomes, what two of them become together, and conversations that begin with
// more than was said.
#include "serve/model_manifest.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "tests/base/temporary_folder.h"

namespace edgellm {
namespace {

namespace fs = std::filesystem;
using Pairs = std::vector<std::pair<std::string, std::string>>;

class ManifestTest : public ::testing::Test {
 protected:
  ManifestTest() {
    fs::create_directories(folder_ / "models");
    WriteText(folder_ / "models" / "base.gguf", "weights");
    WriteText(folder_ / "local.gguf", "weights");
  }
  ModelManifest Resolve(const std::string& text) {
    return ResolveModelfile(ParseModelfile(text, "Modelfile"), store_, folder_.path());
  }

  TemporaryFolder folder_;
  ModelStore store_{folder_ / "models"};
};

TEST_F(ManifestTest, ReadsBackWhatItWrites) {
  ModelManifest manifest;
  manifest.base = "a";
  EXPECT_EQ(ParseManifest(WriteManifest(manifest), "m"), manifest);
  manifest.parameters = {{"stop", "x"}, {"stop", "y"}};
  manifest.chat_template = "";
  manifest.system = "é\n\"";
  manifest.messages = {{"user", "Hi"}};
  manifest.licenses = {"MIT", "other"};
  EXPECT_EQ(ParseManifest(WriteManifest(manifest), "m"), manifest);
  for (const char* text :
       {"", "{}", "[]", R"({"version":2,"base":"a"})", R"({"version":1,"base":1})",
        R"({"version":1,"base":"a","parameters":{}})", R"({"version":1,"base":"a","messages":[1]})"}) {
    EXPECT_THROW(ParseManifest(text, "m"), Error) << text;
  }
}

TEST_F(ManifestTest, FindsItsBase) {
  EXPECT_EQ(Resolve("FROM base:latest").base, "base");
  EXPECT_EQ(Resolve("FROM ./local.gguf").base, fs::weakly_canonical(folder_ / "local.gguf").string());
  EXPECT_THROW(Resolve("FROM ./absent.gguf"), Error);
  StoreManifest(store_, "mine", Resolve("FROM base\nSYSTEM a"));
  EXPECT_EQ(FindModelSource(store_, "mine").weights, folder_ / "models" / "base.gguf");
  EXPECT_THROW(StoreManifest(store_, "base", Resolve("FROM base")), Error);
  store_.Remove("base");
  EXPECT_THROW(FindModelSource(store_, "mine"), Error);
  EXPECT_TRUE(store_.Find("mine"));
}

TEST_F(ManifestTest, TwoBecomeOne) {
  StoreManifest(store_, "first",
                Resolve("FROM base\nPARAMETER top_k 1\nPARAMETER top_p 0.5\nPARAMETER stop a\nSYSTEM old\n"
                        "MESSAGE user Hi\nLICENSE one"));
  const ModelManifest both = Resolve("FROM first\nPARAMETER top_k 2\nPARAMETER stop b\nPARAMETER stop c\nLICENSE two");
  EXPECT_EQ(both.base, "base");
  EXPECT_EQ(both.parameters, (Pairs{{"top_p", "0.5"}, {"top_k", "2"}, {"stop", "b"}, {"stop", "c"}}));
  EXPECT_EQ(both.system, "old");
  EXPECT_EQ(both.messages.size(), 1u);
  EXPECT_EQ(both.licenses, (std::vector<std::string>{"one", "two"}));
}

TEST_F(ManifestTest, SaysOverTheModel) {
  Model model;
  model.config.max_context = 100;
  model.chat_template = "old";
  model.generation.temperature = 1;
  model.generation.stop_strings = {"own"};
  ApplyManifest(
      Resolve("FROM base\nPARAMETER temperature 0.5\nPARAMETER num_ctx 4096\nPARAMETER num_gpu 9\nPARAMETER seed 7\n"
              "PARAMETER stop x\nSYSTEM s\nMESSAGE user Hi"),
      &model);
  EXPECT_EQ(model.generation.temperature, 0.5f);
  EXPECT_EQ(model.generation.context, 100);  // no more than the model can
  EXPECT_EQ(model.generation.seed, 7u);
  EXPECT_EQ(model.generation.stop_strings, (std::vector<std::string>{"own", "x"}));
  EXPECT_EQ(model.chat_template, "old");
  EXPECT_EQ(model.preamble.system, "s");
}

std::string Spoken(const Preamble& preamble, const Pairs& messages) {
  std::vector<ChatMessage> list;
  for (const auto& [role, content] : messages) {
    list.emplace_back();
    list.back().role = role;
    list.back().content = content;
  }
  AddPreamble(preamble, &list);
  std::string text;
  for (const auto& message : list) text += message.role.substr(0, 1) + ":" + message.content + " ";
  return text;
}

TEST(PreambleTest, StandsBeforeConversations) {
  const Preamble preamble{"S", {{"user", "a"}, {"assistant", "b"}}};
  EXPECT_EQ(Spoken(preamble, {{"user", "x"}}), "s:S u:a a:b u:x ");
  EXPECT_EQ(Spoken(preamble, {{"system", "own"}, {"user", "x"}}), "s:own u:a a:b u:x ");
  EXPECT_EQ(Spoken(preamble, {}), "s:S u:a a:b ");
  EXPECT_EQ(Spoken({}, {{"user", "x"}}), "u:x ");
}

}  // namespace
}  // namespace edgellm
