// Requests made ready: which tokens their filters let through, by walking whole answers, and what the answer's stream
// is told.
#include "serve/prepared_request.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/serve/small_models.h"

namespace edgellm {
namespace {

using Json = nlohmann::ordered_json;

class PreparedRequestTest : public ::testing::Test {
 protected:
  PreparedRequestTest() { model_.generation.stop_tokens = {end_}; }

  GenerateRequest Chat() const {
    GenerateRequest request;
    request.input = ChatInput{.messages = {{.role = "user", .content = "Hi"}}};
    return request;
  }
  static ChatInput& ChatOf(GenerateRequest& request) { return std::get<ChatInput>(request.input); }
  static Json Tools() {
    return Json::parse(
        R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}}}},
                           {"type": "function", "function": {"name": "g"}}])");
  }

  /// How far the filter lets `text` through, and whether the answer may end there.
  std::pair<std::string, bool> Walk(const GenerateRequest& request, std::string_view text) {
    const auto filter = preparer_.Prepare(request).request.filter;
    if (filter == nullptr) return {"no filter", true};
    std::vector<uint32_t> words((static_cast<size_t>(tokenizer_.vocab_size()) + 31) / 32);
    const auto allowed = [&](int32_t token) {
      filter->Allowed(words);
      return (words[static_cast<size_t>(token) / 32] >> (token % 32) & 1u) != 0;
    };
    std::string passed;
    for (const int32_t token : tokenizer_.Encode(text, {.add_special = false})) {
      if (!allowed(token)) break;
      filter->Accept(token);
      passed += tokenizer_.TokenBytes(token, true);
    }
    return {passed, allowed(end_)};
  }
  bool Takes(const GenerateRequest& request, const std::string& text) {
    return Walk(request, text) == std::pair<std::string, bool>(text, true);
  }

  Model model_ = PromptModel(
      TokenizerJsonWith({"<think>", "</think>", "<tool_call>", "</tool_call>"}, {"<|im_start|>", "<|im_end|>"}),
      kThinkingToolTemplate);
  text::Tokenizer tokenizer_ = text::Tokenizer::FromJson(model_.tokenizer_json, "test");
  int32_t end_ = *tokenizer_.Find("<|im_end|>");
  PromptMaker prompts_{model_, &tokenizer_, 10'000};
  RequestPreparer preparer_{model_, &tokenizer_, prompts_};
};

TEST_F(PreparedRequestTest, OptionsReachTheEngine) {
  GenerateRequest request = Chat();
  request.options.min_tokens = 2;
  request.options.max_tokens = 9;
  request.options.ignore_eos = true;
  request.options.logit_bias = {{5, 1.5f}};
  request.options.likeliest = 3;
  request.options.samples = 4;
  request.options.prompt_log_probabilities = true;
  request.options.stop = {"x"};
  request.priority = Priority::kBatch;
  request.deadline = 2;
  request.cache_salt = "s";
  const PreparedRequest prepared = preparer_.Prepare(request);
  const Request& made = prepared.request;
  EXPECT_EQ(made.min_tokens, 2);
  EXPECT_EQ(made.max_tokens, 9);
  EXPECT_TRUE(made.ignore_eos);
  ASSERT_EQ(made.bias.size(), 1u);
  EXPECT_EQ(made.bias[0].bias, 1.5f);
  EXPECT_EQ(made.sampling.likeliest, 3);
  EXPECT_TRUE(made.sampling.log_probability);
  EXPECT_EQ(made.samples, 4);
  EXPECT_TRUE(made.prompt_log_probabilities);
  EXPECT_EQ(made.stop_tokens, (std::vector<int32_t>{end_}));
  EXPECT_EQ(made.priority, Priority::kBatch);
  EXPECT_EQ(made.deadline, 2);
  EXPECT_EQ(made.cache_salt, "s");
  EXPECT_EQ(made.filter, nullptr);
  EXPECT_TRUE(prepared.stream.token_facts);
  EXPECT_EQ(prepared.stream.stop, (std::vector<std::string>{"x"}));
  EXPECT_EQ(prepared.stream.thinking, Thinking::kMayOpen);
  EXPECT_EQ(prepared.stream.tools, constrain::ToolCallFamily::kNone);
  EXPECT_NE(StreamOptionsOf(prepared, 1).tool_options.seed, StreamOptionsOf(prepared, 0).tool_options.seed);
}

TEST_F(PreparedRequestTest, AFormAfterThinking) {
  GenerateRequest request = Chat();
  request.options.format =
      AnswerFormat{AnswerFormat::Kind::kJsonSchema,
                   R"({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})"};
  EXPECT_TRUE(Takes(request, R"({"a":5})"));
  EXPECT_TRUE(Takes(request, "<think>\nWell, 1 < 2 </b> …\n</think>\n\n{\"a\":5}"));
  EXPECT_EQ(Walk(request, "<think>\nWell"), (std::pair<std::string, bool>("<think>\nWell", false)));
  EXPECT_EQ(Walk(request, "<think>x</think>no"), (std::pair<std::string, bool>("<think>x</think>", false)));
  EXPECT_EQ(Walk(request, "Well"), (std::pair<std::string, bool>("", false)));
  // Told not to think, it goes straight to the form.
  ChatOf(request).think = false;
  EXPECT_TRUE(Takes(request, R"({"a":5})"));
  EXPECT_EQ(Walk(request, "<think>").first, "");
  // A text has no thinking part.
  request.input = TextInput{.text = "Hi"};
  EXPECT_EQ(Walk(request, "<think>").first, "");
}

TEST_F(PreparedRequestTest, CallsThatMustBeMade) {
  GenerateRequest request = Chat();
  ChatOf(request).tools = Tools();
  EXPECT_EQ(Walk(request, "").first, "no filter");
  EXPECT_EQ(preparer_.Prepare(request).stream.tool_options.names, (std::vector<std::string>{"f", "g"}));
  const std::string f = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>";
  const std::string g = "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>";
  request.options.stop = {"\n"};
  ChatOf(request).tool_choice.kind = ToolChoice::Kind::kRequired;
  EXPECT_TRUE(preparer_.Prepare(request).stream.stop.empty());
  EXPECT_TRUE(Takes(request, f));
  EXPECT_TRUE(Takes(request, g + "\n" + f));
  EXPECT_TRUE(Takes(request, "<think>\nHm\n</think>\n\n" + f));
  EXPECT_EQ(Walk(request, "Yes").first, "");
  ChatOf(request).parallel_tool_calls = false;
  EXPECT_EQ(Walk(request, g + "\n" + f).first, g);
  EXPECT_TRUE(preparer_.Prepare(request).stream.one_call);
  ChatOf(request).tool_choice = {ToolChoice::Kind::kNamed, "f"};
  EXPECT_TRUE(Takes(request, f));
  EXPECT_FALSE(Takes(request, g));
  EXPECT_EQ(preparer_.Prepare(request).stream.tool_options.names, (std::vector<std::string>{"f"}));
}

TEST_F(PreparedRequestTest, AFormOrACall) {
  GenerateRequest request = Chat();
  ChatOf(request).tools = Tools();
  request.options.format = AnswerFormat{AnswerFormat::Kind::kGrammar, "root ::= \"yes\" | \"no\""};
  EXPECT_TRUE(Takes(request, "yes"));
  EXPECT_TRUE(Takes(request, "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>"));
  EXPECT_EQ(Walk(request, "maybe").first, "");
  ChatOf(request).tool_choice.kind = ToolChoice::Kind::kNone;
  EXPECT_TRUE(Takes(request, "no"));
  EXPECT_EQ(Walk(request, "<tool_call>").first, "");
  EXPECT_EQ(preparer_.Prepare(request).stream.tools, constrain::ToolCallFamily::kNone);
}

TEST_F(PreparedRequestTest, SchemasThatCannotBeEnforcedAreNamed) {
  GenerateRequest request = Chat();
  ChatOf(request).tools =
      Json::parse(R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "not": {}}}}])");
  EXPECT_NO_THROW(preparer_.Prepare(request));  // nothing has to be enforced
  ChatOf(request).tool_choice.kind = ToolChoice::Kind::kRequired;
  try {
    preparer_.Prepare(request);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("not"), std::string::npos) << error.what();
  }
}

/// Mistral's tags are special tokens: they are text in a call that must be made, and nowhere else.
TEST(PreparedMistralRequest, SpecialTagsArePartOfACall) {
  const Model model =
      PromptModel(TokenizerJsonWith({}, {"[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "</s>"}),
                  "{% for m in messages %}[INST]{{ m.content }}[/INST]{% endfor %}{# [TOOL_CALLS]name[ARGS]{} #}");
  const text::Tokenizer tokenizer = text::Tokenizer::FromJson(model.tokenizer_json, "test");
  const PromptMaker prompts(model, &tokenizer, 10'000);
  RequestPreparer preparer(model, &tokenizer, prompts);
  GenerateRequest request;
  request.input = ChatInput{.messages = {{.role = "user", .content = "Hi"}}};
  auto& chat = std::get<ChatInput>(request.input);
  chat.tools = Json::parse(R"([{"type": "function", "function": {"name": "f"}}])");
  chat.tool_choice = {ToolChoice::Kind::kRequired, ""};
  const auto allowed = [&](TokenFilter& filter, int32_t token) {
    std::vector<uint32_t> words((static_cast<size_t>(tokenizer.vocab_size()) + 31) / 32);
    filter.Allowed(words);
    return (words[static_cast<size_t>(token) / 32] >> (token % 32) & 1u) != 0;
  };
  const auto prepared = preparer.Prepare(request);
  ASSERT_NE(prepared.request.filter, nullptr);
  TokenFilter& filter = *prepared.request.filter;
  AnswerStream stream(tokenizer, StreamOptionsOf(prepared, 0));
  AnswerPiece piece;
  EXPECT_FALSE(allowed(filter, *tokenizer.Find("[ARGS]")));
  EXPECT_FALSE(allowed(filter, 'f'));
  for (const int32_t token :
       tokenizer.Encode("[TOOL_CALLS]f[ARGS]{\"a\": 1}", {.add_special = false, .parse_special = true})) {
    ASSERT_TRUE(allowed(filter, token)) << token;
    filter.Accept(token);
    stream.Push({token}, &piece);
  }
  EXPECT_TRUE(filter.Complete());
  stream.Finish(&piece);
  ASSERT_EQ(piece.tool_calls.size(), 1u);
  EXPECT_EQ(piece.tool_calls[0].name, "f");
  EXPECT_EQ(piece.tool_calls[0].arguments, "{\"a\":1}");
  EXPECT_EQ(piece.content, "");
  // A form without calls: inside its strings the tags are no text.
  chat.tools = nullptr;
  chat.tool_choice = {};
  request.options.format = AnswerFormat{AnswerFormat::Kind::kJson, ""};
  const auto form = preparer.Prepare(request);
  for (const char c : std::string_view("{\"")) form.request.filter->Accept(static_cast<unsigned char>(c));
  EXPECT_TRUE(allowed(*form.request.filter, 'a'));
  EXPECT_FALSE(allowed(*form.request.filter, *tokenizer.Find("[ARGS]")));
}

}  // namespace
}  // namespace edgellm
