// Every tokenizer of the shared data against published ids, from every file format, and again after a trip through
// ToJson.
#include <gtest/gtest.h>

#include "tests/text/tokenizer_sources.h"

namespace edgellm::text {
namespace {

struct Case {
  const char* vectors;
  const char* source;
};

class TokenizerVectors : public testing::TestWithParam<Case> {};

void ExpectEqual(const Tokenizer& tokenizer, const std::string& vectors_name) {
  const std::vector<Vector> vectors = ReadVectors(vectors_name);
  ASSERT_EQ(vectors.size(), 46u);
  for (const Vector& vector : vectors) {
    EXPECT_EQ(tokenizer.Encode(vector.text, {.add_special = false, .parse_special = false}), vector.ids) << vector.text;
  }
}

TEST_P(TokenizerVectors, EveryLineIsEqual) {
  SKIP_WITHOUT_SHARED_DATA();
  ExpectEqual(TokenizerOf(GetParam().source), GetParam().vectors);
}

TEST_P(TokenizerVectors, EveryLineIsEqualAfterToJson) {
  SKIP_WITHOUT_SHARED_DATA();
  ExpectEqual(Tokenizer::FromJson(TokenizerOf(GetParam().source).ToJson(), "ToJson"), GetParam().vectors);
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerVectors,
                         testing::Values(Case{"gpt-2", "gpt2_merges"}, Case{"gpt-2", "gpt2_gguf"},
                                         Case{"llama-bpe", "llama3_tiktoken"}, Case{"llama-bpe", "llama3_merges"},
                                         Case{"qwen2", "qwen2_merges"}, Case{"llama-spm", "llama2_json"},
                                         Case{"llama-spm", "llama2_sentencepiece"}, Case{"llama-spm", "llama2_gguf"},
                                         Case{"phi-3", "phi3_gguf"}),
                         [](const auto& test) { return std::string(test.param.source); });

}  // namespace
}  // namespace edgellm::text
