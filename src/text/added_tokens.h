// Tokens that stand beside the vocabulary's own rules: they are looked for in the text as they are spelled, the longest
// at each place first, before anything else is cut. Special ones ("<|im_end|>") mean something; the others are just
// words.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace edgellm::text {

struct AddedToken {
  int32_t id = -1;
  std::string content;
  bool special = false;
  bool single_word = false;             // only where no letter or digit touches it
  bool lstrip = false, rstrip = false;  // takes the white space on that side with it
  bool normalized = false;              // looked for in the normalised text, spelled as the normalizer spells it
  bool verbatim = false;  // with `normalized`: the spelling is normalised already (SentencePiece's own pieces)
};

/// Finds one set of spellings in texts. Immutable; a trie of bytes.
class TokenMatcher {
 public:
  struct Found {
    size_t begin, end;
    int32_t id;
  };
  TokenMatcher() = default;

  /// `spelling` must not be empty.
  void Add(std::string_view spelling, const AddedToken& token);
  bool empty() const { return rules_.empty(); }
  /// The first token at or after `from`. Without `special`, special ones are not looked for.
  std::optional<Found> Next(std::string_view text, size_t from, bool special) const;

 private:
  struct Node {
    int32_t first_child = -1, sibling = -1;
    int32_t rule = -1;
    uint8_t byte = 0;
  };
  struct Rule {
    int32_t id;
    bool special, single_word, lstrip, rstrip;
  };
  int32_t Child(int32_t node, uint8_t byte) const;

  std::vector<Node> nodes_;
  std::array<int32_t, 256> roots_{};  // node + 1 of each first byte; 0: none
  std::vector<Rule> rules_;
};

}  // namespace edgellm::text
