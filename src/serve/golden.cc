// Golden prompts: recorded when a model file is written, run again by `edgellm verify`. See runtime.h.
#include <algorithm>
#include <array>

#include "base/error.h"
#include "serve/runtime.h"

namespace edgellm {
namespace {

/// Of different kinds (prose, instruction, numbers and code), short enough to be run on any device within seconds.
constexpr std::array<std::string_view, 8> kTexts = {
    "Once upon a time, in a small house by the river,",
    "Explain in one sentence why the sky is blue.",
    "1, 1, 2, 3, 5, 8, 13,",
    "def greatest_common_divisor(a, b):\n",
    "The capital of France is Paris. The capital of Japan is",
    "Dear Ms. Novák,\n\nthank you for your letter of 3 May.",
    "Q: How many legs do three spiders have?\nA:",
    "Übermut tut selten gut, sagte die Großmutter und",
};

/// Long enough that a wrong kernel shows, short enough that a small device needs a second or two.
constexpr int kGoldenTokens = 24;

}  // namespace

std::vector<GoldenPrompt> RecordGolden(Runtime& runtime, int count) {
  if (count < 0 || count > static_cast<int>(kTexts.size())) {
    Fail(ErrorCode::kInvalidArgument, "there are 0 to {} golden prompts, not {}", kTexts.size(), count);
  }
  std::vector<GoldenPrompt> golden;
  const int vocab = runtime.model().config.vocab;
  for (int index = 0; index < count; ++index) {
    GoldenPrompt prompt;
    if (runtime.model().tokenizer_json.empty()) {
      // Without a tokenizer any ids will do: these differ from prompt to prompt and lie in every vocabulary.
      for (int i = 0; i < 8; ++i) prompt.prompt.push_back((index * 31 + i * 7 + 1) % vocab);
    } else if (runtime.has_chat_template()) {
      const std::array<Message, 1> question = {Message{"user", std::string(kTexts[static_cast<size_t>(index)])}};
      prompt.prompt = runtime.EncodeChat(question).tokens;
    } else {
      prompt.prompt = runtime.EncodeText(kTexts[static_cast<size_t>(index)]).tokens;
    }
    // A very short context holds only the beginning; what the prompt says does not matter here.
    const size_t room = static_cast<size_t>(std::max(1, runtime.context() - kGoldenTokens));
    if (prompt.prompt.size() > room) prompt.prompt.resize(room);
    prompt.expected = runtime.Greedy(prompt.prompt, kGoldenTokens);
    golden.push_back(std::move(prompt));
  }
  return golden;
}

}  // namespace edgellm
