// Options by name, and the order in which request, model and program decide.
#include "serve/generate_options.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace edgellm
