// What hubs answer: lists, digests, ranges; and what a hostile one may send.
#include "hub/hub_answer.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "hub/file_choice.h"

namespace edgellm {
namespace {

const std::string kSha256(64, 'a');
const std::string kBlob(40, 'b');

TEST(HubAnswer, ReadsAListing) {
  const HubListing listing = ParseHubListing(
      R"({"id":"o/m","sha":"0123abc","private":false,"gated":"auto","siblings":[
        {"rfilename":"config.json","size":12,"blobId":")" +
          kBlob + R"("},
        {"rfilename":"sub/model.gguf","size":130,"blobId":"x","lfs":{"sha256":")" +
          kSha256 + R"(","size":99,"pointerSize":130}},
        {"rfilename":"README.md"},{"rfilename":"README.md"}]})",
      "o/m");
  EXPECT_EQ(listing.commit, "0123abc");
  ASSERT_EQ(listing.files.size(), 3u);
  EXPECT_EQ(listing.files[0], (HubFile{"config.json", 12, {FileDigest::Kind::kGitBlob, kBlob}}));
  EXPECT_EQ(listing.files[1], (HubFile{"sub/model.gguf", 99, {FileDigest::Kind::kSha256, kSha256}}));
  EXPECT_EQ(listing.files[2], (HubFile{"README.md", std::nullopt, {}}));
}

TEST(HubAnswer, RefusesWhatIsNone) {
  for (const std::string text :
       {"", "[]", "{", "{}", R"({"sha":"../..","siblings":[]})", R"({"siblings":[1]})", R"({"siblings":[{}]})",
        R"({"siblings":[{"rfilename":"../../etc/passwd"}]})", R"({"siblings":[{"rfilename":"/etc/passwd"}]})",
        R"({"siblings":[{"rfilename":"a\\b"}]})", R"({"siblings":[{"rfilename":"a\nb"}]})",
        R"({"siblings":[{"rfilename":"a//b"}]})", R"({"siblings":[{"rfilename":"a/"}]})"}) {
    EXPECT_THROW(ParseHubListing(text, "o/m"), Error) << text;
  }
  EXPECT_THROW(ParseHubListing(R"({"siblings":)" + std::string(100'000, '['), "o/m"), Error);
}

TEST(HubAnswer, ReadsAnIndex) {
  EXPECT_EQ(ParseWeightIndex(
                R"({"metadata":{},"weight_map":{"a":"2.safetensors","b":"1.safetensors","c":"1.safetensors"}})", "i"),
            (std::vector<std::string>{"1.safetensors", "2.safetensors"}));
  for (const char* text :
       {"{}", R"({"weight_map":{}})", R"({"weight_map":{"a":1}})", R"({"weight_map":{"a":"../x"}})"}) {
    EXPECT_THROW(ParseWeightIndex(text, "i"), Error) << text;
  }
}

TEST(HubAnswer, ReadsDigests) {
  EXPECT_EQ(ParseDigest("\"" + kSha256 + "\"").hex, kSha256);
  EXPECT_EQ(ParseDigest("W/\"" + kBlob + "\"").kind, FileDigest::Kind::kGitBlob);
  EXPECT_EQ(ParseDigest("sha256:" + std::string(64, 'A')).hex, kSha256);
  for (const char* text : {"", "\"\"", "abc", "\"5f-1234\""})
    EXPECT_EQ(ParseDigest(text).kind, FileDigest::Kind::kNone) << text;
}

TEST(HubAnswer, ReadsContentRanges) {
  EXPECT_EQ(ParseContentRange("bytes 10-19/100")->begin, 10u);
  EXPECT_EQ(ParseContentRange("bytes 10-19/100")->end, 20u);
  EXPECT_EQ(ParseContentRange("bytes 10-19/100")->total, 100u);
  EXPECT_FALSE(ParseContentRange("bytes 10-19/*")->total);
  for (const char* text : {"", "bytes", "bytes */100", "bytes 9-8/100", "bytes 0-99/50", "bytes 0-9/100x",
                           "items 0-9/100", "bytes -1-9/100", "bytes 0-18446744073709551615/*"}) {
    EXPECT_FALSE(ParseContentRange(text)) << text;
  }
}

TEST(HubAnswer, TellsWhatToDo) {
  EXPECT_NE(ExplainRefusal(401, "GatedRepo", "", "o/m", false).find("HF_TOKEN"), std::string::npos);
  EXPECT_NE(ExplainRefusal(403, "GatedRepo", "", "o/m", true).find("ask for it"), std::string::npos);
  EXPECT_NE(ExplainRefusal(404, "RevisionNotFound", "", "o/m", true).find("revision"), std::string::npos);
  EXPECT_EQ(ExplainRefusal(401, "", "a\nb", "o/m", false).find('\n'), std::string::npos);
}

std::vector<std::string> Chosen(const std::vector<std::string>& paths, std::string_view choice) {
  std::vector<HubFile> files;
  for (const auto& path : paths) files.push_back({path, 1, {}});
  std::vector<std::string> chosen;
  for (const auto& file : ChooseFiles(files, choice, "o/m").files) chosen.push_back(file.path);
  return chosen;
}
using Names = std::vector<std::string>;

TEST(FileChoice, PrefersTheSmallerGoodFormats) {
  const Names ggufs = {"m-Q2_K.gguf", "m-Q4_0.gguf",       "m-Q4_K_M.gguf",
                       "m-Q8_0.gguf", "mmproj-m-F16.gguf", "m.imatrix.gguf"};
  EXPECT_EQ(Chosen(ggufs, ""), Names{"m-Q4_K_M.gguf"});
  EXPECT_EQ(Chosen(ggufs, "latest"), Names{"m-Q4_K_M.gguf"});
  EXPECT_EQ(Chosen(ggufs, "q8_0"), Names{"m-Q8_0.gguf"});
  EXPECT_EQ(Chosen(ggufs, "Q2_K"), Names{"m-Q2_K.gguf"});
  EXPECT_EQ(Chosen(ggufs, "m-Q4_0.gguf"), Names{"m-Q4_0.gguf"});
  EXPECT_THROW(Chosen(ggufs, "Q5_K_M"), Error);
  EXPECT_THROW(Chosen(ggufs, "0"), Error);  // part of a name, but none of its parts
  EXPECT_EQ(Chosen({"m.Q8_0.gguf", "m.f16.gguf"}, ""), Names{"m.Q8_0.gguf"});
  EXPECT_EQ(Chosen({"ggml-model.gguf"}, ""), Names{"ggml-model.gguf"});
  EXPECT_EQ(Chosen({"m-UD-Q4_K_XL.gguf", "m-Q4_K_XL.gguf"}, "Q4_K_XL"), Names{"m-Q4_K_XL.gguf"});
  EXPECT_EQ(Chosen({"m-UD-Q4_K_XL.gguf", "m-Q4_K_XL.gguf"}, "UD-Q4_K_XL"), Names{"m-UD-Q4_K_XL.gguf"});
  EXPECT_EQ(Chosen({"m.edgellm", "m-Q4_K_M.gguf"}, ""), Names{"m.edgellm"});
}

TEST(FileChoice, TakesAllPartsOrNone) {
  const Names parts = {"Q8_0/m-Q8_0-00001-of-00002.gguf", "Q8_0/m-Q8_0-00002-of-00002.gguf"};
  EXPECT_EQ(Chosen(parts, "Q8_0"), parts);
  EXPECT_EQ(Chosen(parts, ""), parts);
  EXPECT_EQ(Chosen(parts, parts[0]), parts);
  EXPECT_THROW(Chosen({parts[1]}, "Q8_0"), Error);
}

TEST(FileChoice, TakesWhatACheckpointConsistsOf) {
  const Names sharded = {"README.md",
                         "config.json",
                         "tokenizer.json",
                         "model-00001-of-00002.safetensors",
                         "model-00002-of-00002.safetensors",
                         "model.safetensors.index.json",
                         "consolidated.safetensors",
                         "onnx/model.onnx",
                         "original/model.safetensors",
                         "adapter_model.safetensors",
                         "flax_model.msgpack"};
  EXPECT_EQ(Chosen(sharded, ""), (Names{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                                        "config.json", "tokenizer.json", "model.safetensors.index.json"}));
  EXPECT_EQ(Chosen({"config.json", "model.safetensors", "other.safetensors"}, "safetensors"),
            (Names{"model.safetensors", "config.json"}));
  EXPECT_EQ(Chosen({"config.json", "model.safetensors", "m-Q4_0.gguf"}, ""), Names{"m-Q4_0.gguf"});
  EXPECT_EQ(Chosen({"config.json", "model.safetensors", "m-Q2_K.gguf"}, ""),
            (Names{"model.safetensors", "config.json"}));
  EXPECT_THROW(Chosen({"model.safetensors"}, ""), Error);
  EXPECT_THROW(Chosen({"config.json", "pytorch_model.bin"}, ""), Error);
  EXPECT_THROW(Chosen({"config.json", "model.safetensors"}, "config.json"), Error);
  EXPECT_THROW(Chosen({}, ""), Error);
}

}  // namespace
}  // namespace edgellm
