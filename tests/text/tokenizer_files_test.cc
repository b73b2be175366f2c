// The readers: small files of every kind, and files that are damaged, contradictory, or not for us.
#include <cmath>
#include <fstream>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "tests/text/small_tokenizers.h"
#include "text/tokenizer.h"
#include "text/vocabulary_data.h"

namespace edgellm::text {
namespace {

using nlohmann::json;
using Ids = std::vector<TokenId>;

/// A folder of its own for each test, gone afterwards.
class TokenizerFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              fmt::format("edgellm_{}_{}", testing::UnitTest::GetInstance()->current_test_info()->name(), getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path Write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }
  std::filesystem::path folder_;
};

template <typename Make>
void ExpectError(ErrorCode code, const std::string& part, const Make& make) {
  try {
    make();
    ADD_FAILURE() << "no error; expected: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

void ExpectJsonError(ErrorCode code, const std::string& part, const json& document) {
  ExpectError(code, part, [&] { Tokenizer::FromJson(document.dump(), "a.json"); });
  ExpectError(code, "a.json", [&] { Tokenizer::FromJson(document.dump(), "a.json"); });
}

TEST_F(TokenizerFiles, SentencePiece) {
  const SmallPieces pieces("\u2581");
  const Tokenizer tokenizer = Tokenizer::FromPath(Write("tokenizer.model", SentencePieceBytes(pieces)));
  const TokenId hello = 3 + 256 + 4, wor = hello + 3, ld = wor + 1;
  EXPECT_EQ(tokenizer.Encode("hello world"), (Ids{1, hello, wor, ld}));
  EXPECT_EQ(tokenizer.Encode(""), Ids{1});
  EXPECT_EQ(tokenizer.Encode("z", {.add_special = false}), (Ids{hello + 5, 3 + 'z'})) << "byte fallback";
  EXPECT_EQ(tokenizer.Encode("</s>", {.add_special = false}), Ids{2});
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(" hello  w\u00e9\u00e8 ")), " hello  w\u00e9\u00e8 ");
  EXPECT_EQ(tokenizer.bos(), 1);
  EXPECT_EQ(tokenizer.eos(), 2);
  EXPECT_TRUE(tokenizer.adds_bos());
  EXPECT_TRUE(tokenizer.strips_leading_space());
  EXPECT_EQ(tokenizer.TokenBytes(hello, false), " hello");
  EXPECT_EQ(tokenizer.Find("\u2581hello"), hello);
}

TEST_F(TokenizerFiles, SentencePieceNormalizerFlags) {
  const SmallPieces pieces("\u2581");
  const Tokenizer plain = Tokenizer::FromPath(Write("tokenizer.model", SentencePieceBytes(pieces, 2, false, false)));
  EXPECT_FALSE(plain.strips_leading_space());
  EXPECT_EQ(plain.Decode(plain.Encode(" hello")), " hello");
  const Tokenizer squeezing = Tokenizer::FromPath(Write("tokenizer.model", SentencePieceBytes(pieces, 2, true, true)));
  EXPECT_EQ(squeezing.Encode("  hello   world  "), squeezing.Encode("hello world"));
  EXPECT_EQ(squeezing.Decode(squeezing.Encode(" h  \n ")), "h \n")
      << "spaces alone are squeezed, and not at lines' ends";
  const std::string run = "h" + std::string(1'000'000, ' ') + "o" + std::string(1'000'000, ' ');
  EXPECT_EQ(squeezing.Encode(run), squeezing.Encode("h o")) << "in linear time";
}

TEST_F(TokenizerFiles, SentencePieceUserDefinedPieces) {
  SmallPieces pieces("\u2581");
  pieces.Add("\u2581\u2581", 0, 4);
  const auto marks = static_cast<TokenId>(pieces.texts.size()) - 1;
  const Tokenizer tokenizer = Tokenizer::FromPath(Write("tokenizer.model", SentencePieceBytes(pieces)));
  EXPECT_EQ(tokenizer.Encode(" h", {.add_special = false})[0], marks) << "the added space counts";
  const Tokenizer again = Tokenizer::FromJson(tokenizer.ToJson(), "again");
  EXPECT_EQ(again.Encode("  h  o"), tokenizer.Encode("  h  o"));
}

TEST_F(TokenizerFiles, SentencePieceOfOtherKinds) {
  const SmallPieces pieces("\u2581");
  ExpectError(ErrorCode::kUnsupported, "Unigram",
              [&] { Tokenizer::FromPath(Write("tokenizer.model", SentencePieceBytes(pieces, 1))); });
  const std::string whole = SentencePieceBytes(pieces);
  for (size_t length = 0; length + 1 < whole.size(); length += 41) {
    EXPECT_THROW(Tokenizer::FromPath(Write("tokenizer.model", whole.substr(0, length))), Error) << length;
  }
}

TEST_F(TokenizerFiles, Llama2c) {
  const Tokenizer tokenizer = Tokenizer::FromPath(Write("tok.bin", Llama2cBytes(SmallPieces(" "))));
  const TokenId hello = 3 + 256 + 4, wor = hello + 3, ld = wor + 1;
  EXPECT_EQ(tokenizer.Encode("hello world"), (Ids{1, hello, wor, ld}));
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode("hello\n")), "hello\n");
  const Tokenizer again = Tokenizer::FromJson(tokenizer.ToJson(), "again");
  EXPECT_EQ(again.Encode("hello world\x01"), tokenizer.Encode("hello world\x01"));
  const std::string whole = Llama2cBytes(SmallPieces(" "));
  ExpectError(ErrorCode::kCorrupt, "tok.bin", [&] { Tokenizer::FromPath(Write("tok.bin", whole.substr(0, 3000))); });
  ExpectError(ErrorCode::kCorrupt, "length", [&] {
    Tokenizer::FromPath(Write("tok.bin", whole.substr(0, 8) + std::string("\xff\xff\xff\x7f", 4) + whole.substr(12)));
  });
}

TEST_F(TokenizerFiles, Tiktoken) {
  // "a" 0, "b" 1, "ab" 2, "abab" 3
  const std::string ranks = "YQ== 0\nYg== 1\nYWI= 2\r\nYWJhYg== 3\n";
  const Tokenizer tokenizer = Tokenizer::FromPath(Write("tokenizer.model", ranks));
  EXPECT_EQ(tokenizer.Encode("ababa"), (Ids{3, 0}));
  EXPECT_EQ(tokenizer.Encode("abab"), Ids{3});
  Write("tokenizer_config.json",
        R"({"bos_token":"<b>","added_tokens_decoder":{"7":{"content":"<b>","special":true},"8":{"content":"<c>"}}})");
  const Tokenizer with_config = Tokenizer::FromPath(folder_);
  EXPECT_EQ(with_config.Encode("ab<c>"), (Ids{7, 2, 8}));
  EXPECT_EQ(with_config.bos(), 7);
  EXPECT_EQ(Tokenizer::FromJson(with_config.ToJson(), "again").Encode("ab<c>"), (Ids{7, 2, 8}));
  ExpectError(ErrorCode::kCorrupt, "line 2", [&] { Tokenizer::FromPath(Write("tokenizer.model", "YQ== 0\nYg=1\n")); });
  ExpectError(ErrorCode::kCorrupt, "twice", [&] { Tokenizer::FromPath(Write("tokenizer.model", "YQ== 0\nYg== 0\n")); });
  ExpectError(ErrorCode::kCorrupt, "absurd",
              [&] { Tokenizer::FromPath(Write("tokenizer.model", "YQ== 0\nYg== 999999999\n")); });
}

TEST_F(TokenizerFiles, VocabularyAndMerges) {
  const json model = SmallByteLevelJson()["model"];
  Write("vocab.json", model["vocab"].dump());
  std::string merges = "#version: 0.2\n";
  for (const json& merge : model["merges"]) merges += merge.get<std::string>() + "\n";
  Write("merges.txt", merges);
  EXPECT_EQ(Tokenizer::FromPath(folder_).Encode("hello world"), (Ids{259, 262, 'l', 'd'}));
  Write("tokenizer_config.json", R"({"tokenizer_class":"Qwen2Tokenizer","eos_token":{"content":"<e>"},
    "added_tokens_decoder":{"300":{"content":"<e>","special":true}}})");
  const Tokenizer qwen = Tokenizer::FromPath(folder_);
  EXPECT_EQ(qwen.eos(), 300);
  EXPECT_EQ(qwen.Encode("e\u0301<e>"), (Ids{0xc3, 0xa9, 300})) << "NFC";
  Write("tokenizer_config.json", R"({"tokenizer_class":"MysteryTokenizer"})");
  ExpectError(ErrorCode::kUnsupported, "MysteryTokenizer", [&] { Tokenizer::FromPath(folder_); });
  Write("tokenizer_config.json", "{}");
  Write("merges.txt", merges + "x nowhere\n");
  ExpectError(ErrorCode::kCorrupt, "nowhere", [&] { Tokenizer::FromPath(folder_); });
}

TEST_F(TokenizerFiles, NothingThere) {
  ExpectError(ErrorCode::kNotFound, folder_.string(), [&] { Tokenizer::FromPath(folder_); });
  ExpectError(ErrorCode::kNotFound, "missing.json", [&] { Tokenizer::FromPath(folder_ / "missing.json"); });
}

TEST(TokenizerJson, ContradictionsAreErrors) {
  const auto changed = [](const auto& change) {
    json document = SmallByteLevelJson();
    change(document);
    return document;
  };
  const auto vocabulary_error = [&](const char* part, const char* token, const json& id) {
    ExpectJsonError(ErrorCode::kCorrupt, part, changed([&](json& d) { d["model"]["vocab"][token] = id; }));
  };
  vocabulary_error("two tokens", "new", 5);
  vocabulary_error("absurd id -1", "new", -1);
  vocabulary_error("absurd id", "new", uint64_t{1} << 63);
  vocabulary_error("absurd id 1048576", "new", 1 << 20);
  vocabulary_error("wrong type", "new", "text");
  vocabulary_error("wrong type", "new", 1.5);
  for (const json& merge : {json("l"), json("l l l"), json(" l"), json(""), json({"l"}), json({"a", "b", "c"}), json(7),
                            json("no where"), json(json::object())}) {
    ExpectJsonError(ErrorCode::kCorrupt, "merge", changed([&](json& d) { d["model"]["merges"].push_back(merge); }));
  }
  const auto added_error = [&](const char* part, const json& token) {
    ExpectJsonError(ErrorCode::kCorrupt, part, changed([&](json& d) { d["added_tokens"].push_back(token); }));
  };
  added_error("empty", {{"id", 300}, {"content", ""}});
  added_error("another id", {{"id", 300}, {"content", "hello"}});
  added_error("listed twice", {{"id", 301}, {"content", "<|end|>"}});
  added_error("both", {{"id", 259}, {"content", "<x>"}});
  added_error("no id", {{"content", "<x>"}});
  added_error("absurd", {{"id", -3}, {"content", "<x>"}});
  ExpectJsonError(ErrorCode::kCorrupt, "no \"model\"", json::object());
  ExpectJsonError(ErrorCode::kCorrupt, "no \"model\"", json::array());
  ExpectError(ErrorCode::kCorrupt, "byte", [] { Tokenizer::FromJson(R"({"model":{"vocab":{"a":0},)", "a.json"); });
  ExpectError(ErrorCode::kCorrupt, "two ids",
              [] { Tokenizer::FromJson(R"({"model":{"vocab":{"a":0,"a":1}}})", "a.json"); });
  ExpectError(ErrorCode::kCorrupt, "empty",
              [] { Tokenizer::FromJson(R"({"model":{"type":"BPE","vocab":{}}})", "a.json"); });
  ExpectError(ErrorCode::kLimit, "deep", [] { Tokenizer::FromJson(std::string(100000, '['), "a.json"); });
}

TEST(TokenizerJson, WhatIsNotSupportedIsNamed) {
  const auto with = [](const char* member, const json& value) {
    json document = SmallByteLevelJson();
    document[member] = value;
    return document;
  };
  const json named = {{"type", "Peculiar"}};
  for (const char* member : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    ExpectJsonError(ErrorCode::kUnsupported, "Peculiar", with(member, named));
  }
  for (const char* type : {"WordPiece", "Unigram", "WordLevel"}) {
    json document = SmallByteLevelJson();
    document["model"]["type"] = type;
    ExpectJsonError(ErrorCode::kUnsupported, type, document);
  }
  json unigram = SmallByteLevelJson();
  unigram["model"] = {{"type", "Unigram"},
                      {"vocab", json::array({json::array({"a", -1.5}), json::array({"b", -2.0})})}};
  ExpectJsonError(ErrorCode::kUnsupported, "Unigram", unigram);
  const auto split = [](const char* pattern) {
    return json{{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}};
  };
  ExpectJsonError(ErrorCode::kUnsupported, "regular expression", with("pre_tokenizer", split("(")));
  ExpectJsonError(ErrorCode::kUnsupported, "intersection", with("pre_tokenizer", split("[a&&b]")));
}

TEST(VocabularyData, ContradictionsAreErrors) {
  VocabularyData data;
  const auto error = [&](ErrorCode code, const char* part) {
    ExpectError(code, part, [&] { Tokenizer::FromVocabulary(data, "x.gguf"); });
  };
  error(ErrorCode::kCorrupt, "empty");
  data.tokens = {"<unk>", "a", "b"};
  error(ErrorCode::kCorrupt, "3 tokens but 0 scores");
  data.scores = {0, -1, NAN};
  error(ErrorCode::kCorrupt, "not a number");
  data.scores = {0, -1, -2};
  data.types = {TokenType::kUnknown};
  error(ErrorCode::kCorrupt, "1 token types");
  data.types.clear();
  data.bos = 3;
  error(ErrorCode::kCorrupt, "id 3");
  data.bos.reset();
  data.tokens[2] = "a";
  error(ErrorCode::kCorrupt, "two ids");
  data.tokens[2] = "\xff";
  error(ErrorCode::kCorrupt, "not UTF-8");
  data.tokens[2] = std::string(5000, 'x');
  error(ErrorCode::kCorrupt, "5000 bytes");
  data = VocabularyData();
  data.kind = VocabularyKind::kByteLevel;
  data.pre_tokenizer = "peculiar";
  data.tokens = {"a"};
  error(ErrorCode::kUnsupported, "peculiar");
  EXPECT_THROW(VocabularyKindOfGguf("bert"), Error);
}

TEST(VocabularyData, UnknownSymbolsFuse) {
  VocabularyData data;
  data.tokens = {"<unk>", "\u2581", "a"};
  data.scores = {0, -1, -2};
  data.types = {TokenType::kUnknown, TokenType::kNormal, TokenType::kNormal};
  EXPECT_EQ(Tokenizer::FromVocabulary(data, "x").Encode("xyazx"), (Ids{1, 0, 2, 0})) << "no byte tokens here";
}

TEST(VocabularyData, EqualScoresJoinFromTheLeft) {
  VocabularyData data;
  data.add_space_prefix = false;
  data.tokens = {"<unk>", "a", "b", "c", "ab", "bc"};
  data.scores = {0, -9, -9, -9, -1, -1};
  data.types = std::vector<TokenType>(6, TokenType::kNormal);
  data.types[0] = TokenType::kUnknown;
  const Tokenizer tokenizer = Tokenizer::FromVocabulary(data, "x");
  EXPECT_EQ(tokenizer.Encode("abc"), (Ids{4, 3}));
  EXPECT_EQ(Tokenizer::FromJson(tokenizer.ToJson(), "x").Encode("abcbc"), tokenizer.Encode("abcbc"));
  std::swap(data.tokens[4], data.tokens[5]);
  const Tokenizer swapped = Tokenizer::FromVocabulary(data, "x");
  EXPECT_EQ(swapped.Encode("abc"), (Ids{5, 3})) << "by position, whatever the ids";
  EXPECT_EQ(Tokenizer::FromJson(swapped.ToJson(), "x").Encode("abc"), (Ids{5, 3}));
}

}  // namespace
}  // namespace edgellm::text
