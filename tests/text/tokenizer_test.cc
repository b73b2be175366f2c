// Behaviour of one tokenizer on small vocabularies: special and added tokens, unknown ids, broken text, what ToJson
// keeps. The readers' errors are in tokenizer_files_test.cc, exactness on real vocabularies in
// tokenizer_vectors_test.cc.
#include "text/tokenizer.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "tests/text/small_tokenizers.h"

namespace edgellm::text {
namespace {

using nlohmann::json;
using Ids = std::vector<TokenId>;

constexpr TokenId kHello = 259, kSpaceWor = 262, kEnd = 265, kTool = 266;

Tokenizer Small(const json& document = SmallByteLevelJson()) {
  return Tokenizer::FromJson(document.dump(), "small");
}

TEST(Tokenizer, MergesByRankFromBytes) {
  const Tokenizer tokenizer = Small();
  EXPECT_EQ(tokenizer.Encode("hello world"), (Ids{kHello, kSpaceWor, 'l', 'd'}));
  EXPECT_EQ(tokenizer.Encode("aaaaaaa"), (Ids{264, 263, 'a'}));
  EXPECT_EQ(tokenizer.Encode(""), Ids{});
  EXPECT_EQ(tokenizer.Encode("\u00e9"), (Ids{0xc3, 0xa9}));
}

TEST(Tokenizer, BothSpellingsOfMerges) {
  json pairs = SmallByteLevelJson();
  for (json& merge : pairs["model"]["merges"]) {
    const std::string line = merge;
    merge = {line.substr(0, line.find(' ')), line.substr(line.find(' ') + 1)};
  }
  EXPECT_EQ(Small(pairs).Encode("hello world"), Small().Encode("hello world"));
}

TEST(Tokenizer, SpecialTokensOnlyWhereAsked) {
  const Tokenizer tokenizer = Small();
  EXPECT_EQ(tokenizer.Encode("hello<|end|>"), (Ids{kHello, kEnd}));
  const Ids spelled = tokenizer.Encode("hello<|end|>", {.parse_special = false});
  EXPECT_EQ(spelled.size(), 1 + std::string_view("<|end|>").size());
  EXPECT_EQ(tokenizer.Decode(spelled), "hello<|end|>");
  EXPECT_EQ(tokenizer.Encode("<tool>", {.parse_special = false}), Ids{kTool}) << "not special: always one token";
  EXPECT_EQ(tokenizer.Decode(Ids{kHello, kEnd, kTool}), "hello<tool>");
  EXPECT_EQ(tokenizer.Decode(Ids{kHello, kEnd, kTool}, true), "hello<|end|><tool>");
  EXPECT_TRUE(tokenizer.IsSpecial(kEnd));
  EXPECT_FALSE(tokenizer.IsSpecial(kTool));
  EXPECT_FALSE(tokenizer.IsSpecial(-1));
  EXPECT_FALSE(tokenizer.IsSpecial(100000));
}

TEST(Tokenizer, PlainTextNeverBuildsSpecialTokens) {
  // A special token that merges could reach, and that ignore_merges would find whole.
  json document = SmallByteLevelJson();
  document["added_tokens"].push_back({{"id", kHello}, {"content", "hello"}, {"special", true}, {"normalized", false}});
  document["model"]["ignore_merges"] = true;
  const Tokenizer tokenizer = Small(document);
  EXPECT_EQ(tokenizer.Encode("hello"), Ids{kHello});
  for (const TokenId id : tokenizer.Encode("hello", {.parse_special = false})) EXPECT_FALSE(tokenizer.IsSpecial(id));
}

TEST(Tokenizer, AddedTokensTakeTheLongestAndTheirSpaces) {
  json document = SmallByteLevelJson();
  auto& added = document["added_tokens"];
  added.push_back({{"id", 300}, {"content", "<|end|>x"}, {"special", true}, {"normalized", false}});
  added.push_back({{"id", 301}, {"content", "LL"}, {"lstrip", true}, {"normalized", false}});
  added.push_back({{"id", 302}, {"content", "RR"}, {"rstrip", true}, {"normalized", false}});
  added.push_back({{"id", 303}, {"content", "word"}, {"single_word", true}, {"normalized", false}});
  const Tokenizer tokenizer = Small(document);
  EXPECT_EQ(tokenizer.Encode("<|end|>xy"), (Ids{300, 'y'}));
  EXPECT_EQ(tokenizer.Encode("b \u3000LL c"), (Ids{'b', 301, 32, 'c'}));
  EXPECT_EQ(tokenizer.Encode("bRR \n c"), (Ids{'b', 302, 'c'}));
  EXPECT_EQ(tokenizer.Encode("word-word"), (Ids{303, '-', 303}));
  EXPECT_EQ(tokenizer.Encode("words").size(), 4u) << "w or d s";
  EXPECT_EQ(tokenizer.Encode("\u00e9word").size(), 2u + 3u);
  EXPECT_EQ(tokenizer.vocab_size(), 304);
  EXPECT_EQ(tokenizer.TokenBytes(280, true), "") << "a hole";
}

TEST(Tokenizer, NormalizedAddedTokensAreFoundAfterNormalizing) {
  json document = SmallByteLevelJson();
  document["normalizer"] = {{"type", "Lowercase"}};
  document["added_tokens"].push_back({{"id", 300}, {"content", "Hello"}, {"normalized", true}});
  document["added_tokens"].push_back({{"id", 301}, {"content", "WORLD"}, {"normalized", false}});
  const Tokenizer tokenizer = Small(document);
  EXPECT_EQ(tokenizer.Encode("HELLOhello"), (Ids{300, 300}));
  EXPECT_EQ(tokenizer.Encode("WORLD"), Ids{301});
  EXPECT_NE(tokenizer.Encode("world"), Ids{301});
}

TEST(Tokenizer, IdsOutsideTheVocabularyHaveNoText) {
  const Tokenizer tokenizer = Small();
  for (const TokenId id : {-1, INT32_MIN, INT32_MAX, tokenizer.vocab_size()}) {
    EXPECT_EQ(tokenizer.TokenBytes(id, true), "");
    EXPECT_EQ(tokenizer.Decode(Ids{'a', id, 'b'}), "ab");
  }
}

TEST(Tokenizer, BrokenTextIsReplacedFirst) {
  const Tokenizer tokenizer = Small();
  EXPECT_EQ(tokenizer.Encode("a\xff\xe4\xb8"), tokenizer.Encode("a\ufffd\ufffd"));
  EXPECT_EQ(tokenizer.Decode(Ids{'a', 0xe4, 0xb8, 'b'}), "a\ufffdb") << "tokens that are no whole code point";
}

TEST(Tokenizer, TemplateAddsBosAndEos) {
  json document = SmallByteLevelJson();
  document["post_processor"] = json::parse(R"({"type":"TemplateProcessing",
    "single":[{"SpecialToken":{"id":"<|end|>","type_id":0}},{"Sequence":{"id":"A","type_id":0}},
              {"SpecialToken":{"id":"<|end|>","type_id":0}}],
    "special_tokens":{"<|end|>":{"id":"<|end|>","ids":[265],"tokens":["<|end|>"]}}})");
  const Tokenizer tokenizer = Small(document);
  EXPECT_EQ(tokenizer.Encode("hello"), (Ids{kEnd, kHello, kEnd}));
  EXPECT_EQ(tokenizer.Encode("hello", {.add_special = false}), Ids{kHello});
  EXPECT_EQ(tokenizer.bos(), kEnd);
  EXPECT_EQ(tokenizer.eos(), kEnd);
  EXPECT_TRUE(tokenizer.adds_bos());
  EXPECT_FALSE(Small().adds_bos());
}

TEST(Tokenizer, FindGoesByTheFilesSpelling) {
  const Tokenizer tokenizer = Small();
  EXPECT_EQ(tokenizer.Find("Ġwor"), kSpaceWor);
  EXPECT_EQ(tokenizer.Find("<|end|>"), kEnd);
  EXPECT_EQ(tokenizer.Find("nothing"), std::nullopt);
  EXPECT_EQ(tokenizer.Find(""), std::nullopt);
}

TEST(Tokenizer, ToJsonKeepsEverything) {
  json document = SmallByteLevelJson();
  document["normalizer"] = {{"type", "NFC"}};
  document["added_tokens"].push_back({{"id", 400}, {"content", "<a b>"}, {"lstrip", true}, {"single_word", true}});
  const Tokenizer tokenizer = Small(document), again = Tokenizer::FromJson(tokenizer.ToJson(), "again");
  EXPECT_EQ(again.ToJson(), tokenizer.ToJson());
  EXPECT_EQ(again.vocab_size(), 401);
  for (const char* text : {"hello world", "e\u0301 <a b> <|end|>", "<tool>aaaa"}) {
    EXPECT_EQ(again.Encode(text), tokenizer.Encode(text));
  }
  for (TokenId id = 0; id < 401; ++id) {
    EXPECT_EQ(again.TokenBytes(id, true), tokenizer.TokenBytes(id, true));
    EXPECT_EQ(again.IsSpecial(id), tokenizer.IsSpecial(id));
  }
  const json written = json::parse(tokenizer.ToJson());
  EXPECT_EQ(written["model"]["vocab"], document["model"]["vocab"]);
  EXPECT_EQ(written["model"]["merges"], document["model"]["merges"]);
}

TEST(Tokenizer, LongRunsAreMergedInLinearTime) {
  // One pre-token of a megabyte; anything quadratic would not end.
  const std::string text(1'000'000, 'a');
  EXPECT_EQ(Small().Encode(text), Ids(250'000, 264));
}

TEST(Tokenizer, ThreadsShareOne) {
  const Tokenizer tokenizer = Small();
  const Ids expected = tokenizer.Encode("hello world <|end|> \u00e9");
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int run = 0; run < 200; ++run) wrong += tokenizer.Encode("hello world <|end|> \u00e9") != expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Tokenizer, PreTokenizersCutAsTheirNamesSay) {
  const auto encode = [](const json& pre_tokenizer, const char* text) {
    json document = SmallByteLevelJson();
    document["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers", {pre_tokenizer, {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
    return Small(document).Encode(text);
  };
  const auto split = [](const char* behavior, bool invert) {
    return json{{"type", "Split"}, {"pattern", {{"String", "l"}}}, {"behavior", behavior}, {"invert", invert}};
  };
  const TokenId he = 257, ll = 256;
  EXPECT_EQ(encode(split("Isolated", false), "hello"), (Ids{he, 'l', 'l', 'o'}));
  EXPECT_EQ(encode(split("Removed", false), "hello"), (Ids{he, 'o'}));
  EXPECT_EQ(encode(split("Removed", true), "hello"), (Ids{'l', 'l'}));
  EXPECT_EQ(encode(split("Contiguous", false), "hello"), (Ids{he, ll, 'o'}));
  EXPECT_EQ(encode(split("MergedWithPrevious", false), "hello"), (Ids{he, 'l', 'l', 'o'}));
  EXPECT_EQ(encode(split("MergedWithNext", false), "hello"), (Ids{he, 'l', 'l', 'o'}));
  EXPECT_EQ(encode({{"type", "Digits"}, {"individual_digits", true}}, "aa1"), (Ids{263, '1'}));
  EXPECT_EQ(encode({{"type", "WhitespaceSplit"}}, " hello  a "), (Ids{kHello, 'a'}));
  EXPECT_EQ(encode({{"type", "Punctuation"}}, "a,a"), (Ids{'a', ',', 'a'}));
}

}  // namespace
}  // namespace edgellm::text
