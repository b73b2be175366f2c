// Prompts: what templates see, what is dropped where a conversation does not fit, gaps, and errors with their numbers.
#include "serve/prompt.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "tests/serve/refusal.h"
#include "tests/serve/small_models.h"
#include "tests/shared_data.h"

namespace edgellm {
namespace {

using Json = nlohmann::ordered_json;

/// A maker of prompts over a template; ids 0 … 255 are bytes, so a token is a byte but for <|im_start|> and its like.
struct Maker {
  explicit Maker(std::string chat_template, int context = 100'000,
                 const std::vector<std::string>& special = {"<|im_start|>", "<|im_end|>"})
      : model(PromptModel(TokenizerJsonWith({}, special), std::move(chat_template))),
        tokenizer(text::Tokenizer::FromJson(model.tokenizer_json, "test")),
        prompts(model, &tokenizer, context) {}

  std::string Text(const GenerateRequest& request) const {
    return tokenizer.Decode(prompts.Make(request).tokens, /*spell_special=*/true);
  }

  Model model;
  text::Tokenizer tokenizer;
  PromptMaker prompts;
};

GenerateRequest Chat(std::vector<ChatMessage> messages) {
  GenerateRequest request;
  request.input = ChatInput{.messages = std::move(messages)};
  return request;
}

ChatInput& ChatOf(GenerateRequest& request) {
  return std::get<ChatInput>(request.input);
}

Json Weather() {
  return Json::parse(R"([{"type": "function", "function": {"name": "weather", "description": "now",
      "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}])");
}

TEST(Prompt, MessagesThroughATemplate) {
  const Maker maker(kThinkingToolTemplate);
  const GenerateRequest request =
      Chat({{.role = "system", .content = "Be kind."}, {.role = "user", .content = "Hi \xFF"}});
  EXPECT_EQ(
      maker.Text(request),
      "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi \xEF\xBF\xBD<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(maker.prompts.Render(request), maker.Text(request));
  const MadePrompt made = maker.prompts.Make(request);
  EXPECT_TRUE(made.stands_alone);
  EXPECT_EQ(made.thinking, Thinking::kMayOpen);
  EXPECT_EQ(made.facts.tokens, static_cast<int>(made.tokens.size()));
  EXPECT_EQ(made.facts.dropped_messages, 0);
  EXPECT_EQ(made.tokens.front(), *maker.tokenizer.Find("<|im_start|>"));
}

TEST(Prompt, ThinkingIsSwitched) {
  const Maker maker(kThinkingToolTemplate);
  GenerateRequest request = Chat({{.role = "user", .content = "Hi"}});
  ChatOf(request).think = false;
  EXPECT_TRUE(maker.Text(request).ends_with("assistant\n<think>\n\n</think>\n\n"));
  ChatOf(request).think = true;
  EXPECT_TRUE(maker.Text(request).ends_with("assistant\n"));
  const Maker plain("{% for m in messages %}{{ m.content }}{% endfor %}");
  const auto [code, what] = Refusal([&] { plain.prompts.Make(request); });
  EXPECT_EQ(code, ErrorCode::kUnsupported);
  EXPECT_EQ(what, "test does not support thinking");
  EXPECT_FALSE(plain.prompts.supports_thinking());
  EXPECT_FALSE(plain.prompts.supports_tools());
}

TEST(Prompt, ATemplateThatOpensThePartItself) {
  const Maker maker("{{ messages[0].content }}|<think>\n{# </think> #}");
  GenerateRequest request = Chat({{.role = "user", .content = "Hi"}});
  EXPECT_EQ(maker.prompts.Make(request).thinking, Thinking::kOpen);
  ChatOf(request).think = false;
  EXPECT_EQ(maker.prompts.Make(request).thinking, Thinking::kMayOpen);
  EXPECT_EQ(maker.Text(request), "Hi|<think>\n\n</think>\n\n");
}

TEST(Prompt, AnAnswerIsContinued) {
  const Maker maker(kThinkingToolTemplate);
  GenerateRequest request = Chat({{.role = "user", .content = "Say ab"}, {.role = "assistant", .content = "a b \n"}});
  EXPECT_TRUE(maker.Text(request).ends_with("<|im_start|>assistant\na b \n"));
  EXPECT_FALSE(maker.prompts.Make(request).stands_alone);
  EXPECT_EQ(maker.prompts.Make(request).thinking, Thinking::kNone);
  ChatOf(request).messages.back() = {.role = "assistant", .content = "<think>\nWell"};
  EXPECT_EQ(maker.prompts.Make(request).thinking, Thinking::kOpen);
  ChatOf(request).messages.back() = {.role = "assistant", .content = "", .thinking = "Well."};
  EXPECT_TRUE(maker.Text(request).ends_with("<|im_start|>assistant\n<think>\nWell.\n</think>\n\n"));
  // What says nothing is an answer that has not begun.
  ChatOf(request).messages.back() = {.role = "assistant", .content = ""};
  EXPECT_TRUE(maker.Text(request).ends_with("ab<|im_end|>\n<|im_start|>assistant\n"));
  EXPECT_TRUE(maker.prompts.Make(request).stands_alone);
  // A message with the very mark in it, and a template that trims.
  const Maker trims("{% for m in messages %}[{{ m.content | trim }}]{% endfor %}");
  ChatOf(request).messages.back() = {.role = "assistant", .content = "x\uE0F1 "};
  EXPECT_EQ(trims.Text(request), "[Say ab][x\uE0F1 ");
  const Maker hides("{{ messages[0].content }}");
  EXPECT_EQ(Refusal([&] { hides.prompts.Make(request); }).first, ErrorCode::kUnsupported);
}

TEST(Prompt, ToolsCallsAndResults) {
  const Maker maker(kThinkingToolTemplate);
  GenerateRequest request =
      Chat({{.role = "user", .content = "Weather?"},
            {.role = "assistant",
             .content = "",
             .tool_calls = {{.index = 0, .id = "c1", .name = "weather", .arguments = "{\"city\": \"Köln\"}"}}},
            {.role = "tool", .content = "rain", .tool_name = "weather", .tool_call_id = "c1"}});
  ChatOf(request).tools = Weather();
  const std::string text = maker.Text(request);
  EXPECT_NE(text.find("<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Köln\"}}\n</tool_call>"),
            std::string::npos)
      << text;
  EXPECT_TRUE(text.starts_with("<|im_start|>system\n{\"type\": \"function\", ")) << text;
  EXPECT_TRUE(text.ends_with("<|im_start|>tool\nrain<|im_end|>\n<|im_start|>assistant\n")) << text;
  EXPECT_EQ(maker.prompts.Make(request).family, constrain::ToolCallFamily::kTagged);
  ChatOf(request).tool_choice.kind = ToolChoice::Kind::kNone;
  EXPECT_TRUE(maker.Text(request).starts_with("<|im_start|>user")) << maker.Text(request);
}

TEST(Prompt, ArgumentsAsTextForTemplatesThatJoinThem) {
  const Maker maker(
      "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ 'call ' + c.function.arguments }}{% endfor %}{% "
      "endfor %}");
  GenerateRequest request =
      Chat({{.role = "assistant", .content = "", .tool_calls = {{.name = "f", .arguments = "{\"a\": 1}"}}},
            {.role = "tool", .content = "2"}});
  EXPECT_EQ(maker.Text(request), "call {\"a\":1}");
}

TEST(Prompt, ToolsThatMakeNoSense) {
  const Maker maker(kThinkingToolTemplate);
  GenerateRequest request = Chat({{.role = "user", .content = "Hi"}});
  const auto refusal = [&] { return Refusal([&] { maker.prompts.Make(request); }); };
  ChatOf(request).tools = Json::object();
  EXPECT_EQ(refusal().second, "tools must be a list");
  ChatOf(request).tools = Json::parse(R"([{"type": "function", "function": {}}])");
  EXPECT_EQ(refusal().second, "tools[0] must be a function with a name");
  ChatOf(request).tools = Weather();
  ChatOf(request).tool_choice = {ToolChoice::Kind::kNamed, "time"};
  EXPECT_EQ(refusal().second, "the function \"time\" that must be called is none of the tools");
  ChatOf(request).tools = nullptr;
  ChatOf(request).tool_choice = {ToolChoice::Kind::kRequired, ""};
  EXPECT_EQ(refusal().second, "a tool call is wanted, but there are no tools");
  ChatOf(request).tool_choice = {};
  ChatOf(request).messages.push_back(
      {.role = "assistant", .content = "", .tool_calls = {{.name = "f", .arguments = "[1]"}}});
  EXPECT_EQ(refusal().second, "the arguments of a call of f are no JSON object");
  const Maker plain("{% for m in messages %}{{ m.content }}{% endfor %}");
  request = Chat({{.role = "user", .content = "Hi"}});
  ChatOf(request).tools = Weather();
  const auto [code, what] = Refusal([&] { plain.prompts.Make(request); });
  EXPECT_EQ(code, ErrorCode::kUnsupported);
  EXPECT_EQ(what, "test does not support tools");
}

TEST(Prompt, AnotherTemplateAndBrokenOnes) {
  const Maker broken("{% if %}");
  GenerateRequest request = Chat({{.role = "user", .content = "Hi"}});
  EXPECT_EQ(Refusal([&] { broken.prompts.Make(request); }).first, ErrorCode::kCorrupt);
  EXPECT_EQ(Refusal([&] { broken.prompts.Make(request); }).first, ErrorCode::kCorrupt);
  ChatOf(request).chat_template = "<<{{ messages[0].content }}>>";
  EXPECT_EQ(broken.Text(request), "<<Hi>>");
  const Maker none("");
  ChatOf(request).chat_template.reset();
  EXPECT_EQ(Refusal([&] { none.prompts.Make(request); }).second, "test: the model has no chat template");
  EXPECT_EQ(Refusal([&] { none.prompts.Make(Chat({})); }).first, ErrorCode::kUnsupported);
  EXPECT_EQ(Refusal([&] { Maker(kThinkingToolTemplate).prompts.Make(Chat({})); }).second, "there are no messages");
}

/// A system message and turns of ten bytes and their frames.
GenerateRequest Long(int turns) {
  std::vector<ChatMessage> messages = {{.role = "system", .content = "Rules"}};
  for (int i = 0; i < turns; ++i) {
    messages.push_back({.role = "user", .content = "question " + std::to_string(i % 10)});
    messages.push_back({.role = "assistant", .content = "answer   " + std::to_string(i % 10)});
  }
  messages.push_back({.role = "user", .content = "The last one"});
  return Chat(std::move(messages));
}

TEST(Prompt, WhatDoesNotFitIsRefusedWithTheNumbers) {
  const Maker maker(kThinkingToolTemplate, 200);
  GenerateRequest request = Long(10);
  const auto [code, what] = Refusal([&] { maker.prompts.Make(request); });
  EXPECT_EQ(code, ErrorCode::kLimit);
  const size_t tokens = Maker(kThinkingToolTemplate).prompts.Make(request).tokens.size();
  EXPECT_EQ(what, "the prompt has " + std::to_string(tokens) +
                      " tokens, which leaves no room for an answer in a context of 200");
  // Room for one token is enough, and none is not.
  const int exact = static_cast<int>(tokens);
  EXPECT_EQ(Maker(kThinkingToolTemplate, exact + 1).prompts.Make(request).facts.dropped_tokens, 0);
  EXPECT_EQ(Refusal([&] { Maker(kThinkingToolTemplate, exact).prompts.Make(request); }).first, ErrorCode::kLimit);
}

TEST(Prompt, TruncationDropsWholeTurnsFromTheFront) {
  GenerateRequest request = Long(10);
  request.truncate = true;
  const auto whole = Maker(kThinkingToolTemplate).prompts.Make(request);
  EXPECT_EQ(whole.facts.dropped_messages, 0);
  const Maker maker(kThinkingToolTemplate, 300);
  const MadePrompt made = maker.prompts.Make(request);
  EXPECT_EQ(made.facts.dropped_messages % 2, 0);
  EXPECT_GT(made.facts.dropped_messages, 0);
  EXPECT_EQ(made.facts.dropped_tokens, static_cast<int>(whole.tokens.size() - made.tokens.size()));
  EXPECT_LE(made.tokens.size(), 225u);        // a quarter of the context is left
  EXPECT_GT(made.tokens.size(), 225u - 60u);  // and no turn more than that goes
  const std::string text = maker.Text(request);
  EXPECT_TRUE(text.starts_with("<|im_start|>system\nRules<|im_end|>\n<|im_start|>user\nquestion "));
  EXPECT_TRUE(text.ends_with("The last one<|im_end|>\n<|im_start|>assistant\n"));
  // With a short answer less must go.
  request.options.max_tokens = 10;
  EXPECT_LT(maker.prompts.Make(request).facts.dropped_messages, made.facts.dropped_messages);
}

TEST(Prompt, TruncationNeverDropsTheLastOrTheSystem) {
  GenerateRequest request = Long(3);
  request.truncate = true;
  const Maker maker(kThinkingToolTemplate, 60);
  EXPECT_EQ(maker.Text(request),
            "<|im_start|>system\nRules<|im_end|>\n<|im_start|>user\nThe last one<|im_end|>\n<|im_start|>assistant\n");
  const auto [code, what] = Refusal([&] { Maker(kThinkingToolTemplate, 40).prompts.Make(request); });
  EXPECT_EQ(code, ErrorCode::kLimit);
  EXPECT_NE(what.find("in a context of 40"), std::string::npos) << what;
  // Within the last turn, calls go before the last result; a result does not stay without its call.
  std::vector<ChatMessage> messages = {{.role = "user", .content = "Do it"}};
  for (int i = 0; i < 4; ++i) {
    messages.push_back({.role = "assistant", .content = "", .tool_calls = {{.name = "f", .arguments = "{}"}}});
    messages.push_back({.role = "tool", .content = "result " + std::to_string(i)});
  }
  request = Chat(messages);
  request.truncate = true;
  const Maker small(kThinkingToolTemplate, 160);
  const MadePrompt made = small.prompts.Make(request);
  EXPECT_EQ(made.facts.dropped_messages % 2, 1);
  EXPECT_TRUE(small.Text(request).starts_with("<|im_start|>assistant")) << small.Text(request);
}

TEST(Prompt, TextAndIds) {
  const Maker maker("", 20);
  GenerateRequest request;
  request.input = TextInput{.text = "a<|im_end|>"};
  EXPECT_EQ(maker.prompts.Make(request).tokens, (std::vector<int32_t>{'a', *maker.tokenizer.Find("<|im_end|>")}));
  request.input = TextInput{.text = "a<|im_end|>", .special_tokens = false};
  EXPECT_EQ(maker.prompts.Make(request).tokens.size(), 11u);
  EXPECT_FALSE(maker.prompts.Make(request).stands_alone);
  request.input = TextInput{.text = "abcdefghijklmnopqrstuvwxyz"};
  EXPECT_EQ(Refusal([&] { maker.prompts.Make(request); }).first, ErrorCode::kLimit);
  request.truncate = true;
  EXPECT_EQ(maker.Text(request), "lmnopqrstuvwxyz");
  EXPECT_EQ(maker.prompts.Make(request).facts.dropped_tokens, 11);
  request.input = TokenInput{{1, 2, 3}};
  EXPECT_EQ(maker.prompts.Make(request).tokens, (std::vector<int32_t>{1, 2, 3}));
  request.input = TokenInput{{1, 512}};
  EXPECT_EQ(Refusal([&] { maker.prompts.Make(request); }).second,
            "the prompt has the token id 512, and the vocabulary 512 tokens");
  request.input = TokenInput{};
  EXPECT_EQ(Refusal([&] { maker.prompts.Make(request); }).second, "the prompt is empty");
}

TEST(Prompt, GapsAreFilledWhereTheVocabularyCan) {
  GenerateRequest request;
  request.input = TextInput{.text = "int f() {", .suffix = "}"};
  EXPECT_EQ(Refusal([&] { Maker("").prompts.Make(request); }).first, ErrorCode::kUnsupported);
  const Maker qwen("", 50, {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|endoftext|>"});
  EXPECT_EQ(qwen.Text(request), "<|fim_prefix|>int f() {<|fim_suffix|>}<|fim_middle|>");
  EXPECT_EQ(qwen.prompts.Render(request), qwen.Text(request));
  EXPECT_EQ(qwen.prompts.Make(request).stop_tokens, (std::vector<int32_t>{*qwen.tokenizer.Find("<|endoftext|>")}));
  const Maker deepseek("", 50, {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"});
  EXPECT_EQ(deepseek.Text(request), "<｜fim▁begin｜>int f() {<｜fim▁hole｜>}<｜fim▁end｜>");
  // Only what stands before the gap is cut.
  request.input = TextInput{.text = std::string(100, 'x') + "int f() {", .suffix = "}"};
  request.truncate = true;
  EXPECT_TRUE(qwen.Text(request).starts_with("<|fim_prefix|>xxx"));
  EXPECT_TRUE(qwen.Text(request).ends_with("int f() {<|fim_suffix|>}<|fim_middle|>"));
  request.input = TextInput{.text = "x", .suffix = std::string(100, 'y')};
  EXPECT_EQ(Refusal([&] { qwen.prompts.Make(request); }).first, ErrorCode::kLimit);
}

// Templates of well-known models, as their publishers ship them.
class RealTemplates : public ::testing::Test {
 protected:
  void SetUp() override { SKIP_WITHOUT_SHARED_DATA(); }
  static Maker Of(const std::string& name) {
    return Maker(ReadFile(SharedData() / "chat_templates" / (name + ".jinja")));
  }
};

TEST_F(RealTemplates, ThinkingAndTools) {
  const std::vector<std::tuple<const char*, bool, bool>> expected = {
      {"Qwen-Qwen3-0.6B", true, true},
      {"Qwen-Qwen2.5-7B-Instruct", false, true},
      {"HuggingFaceTB-SmolLM3-3B", true, false},
      {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", true, false},
      {"meta-llama-Llama-3.2-3B-Instruct", false, true},
      {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use", false, true},
      {"google-gemma-2-2b-it", false, false},
  };
  for (const auto& [name, thinks, tools] : expected) {
    const Maker maker = Of(name);
    EXPECT_EQ(maker.prompts.supports_thinking(), thinks) << name;
    EXPECT_EQ(maker.prompts.supports_tools(), tools) << name;
  }
}

TEST_F(RealTemplates, MistralsIdsHaveNineLetters) {
  const Maker maker = Of("mistralai-Mistral-Nemo-Instruct-2407");
  EXPECT_TRUE(maker.prompts.supports_tools());
  constrain::ToolCall first{.name = "weather", .arguments = "{\"city\": \"Bonn\"}"}, second = first;
  second.name = "time";
  second.arguments = "{}";
  const auto ask = [&](const std::string& id, const std::string& other) {
    first.id = id;
    second.id = other;
    GenerateRequest request = Chat({{.role = "user", .content = "Weather?"},
                                    {.role = "assistant", .content = "", .tool_calls = {first, second}},
                                    {.role = "tool", .content = "rain", .tool_call_id = id},
                                    {.role = "tool", .content = "noon", .tool_call_id = other}});
    ChatOf(request).tools = Weather();
    return maker.Text(request);
  };
  // Of the result with that content.
  const auto id_of = [](const std::string& text, const std::string& content) {
    const std::string before = "[TOOL_RESULTS]{\"content\": " + content + ", \"call_id\": \"";
    const size_t at = text.find(before);
    EXPECT_NE(at, std::string::npos) << text;
    return text.substr(at + before.size(), 9);
  };
  const std::string kept = ask("a1B2c3D4e", "abcdefghi");
  EXPECT_EQ(id_of(kept, "rain"), "a1B2c3D4e");
  EXPECT_NE(
      kept.find("[TOOL_CALLS][{\"name\": \"weather\", \"arguments\": {\"city\": \"Bonn\"}, \"id\": \"a1B2c3D4e\"}, "
                "{\"name\": \"time\", \"arguments\": {}, \"id\": \"abcdefghi\"}]"),
      std::string::npos)
      << kept;
  // Of other lengths, and of clients that name none: results are still told to belong to their calls.
  for (const std::string& text : {ask("call_0123456789abcdefghijklmn", "x"), ask("", "")}) {
    const std::string rain = id_of(text, "rain"), noon = id_of(text, "noon");
    EXPECT_NE(rain, noon);
    EXPECT_NE(text.find("{\"city\": \"Bonn\"}, \"id\": \"" + rain + "\"}"), std::string::npos) << text;
    EXPECT_NE(text.find("\"arguments\": {}, \"id\": \"" + noon + "\"}"), std::string::npos) << text;
  }
  EXPECT_EQ(ask("x", "y"), ask("x", "y"));
}

TEST_F(RealTemplates, Qwen3ContinuesAndThinks) {
  const Maker maker = Of("Qwen-Qwen3-0.6B");
  GenerateRequest request = Chat({{.role = "user", .content = "Hi"}, {.role = "assistant", .content = "Hello, "}});
  EXPECT_TRUE(maker.Text(request).ends_with("<think>\n\n</think>\n\nHello, ")) << maker.Text(request);
  ChatOf(request).messages.back().thinking = "Greet.";
  EXPECT_TRUE(maker.Text(request).ends_with("<think>\nGreet.\n</think>\n\nHello, ")) << maker.Text(request);
  request = Chat({{.role = "user", .content = "Hi"}});
  EXPECT_EQ(maker.prompts.Make(request).thinking, Thinking::kMayOpen);
  ChatOf(request).think = false;
  EXPECT_TRUE(maker.Text(request).ends_with("<think>\n\n</think>\n\n"));
}

TEST_F(RealTemplates, DeepSeekBeginsInsideAThinkingPart) {
  const Maker maker = Of("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B");
  GenerateRequest request = Chat({{.role = "user", .content = "Hi"}});
  ChatOf(request).think = true;
  EXPECT_TRUE(maker.Text(request).ends_with("<think>\n"));
  EXPECT_EQ(maker.prompts.Make(request).thinking, Thinking::kOpen);
  ChatOf(request).think = false;
  EXPECT_TRUE(maker.Text(request).ends_with("<think>\n</think>"));
  EXPECT_NE(maker.prompts.Make(request).thinking, Thinking::kOpen);
  // A message that only calls tools has no content there, and so no turn of its own.
  request = Chat({{.role = "user", .content = "Hi"},
                  {.role = "assistant", .content = "", .tool_calls = {{.name = "f", .arguments = "{}"}}},
                  {.role = "tool", .content = "2"}});
  EXPECT_EQ(maker.Text(request).find("<｜Assistant｜><｜end▁of▁sentence｜>"), std::string::npos) << maker.Text(request);
}

TEST_F(RealTemplates, Llama3CallsAndGemmasRefusal) {
  const Maker llama = Of("meta-llama-Llama-3.2-3B-Instruct");
  GenerateRequest request =
      Chat({{.role = "user", .content = "Weather?"},
            {.role = "assistant", .content = "", .tool_calls = {{.name = "weather", .arguments = "{}"}}},
            {.role = "tool", .content = "rain"}});
  ChatOf(request).tools = Weather();
  EXPECT_NE(llama.Text(request).find("{\"name\": \"weather\", \"parameters\": {}}<|eot_id|>"), std::string::npos);
  EXPECT_EQ(llama.prompts.Make(request).family, constrain::ToolCallFamily::kLlama3);
  const Maker gemma = Of("google-gemma-2-2b-it");
  request = Chat({{.role = "system", .content = "Be kind."}, {.role = "user", .content = "Hi"}});
  const auto [code, what] = Refusal([&] { gemma.prompts.Make(request); });
  EXPECT_EQ(code, ErrorCode::kInvalidArgument);
  EXPECT_NE(what.find("System role not supported"), std::string::npos) << what;
}

TEST_F(RealTemplates, TruncatedConversationsStillAlternate) {
  for (const char* name : {"google-gemma-2-2b-it", "mistralai-Mistral-Nemo-Instruct-2407"}) {
    Model model = PromptModel(TokenizerJsonWith({}, {}),
                              ReadFile(SharedData() / "chat_templates" / (std::string(name) + ".jinja")));
    const text::Tokenizer tokenizer = text::Tokenizer::FromJson(model.tokenizer_json, "test");
    const PromptMaker prompts(model, &tokenizer, 400);
    GenerateRequest request = Long(12);
    ChatOf(request).messages.erase(ChatOf(request).messages.begin());
    request.truncate = true;
    MadePrompt made;
    ASSERT_NO_THROW(made = prompts.Make(request)) << name;
    EXPECT_GT(made.facts.dropped_messages, 0);
  }
}

}  // namespace
}  // namespace edgellm
