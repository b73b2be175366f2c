// Tokens to text, thinking, calls: in the right order of stages, and the same however the text is spread over tokens.
#include "serve/answer_stream.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.h"
#include "base/utf8.h"
#include "tests/serve/small_models.h"

namespace edgellm {
namespace {

using constrain::ToolCallFamily;

struct Heard {
  std::string content, thinking;
  std::vector<std::pair<std::string, std::string>> calls;
  std::string stop;
  bool operator==(const Heard&) const = default;
};

void PrintTo(const Heard& heard, std::ostream* out) {
  *out << "content '" << heard.content << "' thinking '" << heard.thinking << "' stop '" << heard.stop << "'";
  for (const auto& [name, arguments] : heard.calls) *out << " " << name << arguments;
}

/// A vocabulary where every two and three bytes of some texts are tokens, so that one text has many spellings.
struct Spelling {
  text::Tokenizer tokenizer = TokenizerWith({"<think>", "</think>", "<tool_call>", "</tool_call>", "STOP", "end",
                                             "\n\n", "{\"name\": \"", "\", \"arguments\": {", "ü}", "k>", "</"},
                                            {"<|im_end|>", "<|python_tag|>"});
  text::TokenId first_added = *tokenizer.Find("<think>");
};

const Spelling& Small() {
  static const Spelling spelling;
  return spelling;
}

/// One of the ways to spell `text`, by `choose(options)`.
template <typename Choose>
std::vector<int32_t> Spell(std::string_view text, const Choose& choose) {
  const text::Tokenizer& t = Small().tokenizer;
  std::vector<int32_t> ids;
  while (!text.empty()) {
    std::vector<int32_t> ways;
    for (text::TokenId id = 0; id < t.vocab_size(); ++id) {
      const std::string_view bytes = t.TokenBytes(id, false);
      if (!bytes.empty() && text.starts_with(bytes)) ways.push_back(id);
    }
    const int32_t id = ways[choose(ways.size())];
    ids.push_back(id);
    text.remove_prefix(t.TokenBytes(id, false).size());
  }
  return ids;
}

std::vector<int32_t> Bytes(std::string_view text) {
  return Spell(text, [](size_t) { return size_t{0}; });
}

Heard Hear(const AnswerStreamOptions& options, const std::vector<int32_t>& ids,
           std::vector<TokenFacts>* facts = nullptr) {
  AnswerStream stream(Small().tokenizer, options);
  Heard heard;
  const auto take = [&](const AnswerPiece& piece) {
    heard.content += piece.content;
    heard.thinking += piece.thinking;
    for (const auto& call : piece.tool_calls) heard.calls.emplace_back(call.name, call.arguments);
    if (facts != nullptr) facts->insert(facts->end(), piece.tokens.begin(), piece.tokens.end());
    EXPECT_TRUE(utf8::IsValid(piece.content) && utf8::IsValid(piece.thinking));
  };
  for (const int32_t id : ids) {
    AnswerPiece piece;
    stream.Push({.id = id}, &piece);
    take(piece);
  }
  AnswerPiece piece;
  stream.Finish(&piece);
  take(piece);
  heard.stop = stream.stop_string();
  EXPECT_EQ(stream.calls(), static_cast<int>(heard.calls.size()));
  return heard;
}

constexpr std::string_view kCall = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": \"ü}\"}}\n</tool_call>";
const std::pair<std::string, std::string> kRead = {"f", "{\"x\":\"ü}\"}"};

AnswerStreamOptions All() {
  AnswerStreamOptions options;
  options.thinking = Thinking::kMayOpen;
  options.tools = ToolCallFamily::kTagged;
  options.tool_options.names = {"f"};
  return options;
}

TEST(AnswerStream, PlainText) {
  EXPECT_EQ(Hear({}, Bytes("Grüße <think>")), (Heard{"Grüße <think>", "", {}, ""}));
}

TEST(AnswerStream, WholeCharactersOnly) {
  AnswerStream stream(Small().tokenizer, {});
  AnswerPiece piece;
  stream.Push({.id = 0xC3}, &piece);
  EXPECT_EQ(piece.content, "");
  stream.Push({.id = 0xBC}, &piece);
  EXPECT_EQ(piece.content, "ü");
  stream.Push({.id = 0xC3}, &piece);
  stream.Finish(&piece);
  EXPECT_EQ(piece.content, "ü\xEF\xBF\xBD");
}

TEST(AnswerStream, ThinkingThenContentThenCalls) {
  const std::string text =
      "<think>\nA <tool_call> b\n</think>\n\nSo:\n" + std::string(kCall) + "\n" + std::string(kCall);
  EXPECT_EQ(Hear(All(), Bytes(text)), (Heard{"So:", "A <tool_call> b", {kRead, kRead}, ""}));
}

TEST(AnswerStream, StopStringsCountInEveryPart) {
  AnswerStreamOptions options = All();
  options.stop = {"STOP"};
  EXPECT_EQ(Hear(options, Bytes("<think>a STOP</think>b")), (Heard{"", "a ", {}, "STOP"}));
  EXPECT_EQ(Hear(options, Bytes("a STOPb")), (Heard{"a ", "", {}, "STOP"}));
  options.stop = {"</think>"};
  EXPECT_EQ(Hear(options, Bytes("<think>a</think>b")), (Heard{"", "a", {}, "</think>"}));
  options.stop = {"</tool_call>"};
  EXPECT_EQ(Hear(options, Bytes(std::string(kCall) + " more")), (Heard{"", "", {kRead}, "</tool_call>"}));
}

TEST(AnswerStream, NothingComesAfterTheEnd) {
  AnswerStreamOptions options;
  options.stop = {"STOP"};
  AnswerStream stream(Small().tokenizer, options);
  AnswerPiece piece;
  for (const int32_t id : Bytes("a STOP")) stream.Push({.id = id}, &piece);
  EXPECT_TRUE(stream.ended());
  stream.Push({.id = 'b'}, &piece);
  stream.Finish(&piece);
  EXPECT_EQ(piece.content, "a ");
  EXPECT_EQ(stream.tokens(), Bytes("a STOP"));
  EXPECT_THROW(AnswerStream(Small().tokenizer, {.stop = {""}}), Error);
}

TEST(AnswerStream, OneCallEndsTheAnswer) {
  AnswerStreamOptions options = All();
  options.one_call = true;
  AnswerStream stream(Small().tokenizer, options);
  AnswerPiece piece;
  for (const int32_t id : Bytes("So: " + std::string(kCall) + kCall.data() + "more")) {
    if (!stream.ended()) stream.Push({.id = id}, &piece);
  }
  EXPECT_TRUE(stream.ended());
  stream.Finish(&piece);
  EXPECT_EQ(piece.content, "So:");
  EXPECT_EQ(piece.tool_calls.size(), 1u);
}

TEST(AnswerStream, SpecialTokensAreNoTextUnlessTheySpellATag) {
  const text::Tokenizer& t = Small().tokenizer;
  EXPECT_EQ(SpelledTags(t), (std::vector<int32_t>{*t.Find("<|python_tag|>")}));
  AnswerStreamOptions options;
  options.tools = ToolCallFamily::kLlama3;
  options.spelled = SpelledTags(t);
  std::vector<int32_t> ids = {*t.Find("<|python_tag|>")};
  for (const int32_t id : Bytes("{\"name\": \"f\", \"parameters\": {}}")) ids.push_back(id);
  ids.push_back(*t.Find("<|im_end|>"));
  EXPECT_EQ(Hear(options, ids), (Heard{"", "", {{"f", "{}"}}, ""}));
  EXPECT_EQ(Hear({}, {'a', *t.Find("<|python_tag|>"), 'b'}), (Heard{"ab", "", {}, ""}));
}

TEST(AnswerStream, FactsOfTokensComeWithTheirText) {
  const text::Tokenizer& t = Small().tokenizer;
  AnswerStreamOptions options;
  options.token_facts = true;
  options.stop = {"STOP"};
  AnswerStream stream(t, options);
  const TokenLogProbability likeliest[] = {{'a', -0.5f}, {0xC3, -1.5f}};
  AnswerPiece piece;
  stream.Push({.id = 'a', .log_probability = -0.5f, .likeliest = likeliest}, &piece);
  ASSERT_EQ(piece.tokens.size(), 1u);
  EXPECT_EQ(piece.tokens[0].bytes, "a");
  EXPECT_EQ(piece.tokens[0].log_probability, -0.5f);
  ASSERT_EQ(piece.tokens[0].likeliest.size(), 2u);
  EXPECT_EQ(piece.tokens[0].likeliest[1].bytes, "\xC3");
  piece = {};
  stream.Push({.id = 0xC3}, &piece);
  EXPECT_TRUE(piece.tokens.empty());
  stream.Push({.id = 0xBC}, &piece);
  EXPECT_EQ(piece.tokens.size(), 2u);  // both halves of the character
  piece = {};
  stream.Push({.id = 'S'}, &piece);
  EXPECT_TRUE(piece.tokens.empty());  // it may begin a stop string …
  stream.Push({.id = 'o'}, &piece);
  EXPECT_EQ(piece.tokens.size(), 2u);  // … and does not
  piece = {};
  stream.Push({.id = 'x'}, &piece);
  stream.Push({.id = *t.Find("STOP")}, &piece);
  stream.Finish(&piece);
  ASSERT_EQ(piece.tokens.size(), 1u);
  EXPECT_EQ(piece.tokens[0].id, 'x');
}

rc::Gen<std::string> Answers() {
  return rc::gen::map(rc::gen::container<std::vector<std::string>>(rc::gen::element<std::string>(
                          "<think>", "</think>", "STOP", "ST", "end", "\n\n", "ü", "a ", "<", "</", std::string(kCall),
                          "<tool_call>", "</tool_call>", "{\"name\": \"", "}")),
                      [](const std::vector<std::string>& parts) {
                        std::string text;
                        for (const auto& part : parts) text += part;
                        return text;
                      });
}

RC_GTEST_PROP(AnswerStream, TheSpellingDoesNotMatter, ()) {
  AnswerStreamOptions options = *rc::gen::element(All(), AnswerStreamOptions());
  options.one_call = *rc::gen::arbitrary<bool>();
  options.stop = *rc::gen::element(std::vector<std::string>{}, std::vector<std::string>{"STOP", "Te"},
                                   std::vector<std::string>{"\n", "üa"}, std::vector<std::string>{"</think>"});
  const std::string text = *Answers();
  const auto ids =
      Spell(text, [](size_t ways) { return static_cast<size_t>(*rc::gen::inRange<int>(0, static_cast<int>(ways))); });
  const Heard heard = Hear(options, ids);
  RC_ASSERT(heard == Hear(options, Bytes(text)));
  for (const auto& stop : options.stop) {
    if (heard.calls.empty()) RC_ASSERT(heard.content.find(stop) == std::string::npos);  // no text is joined over a call
    RC_ASSERT(heard.thinking.find(stop) == std::string::npos);
  }
  if (options.stop.empty() && options.tools == ToolCallFamily::kNone) RC_ASSERT(heard.content == text);
}

RC_GTEST_PROP(AnswerStream, FactsAreOfTheTokensBeforeTheStop, ()) {
  AnswerStreamOptions options;
  options.token_facts = true;
  options.stop = {"STOP", "\n"};
  const auto ids = Spell(
      *Answers(), [](size_t ways) { return static_cast<size_t>(*rc::gen::inRange<int>(0, static_cast<int>(ways))); });
  std::vector<TokenFacts> facts;
  const Heard heard = Hear(options, ids, &facts);
  std::string bytes;
  for (size_t i = 0; i < facts.size(); ++i) {
    RC_ASSERT(facts[i].id == ids[i]);
    bytes += facts[i].bytes;
  }
  RC_ASSERT(bytes.starts_with(heard.content));
  if (heard.stop.empty()) RC_ASSERT(facts.size() == ids.size());
  // The last token begins before the stop.
  if (!facts.empty()) RC_ASSERT(bytes.size() - facts.back().bytes.size() < std::max<size_t>(heard.content.size(), 1));
}

}  // namespace
}  // namespace edgellm
