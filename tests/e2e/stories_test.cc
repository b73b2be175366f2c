// A real trained model, end to end: 260 thousand parameters, greedy text equal to that of the reference program
// (llama2.c) to the last byte, on the reference backend and on every instruction set, with f32 weights.
#include <gtest/gtest.h>

#include "base/file.h"
#include "convert/import.h"
#include "tests/e2e/running.h"
#include "tests/shared_data.h"
#include "text/stream_decoder.h"

namespace edgellm {
namespace {

/// Prompt to expected text, from the file's "### prompt: '...'" headings.
std::vector<std::pair<std::string, std::string>> ReadExpected(const std::filesystem::path& path) {
  std::vector<std::pair<std::string, std::string>> expected;
  const std::string text = ReadFile(path), heading = "### prompt: '";
  for (size_t at = text.find(heading); at != std::string::npos;) {
    const size_t begin = at + heading.size(), quote = text.find("'\n", begin);
    at = text.find(heading, quote);
    expected.emplace_back(text.substr(begin, quote - begin),
                          text.substr(quote + 2, at == std::string::npos ? at : at - quote - 2));
  }
  return expected;
}

TEST(Stories, GreedyTextIsThatOfTheReferenceProgram) {
  SKIP_WITHOUT_SHARED_DATA();
  const auto folder = SharedData() / "stories260k";
  const Model model = ImportLlama2c(folder / "stories260K.bin", {});
  const auto tokenizer = text::Tokenizer::FromJson(model.tokenizer_json, "stories260K");
  const auto expected = ReadExpected(folder / "golden_greedy_llama2c.txt");
  ASSERT_EQ(expected.size(), 3u);
  for (const Target& target : AllTargets()) {
    for (const auto& [prompt, text] : expected) {
      const std::vector<text::TokenId> ids = tokenizer.Encode(prompt);
      // The file was made with a fixed number of positions, prompt included, and ends with a newline of its own.
      auto engine = MakeEngine(model, target, {.context = 512, .batch_tokens = 32}, KvType::kF32);
      Request request = GreedyRequest({ids.begin(), ids.end()}, 400);
      request.stop_tokens = model.generation.stop_tokens;
      const RequestId id = engine->Submit(request);
      text::StreamDecoder decoder(tokenizer);
      std::string got;
      for (text::TokenId token : ids) got += decoder.Push(token);
      const auto answers = RunAll(*engine);
      for (int32_t token : answers.at(id)) got += decoder.Push(token);
      EXPECT_EQ(got.substr(0, text.size() - 1), text.substr(0, text.size() - 1)) << target.backend << " " << target.isa;
    }
  }
}

}  // namespace
}  // namespace edgellm
