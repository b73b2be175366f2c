// No text of a megabyte takes long, in any tokenizer: what a hostile request would try.
#include <chrono>

#include <gtest/gtest.h>

#include "tests/text/tokenizer_sources.h"
#include "text/normalizer.h"

namespace edgellm::text {
namespace {

constexpr EncodeOptions kPlain = {.add_special = false, .parse_special = false};

TEST(TokenizerSpeed, AMegabyteOfAnythingIsQuick) {
  SKIP_WITHOUT_SHARED_DATA();
  // Marks of falling combining class, which naive canonical ordering takes quadratic time for.
  std::string marks = "a";
  while (marks.size() < 1'000'000) marks += "\u0301\u0316";
  std::string words;
  while (words.size() < 1'000'000) words += "<|end_of <| \n\n x1 ";
  for (const auto& [name, source] : TokenizerSources()) {
    const Tokenizer& tokenizer = TokenizerOf(name);
    for (const std::string& text :
         {std::string(1'000'000, 'a'), std::string(1'000'000, ' '), std::string(1'000'000, '\n'),
          std::string(1'000'000, '!'), std::string(1'000'000, '7'), std::string(1'000'000, '<'), marks, words}) {
      const auto start = std::chrono::steady_clock::now();
      const auto ids = tokenizer.Encode(text, kPlain);
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
      // A release build needs 0.2 s; anything quadratic would need hours, so sanitizers and busy machines have room.
      EXPECT_LT(taken.count(), 10) << name << " on a text that begins " << text.substr(0, 12);
      EXPECT_EQ(tokenizer.Decode(ids), name.starts_with("qwen2") ? Normalize(text, NormalForm::kNfc) : text) << name;
    }
  }
}

}  // namespace
}  // namespace edgellm::text
