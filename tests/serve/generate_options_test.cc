// Options by name, and the order in which request, model and program decide.
#include "serve/generate_options.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace edgellm {
namespace {

TEST(GenerateOptions, TheRequestOverridesTheModelAndTheModelTheProgram) {
  GenerationDefaults model;
  model.temperature = 0.6f;
  model.top_k = 20;
  model.stop_tokens = {7};
  model.stop_strings = {"User:"};
  GenerateOptions options;
  options.top_k = 5;
  options.seed = 42;
  options.stop = {"END"};
  const ResolvedOptions resolved = Resolve(options, model, 9);
  EXPECT_FLOAT_EQ(resolved.sampling.temperature, 0.6f);
  EXPECT_EQ(resolved.sampling.top_k, 5);
  EXPECT_FLOAT_EQ(resolved.sampling.top_p, SamplingParameters().top_p);
  EXPECT_EQ(resolved.sampling.seed, 42u);
  EXPECT_EQ(resolved.max_tokens, -1);
  EXPECT_EQ(resolved.stop_tokens, (std::vector<int32_t>{7, 9}));
  EXPECT_EQ(resolved.stop_strings, (std::vector<std::string>{"User:", "END"}));
}

TEST(GenerateOptions, TheEndOfTextIsNamedOnce) {
  GenerationDefaults model;
  model.stop_tokens = {9};
  EXPECT_EQ(Resolve({}, model, 9).stop_tokens, (std::vector<int32_t>{9}));
  EXPECT_TRUE(Resolve({}, {}, std::nullopt).stop_tokens.empty());
}

TEST(GenerateOptions, WithoutASeedEveryAnswerHasItsOwn) {
  // Three equal draws of 32 bits do not happen.
  const uint64_t a = Resolve({}, {}, {}).sampling.seed, b = Resolve({}, {}, {}).sampling.seed,
                 c = Resolve({}, {}, {}).sampling.seed;
  EXPECT_FALSE(a == b && b == c);
}

TEST(GenerateOptions, SetByOllamasNames) {
  GenerateOptions options;
  SetOption(&options, "temperature", "0.25");
  SetOption(&options, "num_predict", "-1");
  SetOption(&options, "repeat_penalty", "1.1");
  SetOption(&options, "seed", "18");
  SetOption(&options, "stop", "a b");
  SetOption(&options, "stop", "c");
  EXPECT_FLOAT_EQ(*options.temperature, 0.25f);
  EXPECT_EQ(*options.max_tokens, -1);
  EXPECT_FLOAT_EQ(*options.repetition_penalty, 1.1f);
  EXPECT_EQ(*options.seed, 18u);
  EXPECT_EQ(options.stop, (std::vector<std::string>{"a b", "c"}));
  SetOption(&options, "seed", "-1");
  EXPECT_FALSE(options.seed.has_value());
  EXPECT_EQ(Describe(options).size(), 5u);
}

std::string Refusal(std::string_view name, std::string_view value) {
  GenerateOptions options;
  try {
    SetOption(&options, name, value);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(GenerateOptions, WrongTypesAreNamed) {
  EXPECT_EQ(Refusal("top_k", "many"), "option \"top_k\" must be of type integer");
  EXPECT_EQ(Refusal("top_k", "4.5"), "option \"top_k\" must be of type integer");
  EXPECT_EQ(Refusal("top_k", "99999999999"), "option \"top_k\" is out of range");
  EXPECT_EQ(Refusal("temperature", "nan"), "option \"temperature\" must be of type number");
  EXPECT_EQ(Refusal("temperature", "1x"), "option \"temperature\" must be of type number");
  EXPECT_NE(Refusal("heat", "1").find("unknown option \"heat\""), std::string::npos);
}

using Json = nlohmann::ordered_json;

std::string JsonRefusal(const char* text) {
  GenerateOptions options;
  OtherOptions other;
  try {
    SetJsonOptions(&options, Json::parse(text), &other);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "";
}

TEST(GenerateOptions, FromJson) {
  GenerateOptions options;
  OtherOptions other;
  SetJsonOptions(&options,
                 Json::parse(R"({"num_predict": 12.0, "temperature": 1, "top_k": -1, "seed": 9, "stop": ["a", "b"],
      "ignore_eos": true, "min_tokens": 3, "num_ctx": 2048, "num_batch": 64, "num_gpu": 1, "num_thread": 4, "num_keep": 4,
      "typical_p": 1.0, "top_p": null})"),
                 &other);
  EXPECT_EQ(options.max_tokens, 12);
  EXPECT_EQ(options.temperature, 1.0f);
  EXPECT_EQ(options.top_k, 0);
  EXPECT_EQ(options.seed, 9u);
  EXPECT_EQ(options.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(options.ignore_eos);
  EXPECT_EQ(options.min_tokens, 3);
  EXPECT_FALSE(options.top_p.has_value());
  EXPECT_EQ(other.context, 2048);
  EXPECT_TRUE(other.warnings.empty());
  SetJsonOptions(&options, Json::parse(R"({"num_predict": -2, "stop": "c", "heat": 1, "typical_p": 0.5})"), &other);
  EXPECT_EQ(options.max_tokens, -1);
  EXPECT_EQ(options.stop.back(), "c");
  EXPECT_EQ(other.warnings,
            (std::vector<std::string>{"unknown option \"heat\"", "option \"typical_p\" has no effect"}));
  SetJsonOptions(&options, nullptr, &other);
}

TEST(GenerateOptions, WrongTypesInJsonAreNamed) {
  EXPECT_EQ(JsonRefusal(R"({"top_k": "many"})"), "option \"top_k\" must be of type integer");
  EXPECT_EQ(JsonRefusal(R"({"top_k": 4.5})"), "option \"top_k\" must be of type integer");
  EXPECT_EQ(JsonRefusal(R"({"num_ctx": true})"), "option \"num_ctx\" must be of type integer");
  EXPECT_EQ(JsonRefusal(R"({"num_thread": []})"), "option \"num_thread\" must be of type integer");
  EXPECT_EQ(JsonRefusal(R"({"seed": "1"})"), "option \"seed\" must be of type integer");
  EXPECT_EQ(JsonRefusal(R"({"temperature": "hot"})"), "option \"temperature\" must be of type number");
  EXPECT_EQ(JsonRefusal(R"({"temperature": 1e300})"), "option \"temperature\" must be of type number");
  EXPECT_EQ(JsonRefusal(R"({"ignore_eos": 1})"), "option \"ignore_eos\" must be of type boolean");
  EXPECT_EQ(JsonRefusal(R"({"stop": [1]})"), "option \"stop\" must be of type string or list of strings");
  EXPECT_EQ(JsonRefusal(R"({"stop": ""})"), "a stop string must not be empty");
  EXPECT_EQ(JsonRefusal(R"({"top_k": 99999999999})"), "option \"top_k\" is out of range");
  EXPECT_EQ(JsonRefusal(R"({"seed": 18446744073709551615})"), "option \"seed\" is out of range");
  EXPECT_EQ(JsonRefusal(R"({"num_ctx": 0})"), "option \"num_ctx\" must be above 0");
  EXPECT_EQ(JsonRefusal("[]"), "options must be an object");
}

TEST(GenerateOptions, TopPOfNothingMeansTheLikeliestAlone) {
  GenerateOptions options;
  options.top_p = 0;
  const float top_p = Resolve(options, {}, {}).sampling.top_p;
  EXPECT_GT(top_p, 0);
  EXPECT_LT(top_p, 1e-30f);
}

}  // namespace
}  // namespace edgellm
