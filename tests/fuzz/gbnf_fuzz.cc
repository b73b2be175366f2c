// Fuzzes GBNF and what compiles it: the input is a grammar, and what it makes is walked for a while. Any outcome is
// fine but a crash, a leak, a hang, or an exception that is not an Error.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "constrain/gbnf.h"
#include "constrain/token_matcher.h"

namespace edgellm::constrain {
namespace {

void Walk(std::string_view source) {
  static const std::vector<std::string> texts = {"<end>", "a",    "b",   " ",    "\n",           "1", "\"", "ab",
                                                 "\xc3",  "\xa9", "{\"", "\": ", "aaaaaaaaaaaa", "-"};
  static const auto trie = std::make_shared<const VocabularyTrie>(texts);
  GbnfLimits limits;
  limits.bytes = 4096;
  limits.repetitions = 100;
  const Grammar grammar = ParseGbnf(source, "fuzz", limits);
  TokenMatcher matcher(std::make_shared<const TokenConstraint>(grammar, trie), {0});
  std::vector<MaskWord> mask(trie->words());
  uint32_t seed = static_cast<uint32_t>(source.size());
  for (int step = 0; step < 30 && matcher.Allowed(mask); ++step) {
    // A token must be taken if and only if its bit is set.
    for (TokenId token = 0; token < trie->size(); ++token) {
      TokenMatcher copy = matcher;
      if (copy.Accept(token) != ((mask[0] >> token & 1u) != 0)) __builtin_trap();
    }
    seed = seed * 1664525 + 1013904223;
    TokenId chosen = static_cast<TokenId>((seed >> 8) % texts.size());
    while ((mask[0] >> chosen & 1u) == 0) chosen = (chosen + 1) % trie->size();
    matcher.Accept(chosen);
  }
}

}  // namespace
}  // namespace edgellm::constrain

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    edgellm::constrain::Walk({reinterpret_cast<const char*>(data), size});
  } catch (const edgellm::Error&) {
  }
  return 0;
}
