// See vocabulary_trie.h.
#include "constrain/vocabulary_trie.h"

#include <algorithm>
#include <numeric>

namespace edgellm::constrain {

VocabularyTrie::VocabularyTrie(const text::Tokenizer& tokenizer, std::span<const TokenId> spelled)
    : strips_leading_space_(tokenizer.strips_leading_space()) {
  begins_.push_back(0);
  for (TokenId token = 0; token < tokenizer.vocab_size(); ++token) {
    const bool tag = std::find(spelled.begin(), spelled.end(), token) != spelled.end();
    if (tag || !tokenizer.IsSpecial(token)) texts_ += tokenizer.TokenBytes(token, /*spell_special=*/tag);
    begins_.push_back(static_cast<uint32_t>(texts_.size()));
  }
  Build();
}

VocabularyTrie::VocabularyTrie(std::span<const std::string> texts, bool strips_leading_space)
    : strips_leading_space_(strips_leading_space) {
  begins_.push_back(0);
  for (const std::string& text : texts) {
    texts_ += text;
    begins_.push_back(static_cast<uint32_t>(texts_.size()));
  }
  Build();
}

std::string_view VocabularyTrie::Bytes(TokenId token) const {
  if (token < 0 || token >= size()) return {};
  const auto i = static_cast<size_t>(token);
  return std::string_view(texts_).substr(begins_[i], begins_[i + 1] - begins_[i]);
}

void VocabularyTrie::Build() {
  std::vector<TokenId> order(static_cast<size_t>(size()));
  std::iota(order.begin(), order.end(), 0);
  std::erase_if(order, [this](TokenId token) { return Bytes(token).empty() || Bytes(token).size() > UINT16_MAX; });
  // As bytes without a sign, and stable: equal texts by rising id.
  std::stable_sort(order.begin(), order.end(), [this](TokenId a, TokenId b) { return Bytes(a) < Bytes(b); });
  same_.assign(static_cast<size_t>(size()), -1);
  std::vector<int32_t> path;  // nodes from the root to the last one
  std::string_view previous;
  TokenId last = -1;
  const auto close = [&](size_t depth) {
    while (path.size() > depth) {
      Node& node = nodes_[static_cast<size_t>(path.back())];
      node.end = static_cast<int32_t>(nodes_.size());
      node.reach = std::max(node.reach, node.depth);
      path.pop_back();
      if (path.empty()) continue;
      Node& parent = nodes_[static_cast<size_t>(path.back())];
      parent.reach = std::max(parent.reach, node.reach);
    }
  };
  for (TokenId token : order) {
    const std::string_view bytes = Bytes(token);
    if (bytes == previous) {
      same_[static_cast<size_t>(last)] = token;
      last = token;
      continue;
    }
    const auto shared = std::mismatch(bytes.begin(), bytes.end(), previous.begin(), previous.end()).first;
    close(static_cast<size_t>(shared - bytes.begin()));
    for (size_t i = path.size(); i < bytes.size(); ++i) {
      path.push_back(static_cast<int32_t>(nodes_.size()));
      nodes_.push_back({0, -1, static_cast<uint16_t>(i + 1), 0, static_cast<uint8_t>(bytes[i])});
    }
    nodes_.back().token = token;
    previous = bytes;
    last = token;
  }
  close(0);
  for (size_t level = 0; level < kLengths.size(); ++level) {
    up_to_[level].assign(words(), 0);
    for (TokenId token : order) {
      if (Bytes(token).size() > static_cast<size_t>(kLengths[level])) continue;
      up_to_[level][static_cast<size_t>(token) / 32] |= uint32_t{1} << (token % 32);
    }
  }
}

size_t VocabularyTrie::bytes() const {
  return texts_.capacity() + begins_.capacity() * sizeof(uint32_t) + same_.capacity() * sizeof(TokenId) +
         nodes_.capacity() * sizeof(Node) + up_to_.size() * words() * sizeof(uint32_t);
}

}  // namespace edgellm::constrain
