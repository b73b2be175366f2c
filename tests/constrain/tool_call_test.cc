// Tool calls: which template has which form, reading them from streams cut anywhere, and grammars that leave no choice
// but a call.
#include <algorithm>
#include <cctype>
#include <random>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/utf8.h"
#include "constrain/tool_call_parser.h"
#include "constrain/tool_calls.h"
#include "tests/constrain/matching.h"
#include "tests/shared_data.h"
#include "text/chat_template.h"

namespace edgellm::constrain {
namespace {

using Json = nlohmann::ordered_json;

struct Read {
  std::string content;
  std::vector<std::pair<std::string, std::string>> calls;  // name, arguments
  std::vector<std::string> ids;
  bool operator==(const Read&) const = default;
};

void PrintTo(const Read& read, std::ostream* out) {
  *out << "'" << read.content << "'";
  for (const auto& [name, arguments] : read.calls) *out << " " << name << arguments;
}

void Add(Read* read, const ToolCallOutput& output) {
  read->content += output.content;
  for (const ToolCall& call : output.calls) {
    EXPECT_EQ(call.index, static_cast<int>(read->calls.size()));
    read->calls.emplace_back(call.name, call.arguments);
    read->ids.push_back(call.id);
  }
}

Read Parse(ToolCallFamily family, const std::vector<std::string>& pieces, const ToolCallOptions& options = {}) {
  ToolCallParser parser(family, options);
  Read read;
  for (const auto& piece : pieces) Add(&read, parser.Push(piece));
  Add(&read, parser.Finish());
  EXPECT_EQ(parser.calls(), static_cast<int>(read.calls.size()));
  return read;
}

/// Whole, character by character, and cut at random: the same must come out.
Read ParseEveryWay(ToolCallFamily family, const std::string& text, const ToolCallOptions& options = {}) {
  const Read whole = Parse(family, {text}, options);
  std::vector<std::string> characters;
  for (std::string_view rest = text; !rest.empty();) {
    const auto length = static_cast<size_t>(utf8::Decode(rest).length);
    characters.emplace_back(rest.substr(0, length));
    rest.remove_prefix(length);
  }
  EXPECT_EQ(Parse(family, characters, options), whole) << text;
  std::mt19937 random(static_cast<unsigned>(text.size()));
  for (int round = 0; round < 20; ++round) {
    std::vector<std::string> pieces = {""};
    for (const auto& character : characters) {
      pieces.back() += character;
      if (random() % 4 == 0) pieces.emplace_back();
    }
    EXPECT_EQ(Parse(family, pieces, options), whole) << text;
  }
  return whole;
}

TEST(ToolCalls, FamiliesOfRealTemplates) {
  SKIP_WITHOUT_SHARED_DATA();
  const std::vector<std::pair<const char*, ToolCallFamily>> expected = {
      {"Qwen-Qwen2.5-7B-Instruct", ToolCallFamily::kTagged},
      {"Qwen-Qwen3-0.6B", ToolCallFamily::kTagged},
      {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use", ToolCallFamily::kTagged},
      {"HuggingFaceTB-SmolLM3-3B", ToolCallFamily::kNone},
      {"meta-llama-Llama-3.1-8B-Instruct", ToolCallFamily::kLlama3},
      {"meta-llama-Llama-3.2-3B-Instruct", ToolCallFamily::kLlama3},
      {"google-gemma-2-2b-it", ToolCallFamily::kNone},
      {"microsoft-Phi-3.5-mini-instruct", ToolCallFamily::kNone},
      {"mistralai-Mistral-Nemo-Instruct-2407", ToolCallFamily::kMistralList},
      {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", ToolCallFamily::kNone}};
  for (const auto& [name, family] : expected) {
    const auto path = SharedData() / "chat_templates" / (std::string(name) + ".jinja");
    EXPECT_EQ(DetectToolCallFamily(ReadFile(path)), family) << name;
  }
}

TEST(ToolCalls, WhatATemplateWritesIsReadBack) {
  SKIP_WITHOUT_SHARED_DATA();
  const Json arguments = {{"city", "K\u00f6ln"}, {"days", 3}, {"units", {"C", "%"}}};
  for (const char* name : {"Qwen-Qwen2.5-7B-Instruct", "Qwen-Qwen3-0.6B", "NousResearch-Hermes-3-Llama-3.1-8B-tool_use",
                           "meta-llama-Llama-3.1-8B-Instruct", "mistralai-Mistral-Nemo-Instruct-2407"}) {
    const std::string source = ReadFile(SharedData() / "chat_templates" / (std::string(name) + ".jinja"));
    const text::ChatTemplate chat(source, name);
    const Json function = {{"name", "weather"}, {"arguments", arguments}};
    Json context = {{"messages",
                     {{{"role", "user"}, {"content", "?"}},
                      {{"role", "assistant"},
                       {"content", ""},
                       {"tool_calls", {{{"type", "function"}, {"id", "a1B2c3D4e"}, {"function", function}}}}}}},
                    {"tools",
                     {{{"type", "function"},
                       {"function",
                        {{"name", "weather"},
                         {"description", "d"},
                         {"parameters", {{"type", "object"}, {"properties", Json::object()}}}}}}}},
                    {"bos_token", ""},
                    {"eos_token", ""},
                    {"add_generation_prompt", false}};
    const std::string text = chat.Render(context, 0);
    const bool mistral = IsMistral(DetectToolCallFamily(source));
    const std::string_view before = mistral ? "[/INST]" : "assistant";
    std::string answer = text.substr(text.rfind(before) + before.size());
    for (const char* around : {"<|end_header_id|>", "<|eot_id|>", "<|im_end|>", "<think>\n\n</think>"}) {
      if (const size_t at = answer.find(around); at != std::string::npos) answer.erase(at, std::string(around).size());
    }
    const Read read = ParseEveryWay(DetectToolCallFamily(source), answer);
    ASSERT_EQ(read.calls.size(), 1u) << name << ": " << answer;
    EXPECT_EQ(read.calls[0].first, "weather");
    EXPECT_EQ(Json::parse(read.calls[0].second), arguments);
    EXPECT_EQ(read.content.find_first_not_of(" \n"), std::string::npos) << name << ": '" << read.content << "'";
  }
}

TEST(TaggedCalls, ContentAndSeveralCalls) {
  const Read read = ParseEveryWay(ToolCallFamily::kTagged,
                                  "Let me look, \u00e9.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": "
                                  "\"\u4e2d </tool_call> } \\\" \"}}\n</tool_call>\n"
                                  "<tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call>\n");
  EXPECT_EQ(read.content, "Let me look, \u00e9.");
  EXPECT_EQ(read.calls, (std::vector<std::pair<std::string, std::string>>{
                            {"f", "{\"a\":\"\u4e2d </tool_call> } \\\" \"}"}, {"g", "{}"}}));
  EXPECT_NE(read.ids[0], read.ids[1]);
  EXPECT_EQ(read.ids[0].size(), 29u);
  EXPECT_TRUE(read.ids[0].starts_with("call_"));
}

TEST(TaggedCalls, FormsThatModelsWrite) {
  const auto call = [](const std::string& inside) {
    return ParseEveryWay(ToolCallFamily::kTagged, "<tool_call>" + inside + "</tool_call>");
  };
  EXPECT_EQ(call(R"({"name": "f", "parameters": {"a": 1}})").calls.at(0).second, R"({"a":1})");
  EXPECT_EQ(call(R"({"arguments": {"a": 1}, "name": "f"})").calls.at(0).first, "f");
  EXPECT_EQ(call(R"({"name": "f", "arguments": "{\"a\": 1}"})").calls.at(0).second, R"({"a":1})");
  EXPECT_EQ(call(R"({"name": "f"})").calls.at(0).second, "{}");
  // The closing tag may be missing, or more text may follow.
  EXPECT_EQ(ParseEveryWay(ToolCallFamily::kTagged, R"(<tool_call>{"name": "f", "arguments": {}})").calls.size(), 1u);
  const Read more =
      ParseEveryWay(ToolCallFamily::kTagged, R"(<tool_call>{"name": "f", "arguments": {}}</tool_call> and so on <)");
  EXPECT_EQ(more.content, " and so on <");
  EXPECT_EQ(more.calls.size(), 1u);
}

TEST(TaggedCalls, WhatIsNoCallIsContentToTheByte) {
  for (const std::string text :
       {"plain text", "a < b and <tool", "<tool_call", "<tool_call>", "<tool_call>\nno json\n</tool_call>",
        "  <tool_call> {\"name\": ", "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": }}</tool_call> tail",
        "<tool_call>{\"name\": 3, \"arguments\": {}}</tool_call>", "<tool_call>{\"nom\": \"f\"}</tool_call>",
        "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>\n", "<tool_call>[]</tool_call>",
        "<tool_call>{\"name\": \"f\", \"arguments\": {</tool_call>", "<tool_call>{\"name\": \"unfinished", "text \n \n",
        "", "<tool_call>{]}</tool_call>", "<tool_call>{\"name\": \"f\", \"arguments\": \"{\"}</tool_call>"}) {
    const Read read = ParseEveryWay(ToolCallFamily::kTagged, text);
    EXPECT_EQ(read.content, text);
    EXPECT_TRUE(read.calls.empty()) << text;
  }
  EXPECT_EQ(
      ParseEveryWay(ToolCallFamily::kNone, R"(<tool_call>{"name": "f", "arguments": {}}</tool_call>)").calls.size(),
      0u);
}

TEST(TaggedCalls, ACallAfterABrokenOneIsFound) {
  const Read read = ParseEveryWay(
      ToolCallFamily::kTagged,
      R"(<tool_call>{"name": "f", "arguments": {"a": }}</tool_call><tool_call>{"name": "g", "arguments": {}}</tool_call>)");
  ASSERT_EQ(read.calls.size(), 1u);
  EXPECT_EQ(read.calls[0].first, "g");
  EXPECT_EQ(read.content, R"(<tool_call>{"name": "f", "arguments": {"a": }}</tool_call>)");
}

TEST(TaggedCalls, ACloseTagAfterUnbalancedQuotesEndsTheObject) {
  const Read read = ParseEveryWay(
      ToolCallFamily::kTagged,
      "<tool_call>{\"name\": \"f\"\"\"a\": {\"b\": \"</tool_call>\"}}\n</tool_call>\n<tool_call>{\"name\": "
      "\"g\"}</tool_call>");
  ASSERT_EQ(read.calls.size(), 1u);
  EXPECT_EQ(read.content, "<tool_call>{\"name\": \"f\"\"\"a\": {\"b\": \"</tool_call>\"}}\n</tool_call>");
}

TEST(TaggedCalls, OnlyFunctionsOnOffer) {
  const std::string text = R"(<tool_call>{"name": "f", "arguments": {}}</tool_call>)";
  EXPECT_EQ(Parse(ToolCallFamily::kTagged, {text}, {.names = {"f", "g"}}).calls.size(), 1u);
  const Read read = ParseEveryWay(ToolCallFamily::kTagged, text, {.names = {"g"}});
  EXPECT_TRUE(read.calls.empty());
  EXPECT_EQ(read.content, text);
}

TEST(TaggedCalls, ContentIsNotHeldLongerThanItMustBe) {
  ToolCallParser parser(ToolCallFamily::kTagged, {});
  EXPECT_EQ(parser.Push("Hello").content, "Hello");
  EXPECT_EQ(parser.Push(" <").content, "");
  EXPECT_EQ(parser.Push("b> <tool").content, " <b>");
  EXPECT_EQ(parser.Push("s>").content, " <tools>");
}

TEST(Llama3Calls, TheWholeAnswerIsTheCall) {
  const auto parse = [](const std::string& text) { return ParseEveryWay(ToolCallFamily::kLlama3, text); };
  const std::string call = R"({"name": "f", "parameters": {"a": "é}"}})";
  for (const std::string& text :
       {call, "\n\n" + call, "<|python_tag|>" + call, call + "\n", " <|python_tag|> " + call}) {
    const Read read = parse(text);
    ASSERT_EQ(read.calls.size(), 1u) << text;
    EXPECT_EQ(read.calls[0], (std::pair<std::string, std::string>("f", R"({"a":"é}"})")));
    EXPECT_EQ(read.content, "") << text;
  }
  EXPECT_EQ(parse(call + "; " + call + "\n" + call).calls.size(), 3u);
  for (const std::string& text :
       {std::string("Sure: ") + call, std::string("{\"answer\": 42}"), std::string(R"({"name": "Bob", "age": 3})"),
        std::string("<|python_tag|>print(1)"), std::string("<|python"), std::string("{"), std::string("  "),
        std::string("{}"), std::string(R"({"name": "f", "parameters": "x"})"), std::string("")}) {
    const Read read = parse(text);
    EXPECT_EQ(read.content, text);
    EXPECT_TRUE(read.calls.empty()) << text;
  }
}

TEST(MistralCalls, ListsOfCalls) {
  const auto parse = [](const std::string& text) { return ParseEveryWay(ToolCallFamily::kMistralList, text); };
  const std::string f = R"({"name": "f", "arguments": {"a": "[TOOL_CALLS] ] \""}})", g = R"({"name": "g"})";
  for (const std::string& text :
       {"[TOOL_CALLS] [" + f + "]", "[TOOL_CALLS][" + f + "]\n", "[TOOL_CALLS]\n[ " + f + " ] "}) {
    const Read read = parse(text);
    ASSERT_EQ(read.calls.size(), 1u) << text;
    EXPECT_EQ(read.calls[0], (std::pair<std::string, std::string>("f", R"({"a":"[TOOL_CALLS] ] \""})")));
    EXPECT_EQ(read.content, "") << text;
    ASSERT_EQ(read.ids[0].size(), 9u);  // what Mistral's templates take back
    EXPECT_TRUE(std::all_of(read.ids[0].begin(), read.ids[0].end(), [](unsigned char c) { return std::isalnum(c); }));
  }
  const Read two = parse("Let me look.\n[TOOL_CALLS] [" + f + ", " + g + "] and so on");
  EXPECT_EQ(two.content, "Let me look. and so on");
  ASSERT_EQ(two.calls.size(), 2u);
  EXPECT_EQ(two.calls[1], (std::pair<std::string, std::string>("g", "{}")));
  EXPECT_NE(two.ids[0], two.ids[1]);
  // The bracket at the end may be missing; a list goes on until an element is none.
  EXPECT_EQ(parse("[TOOL_CALLS][" + f).calls.size(), 1u);
  const Read broken = parse("[TOOL_CALLS][" + f + ", {\"name\": 3}]");
  EXPECT_EQ(broken.calls.size(), 1u);
  EXPECT_EQ(broken.content, ", {\"name\": 3}]");
}

TEST(MistralCalls, NamesWithArguments) {
  const auto parse = [](const std::string& text) { return ParseEveryWay(ToolCallFamily::kMistralNamed, text); };
  const Read read =
      parse("Well.[TOOL_CALLS]get_weather[ARGS]{\"city\": \"K\u00f6ln\"}[TOOL_CALLS]now[CALL_ID]a1B2c3D4e[ARGS]{}");
  EXPECT_EQ(read.content, "Well.");
  EXPECT_EQ(read.calls, (std::vector<std::pair<std::string, std::string>>{{"get_weather", "{\"city\":\"K\u00f6ln\"}"},
                                                                          {"now", "{}"}}));
  EXPECT_EQ(parse("[TOOL_CALLS] f [ARGS]{}").calls.size(), 0u);
  EXPECT_EQ(parse("[TOOL_CALLS] f[ARGS] {\"name\": \"g\"}\n").calls.at(0).second, R"({"name":"g"})");
  // The older form is read too: which one a model writes is up to its training.
  EXPECT_EQ(parse(R"([TOOL_CALLS] [{"name": "f", "arguments": {}}])").calls.size(), 1u);
  const Read after = parse(R"([TOOL_CALLS]f[ARGS]{"a": [TOOL_CALLS]g[ARGS]{})");
  ASSERT_EQ(after.calls.size(), 1u);
  EXPECT_EQ(after.calls[0].first, "g");
  EXPECT_EQ(after.content, R"([TOOL_CALLS]f[ARGS]{"a":)"
                           " ");
}

TEST(MistralCalls, WhatIsNoCallIsContentToTheByte) {
  for (const auto family : {ToolCallFamily::kMistralList, ToolCallFamily::kMistralNamed}) {
    for (const std::string text : {"plain [text]",
                                   "[TOOL",
                                   "[TOOL_CALLS]",
                                   "[TOOL_CALLS] ",
                                   "[TOOL_CALLS] [",
                                   "[TOOL_CALLS] []",
                                   "[TOOL_CALLS][1]",
                                   "[TOOL_CALLS] [{\"name\": ",
                                   "[TOOL_CALLS]f",
                                   "[TOOL_CALLS]f[ARGS",
                                   "[TOOL_CALLS]f[ARGS]",
                                   "[TOOL_CALLS]f[ARGS]{",
                                   "[TOOL_CALLS]f[ARGS][1]",
                                   "[TOOL_CALLS]f[ARGS]{\"a\": }",
                                   "[TOOL_CALLS]f[CALL_ID]x",
                                   "[TOOL_CALLS]f[CALL_ID]x{}",
                                   "[TOOL_CALLS][TOOL_CALLS]",
                                   "[TOOL_CALLS]two words[ARGS]{}",
                                   "[TOOL_CALLS]{}",
                                   "[ARGS]{}",
                                   "x [T",
                                   "[TOOL_CALLS] [T",
                                   "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": 3}]"}) {
      const Read read = ParseEveryWay(family, text);
      EXPECT_EQ(read.content, text);
      EXPECT_TRUE(read.calls.empty()) << text;
    }
    const std::string text = "[TOOL_CALLS]" + std::string(300, 'f') + "[ARGS]{}";
    EXPECT_EQ(ParseEveryWay(family, text).content, text);
  }
  const Read offered = ParseEveryWay(ToolCallFamily::kMistralNamed, "[TOOL_CALLS]f[ARGS]{}", {.names = {"g"}});
  EXPECT_TRUE(offered.calls.empty());
}

RC_GTEST_PROP(ToolCalls, NoByteIsLostAndCutsDoNotMatter, ()) {
  std::mt19937 random(*rc::gen::arbitrary<unsigned>());
  static const std::vector<std::string> kParts = {"<tool_call>",
                                                  "</tool_call>",
                                                  "{\"name\": \"f\", \"arguments\": {\"a\": [1]}}",
                                                  "{\"name\": ",
                                                  "{",
                                                  "}",
                                                  "\"",
                                                  "\\",
                                                  "\n",
                                                  " ",
                                                  "text",
                                                  "<",
                                                  "\u00e9",
                                                  ";",
                                                  "<|python_tag|>",
                                                  "{\"name\": \"f\", \"parameters\": {}}",
                                                  "[TOOL_CALLS]",
                                                  "[",
                                                  "]",
                                                  ",",
                                                  "f[ARGS]",
                                                  "[CALL_ID]",
                                                  "[T",
                                                  "f"};
  std::string text;
  for (unsigned i = random() % 12; i > 0; --i) text += kParts[random() % kParts.size()];
  static constexpr ToolCallFamily kFamilies[] = {ToolCallFamily::kTagged, ToolCallFamily::kLlama3,
                                                 ToolCallFamily::kMistralList, ToolCallFamily::kMistralNamed};
  const auto family = kFamilies[random() % 4];
  const Read read = ParseEveryWay(family, text);
  RC_ASSERT(!testing::Test::HasFailure());
  if (read.calls.empty()) RC_ASSERT(read.content == text);
}

TEST(ToolCallGrammar, LeavesNothingButACall) {
  const std::vector<ToolFunction> functions = {
      {"weather",
       Json::parse(
           R"({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}}, "required": ["city"]})")},
      {"now", nullptr}};
  Language tagged(ToolCallGrammar(ToolCallFamily::kTagged, functions, 2));
  const std::string weather =
      "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Bonn\", \"days\": 3}}\n</tool_call>";
  const std::string now = "<tool_call>\n{\"name\":\"now\",\"arguments\":{}}\n</tool_call>";
  for (const std::string& text : {weather, now, weather + "\n" + now}) {
    EXPECT_TRUE(tagged.Takes(text)) << text;
    EXPECT_FALSE(Parse(ToolCallFamily::kTagged, {text}).calls.empty());
  }
  for (const std::string& text :
       {std::string("Sure"), weather + "\n" + now + "\n" + now, std::string("<tool_call>\n{\"name\": \"other\""),
        std::string("<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"days\"")}) {
    EXPECT_FALSE(tagged.Takes(text)) << text;
  }
  EXPECT_FALSE(tagged.Begins("<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"days\""));
  Language llama(ToolCallGrammar(ToolCallFamily::kLlama3, functions));
  EXPECT_TRUE(llama.Takes(R"({"name": "weather", "parameters": {"city": "Bonn"}})"));
  EXPECT_FALSE(llama.Begins(R"({"name": "weather", "arguments")"));
  Language list(ToolCallGrammar(ToolCallFamily::kMistralList, functions, 2));
  const std::string bonn = R"({"name": "weather", "arguments": {"city": "Bonn"}})",
                    then = R"({"name": "now", "arguments": {}})";
  EXPECT_TRUE(list.Takes("[TOOL_CALLS] [" + bonn + "]"));
  EXPECT_TRUE(list.Takes("[TOOL_CALLS][" + bonn + ", " + then + "]"));
  EXPECT_FALSE(list.Takes("[TOOL_CALLS][" + bonn + ", " + then + ", " + then + "]"));
  EXPECT_FALSE(list.Begins("[TOOL_CALLS][]"));
  EXPECT_FALSE(list.Begins("[TOOL_CALLS]now"));
  Language named(ToolCallGrammar(ToolCallFamily::kMistralNamed, functions, 2));
  EXPECT_TRUE(named.Takes("[TOOL_CALLS]now[ARGS]{}"));
  EXPECT_TRUE(named.Takes("[TOOL_CALLS]weather[CALL_ID]a1B2c3D4e[ARGS]{\"city\": \"Bonn\"}[TOOL_CALLS]now[ARGS]{}"));
  EXPECT_FALSE(named.Takes("[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]now[ARGS]{}"));
  EXPECT_FALSE(named.Begins("[TOOL_CALLS]weather[ARGS]{\"days\""));
  EXPECT_FALSE(named.Begins("[TOOL_CALLS]other"));
}

TEST(ToolCallGrammar, WhateverItMakesIsRead) {
  const std::vector<ToolFunction> functions = {
      {"f",
       Json::parse(R"({"properties": {"x": {"enum": ["é", "\"", 3]}, "y": {"type": "boolean"}}, "required": ["x"]})")}};
  std::mt19937 random(5);
  for (const auto family : {ToolCallFamily::kTagged, ToolCallFamily::kLlama3, ToolCallFamily::kMistralList,
                            ToolCallFamily::kMistralNamed}) {
    Language language(ToolCallGrammar(family, functions));
    for (int i = 0; i < 50; ++i) {
      const std::string text = language.Random(random, 2000);
      if (text.empty()) continue;
      const Read read = Parse(family, {text});
      ASSERT_EQ(read.calls.size(), 1u) << text;
      EXPECT_EQ(read.content, "");
      EXPECT_TRUE(Json::parse(read.calls[0].second).contains("x"));
    }
  }
}

TEST(ToolCallGrammar, RefusesWhatItCannotPromise) {
  const auto code = [](ToolCallFamily family, const std::vector<ToolFunction>& functions) {
    try {
      ToolCallGrammar(family, functions);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kIo;
  };
  EXPECT_EQ(code(ToolCallFamily::kTagged, {}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(ToolCallFamily::kNone, {{"f", nullptr}}), ErrorCode::kUnsupported);
  EXPECT_EQ(code(ToolCallFamily::kTagged, {{"f", Json::parse(R"({"type": "string"})")}}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(ToolCallFamily::kTagged, {{"f", Json::parse(R"({"type": "object", "not": {}})")}}),
            ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace edgellm::constrain
