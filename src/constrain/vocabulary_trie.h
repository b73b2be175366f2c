// The bytes of every token of a vocabulary, as a trie that is walked in one pass: how a grammar looks at 150,000 tokens
// without looking at each of them. It knows no grammar.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace edgellm::constrain {

using text::TokenId;

/// Immutable once built; one is shared by all constraints over a model's vocabulary.
class VocabularyTrie {
 public:
  /// In depth-first order: a node's first child follows it, and `end` is the node after its last descendant.
  struct Node {
    int32_t end;
    int32_t token;   // the first token that is spelled so far, or -1
    uint16_t depth;  // bytes, 1 at the first
    uint16_t reach;  // the depth of its deepest descendant, or its own
    uint8_t byte;
  };

  /// Lengths for which the tokens that are no longer are known as a set.
  static constexpr std::array<int, 8> kLengths = {4, 6, 8, 11, 16, 24, 36, 64};

  /// Special tokens have no bytes here, whatever they spell: they are never part of a text. Those in `spelled` have:
  /// tags that a form is made of. Tokens of more than 65,535 bytes are left out too.
  explicit VocabularyTrie(const text::Tokenizer& tokenizer, std::span<const TokenId> spelled = {});
  /// Token i is spelled texts[i]; an empty one never matches.
  explicit VocabularyTrie(std::span<const std::string> texts, bool strips_leading_space = false);

  std::span<const Node> nodes() const { return nodes_; }
  int size() const { return static_cast<int>(begins_.size()) - 1; }         // one past the highest id
  size_t words() const { return (static_cast<size_t>(size()) + 31) / 32; }  // of a bit mask
  std::string_view Bytes(TokenId token) const;
  /// The next token with the same bytes, or -1.
  TokenId Next(TokenId token) const { return same_[static_cast<size_t>(token)]; }
  /// A bit mask: tokens of at most kLengths[level] bytes.
  const std::vector<uint32_t>& UpTo(size_t level) const { return up_to_[level]; }
  /// Decoding drops one space from the beginning of a text.
  bool strips_leading_space() const { return strips_leading_space_; }
  size_t bytes() const;  // memory

 private:
  void Build();

  std::string texts_;
  std::vector<uint32_t> begins_;  // [size + 1] into texts_
  std::vector<TokenId> same_;
  std::vector<Node> nodes_;
  std::array<std::vector<uint32_t>, kLengths.size()> up_to_;
  bool strips_leading_space_ = false;
};

}  // namespace edgellm::constrain
