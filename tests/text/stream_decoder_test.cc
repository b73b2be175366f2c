// StreamDecoder on texts cut in every place that tokens can cut them.
#include "text/stream_decoder.h"

#include <gtest/gtest.h>

#include "base/utf8.h"
#include "tests/text/small_tokenizers.h"

namespace edgellm::text {
namespace {

const Tokenizer& Bytes() {
  static const Tokenizer tokenizer = Tokenizer::FromJson(SmallByteLevelJson().dump(), "small");
  return tokenizer;
}

std::string PushAll(StreamDecoder& decoder, const std::vector<TokenId>& ids) {
  std::string text;
  for (const TokenId id : ids) text += decoder.Push(id);
  return text;
}

TEST(StreamDecoder, GivesACodePointWithItsLastByte) {
  StreamDecoder decoder(Bytes());
  std::vector<std::string> parts;
  for (const char byte : std::string("a\u00e9\U0001F999")) parts.push_back(decoder.Push(static_cast<uint8_t>(byte)));
  EXPECT_EQ(parts, (std::vector<std::string>{"a", "", "\u00e9", "", "", "", "\U0001F999"}));
  EXPECT_EQ(decoder.Finish(), "");
}

TEST(StreamDecoder, EveryPrefixEndsWell) {
  const std::string text = "z\u00df\u6c34\U0001F34C";
  for (size_t length = 0; length <= text.size(); ++length) {
    StreamDecoder decoder(Bytes());
    std::string streamed;
    for (const char byte : text.substr(0, length)) {
      streamed += decoder.Push(static_cast<uint8_t>(byte));
      EXPECT_TRUE(utf8::IsValid(streamed));
      EXPECT_TRUE(text.starts_with(streamed));
    }
    EXPECT_EQ(streamed + decoder.Finish(), utf8::Sanitize(text.substr(0, length)));
    EXPECT_EQ(decoder.Finish(), "") << "nothing is given twice";
  }
}

TEST(StreamDecoder, BrokenBytesDoNotHoldTheStreamUp) {
  StreamDecoder decoder(Bytes());
  EXPECT_EQ(decoder.Push(0xff), "\ufffd");
  EXPECT_EQ(decoder.Push(0xe4), "");
  EXPECT_EQ(decoder.Push('b'), "\ufffdb");
}

TEST(StreamDecoder, SpecialTokensAndUnknownIds) {
  const TokenId end = *Bytes().Find("<|end|>");
  StreamDecoder silent(Bytes()), spelling(Bytes(), true);
  EXPECT_EQ(silent.Push(end), "");
  EXPECT_EQ(spelling.Push(end), "<|end|>");
  EXPECT_EQ(PushAll(silent, {-1, 1 << 30}), "");
  EXPECT_EQ(PushAll(silent, {0xc3, end, 0xa9}), "\u00e9") << "a token without text cuts nothing off";
}

TEST(StreamDecoder, OnlyTheFirstSpaceIsTheTokenizersOwn) {
  nlohmann::json document = nlohmann::json::parse(R"({"model":{"type":"BPE","vocab":{"<s>":0,"_a":1,"_":2},"merges":[]},
    "added_tokens":[{"id":0,"content":"<s>","special":true}],
    "decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"_"},"content":" "},
      {"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}})");
  const Tokenizer tokenizer = Tokenizer::FromJson(document.dump(), "small");
  ASSERT_TRUE(tokenizer.strips_leading_space());
  StreamDecoder at_start(tokenizer), later(tokenizer, false, false);
  EXPECT_EQ(PushAll(at_start, {0, 1, 1}), "a a");
  EXPECT_EQ(later.Push(1), " a");
  StreamDecoder spaces(tokenizer);
  EXPECT_EQ(PushAll(spaces, {2, 2}), " ");
  EXPECT_EQ(tokenizer.Decode(std::vector<TokenId>{0, 1, 1}), "a a");
}

}  // namespace
}  // namespace edgellm::text
