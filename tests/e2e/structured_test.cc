// Structured answers of the demo model: whatever it says at a high temperature has the form that was asked for.
#include <set>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/model_file.h"
#include "serve/runtime.h"
#include "tests/constrain/json_validator.h"
#include "tests/source_dir.h"

namespace edgellm {
namespace {

Runtime DemoRuntime() {
  return Runtime(ReadModelFile(SourceDir() / "models" / "demo" / "demo.edgellm"),
                 {.backend = "cpu", .backend_options = {.threads = 1, .isa = "", .ternary = ""}, .context = 512, .kv = std::nullopt});
}

std::string Answer(Runtime& runtime, const GenerateOptions& options, Generation* generation) {
  const std::vector<Message> messages = {{"user", "Tell me about a friend."}};
  std::string text;
  *generation = runtime.Generate(runtime.EncodeChat(messages), options,
                                 {.text = [&](std::string_view piece) { text += piece; }, .cancelled = nullptr});
  return text;
}

GenerateOptions Wild(uint64_t seed, AnswerFormat format) {
  GenerateOptions options;
  options.max_tokens = 250;
  options.temperature = 1.5f;
  options.top_k = 0;
  options.top_p = 1.0f;
  options.seed = seed;
  options.format = std::move(format);
  return options;
}

TEST(Structured, AnswersUnderASchemaParseAndValidate) {
  const char* schema = R"({"type": "object", "properties": {
      "name": {"type": "string", "minLength": 1, "maxLength": 12}, "age": {"type": "integer", "minimum": 1, "maximum": 120},
      "mood": {"enum": ["glad", "sad", "süß"]}, "likes": {"type": "array", "items": {"type": "string", "maxLength": 8}, "maxItems": 2},
      "born": {"type": "string", "format": "date"}}, "required": ["name", "age", "mood"], "additionalProperties": false})";
  const auto parsed_schema = nlohmann::json::parse(schema);
  const constrain::JsonValidator validator(parsed_schema);
  Runtime runtime = DemoRuntime();
  std::set<std::string> different;
#ifdef EDGELLM_SANITIZED
  constexpr uint64_t kAnswers = 10;
#else
  constexpr uint64_t kAnswers = 100;
#endif
  for (uint64_t seed = 0; seed < kAnswers; ++seed) {
    Generation generation;
    const std::string text = Answer(runtime, Wild(seed, AnswerFormat::FromOption(schema)), &generation);
    ASSERT_EQ(generation.finish, FinishReason::kStop) << text;
    const auto document = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    ASSERT_FALSE(document.is_discarded()) << text;
    EXPECT_TRUE(validator.Holds(document)) << text;
    different.insert(text);
  }
  EXPECT_GT(different.size(), kAnswers * 9 / 10);
}

TEST(Structured, JsonModeAndGrammars) {
  Runtime runtime = DemoRuntime();
  Generation generation;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const std::string text = Answer(runtime, Wild(seed, AnswerFormat::FromOption("json")), &generation);
    EXPECT_TRUE(text.starts_with("{")) << text;
    if (generation.finish == FinishReason::kStop) {
      EXPECT_TRUE(nlohmann::json::accept(text)) << text;
    } else {
      EXPECT_EQ(generation.finish, FinishReason::kLength);  // JSON mode bounds nothing but white space
    }
    const AnswerFormat grammar = {AnswerFormat::Kind::kGrammar,
                                  "root ::= (\"yes\" | \"no\") (\", because \" [a-z ]{3,10} \".\")?"};
    const std::string short_text = Answer(runtime, Wild(seed, grammar), &generation);
    EXPECT_EQ(generation.finish, FinishReason::kStop);
    EXPECT_TRUE(short_text.starts_with("yes") || short_text.starts_with("no")) << short_text;
  }
}

TEST(Structured, TheSameSeedGivesTheSameAnswer) {
  Runtime runtime = DemoRuntime();
  Generation first, second;
  const AnswerFormat format =
      AnswerFormat::FromOption(R"({"type": "array", "items": {"type": "integer"}, "maxItems": 5})");
  EXPECT_EQ(Answer(runtime, Wild(3, format), &first), Answer(runtime, Wild(3, format), &second));
  EXPECT_EQ(first.tokens, second.tokens);
}

TEST(Structured, BrokenFormatsAreRefused) {
  Runtime runtime = DemoRuntime();
  Generation generation;
  const std::string text = Answer(runtime, Wild(1, {AnswerFormat::Kind::kGrammar, "root ::= \"ok\""}), &generation);
  EXPECT_EQ(text, "ok");
  EXPECT_EQ(generation.finish, FinishReason::kStop);
  EXPECT_THROW(Answer(runtime, Wild(1, {AnswerFormat::Kind::kGrammar, "root ::= x"}), &generation), Error);
  EXPECT_THROW(AnswerFormat::FromOption("yaml"), Error);
}

}  // namespace
}  // namespace edgellm
