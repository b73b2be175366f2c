// A compiled grammar over a vocabulary: what every request under the same grammar can share. Holds, per state of the
// automaton, the tokens whose fate does not depend on the callers of the state's rule; matchers (token_matcher.h) have
// to look at the rest alone. Source of the idea: Dong et al. 2024, "XGrammar", arXiv 2411.15100.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "constrain/automaton.h"
#include "constrain/grammar.h"
#include "constrain/recognizer.h"
#include "constrain/vocabulary_trie.h"

namespace edgellm::constrain {

/// A set of tokens as a bit mask: token t is bit t % 32 of word t / 32.
using MaskWord = uint32_t;

/// What is known of a state by itself.
struct LocalTokens {
  std::vector<TokenId> few;    // tokens that match, unless there are many …
  std::vector<MaskWord> many;  // … then they are here
  std::vector<int32_t> exits;  // trie nodes where the rule has ended and the vocabulary goes on: the callers decide
  size_t bytes() const {
    return few.capacity() * sizeof(TokenId) + many.capacity() * sizeof(MaskWord) + exits.capacity() * sizeof(int32_t) +
           sizeof(LocalTokens);
  }
};

/// Walks the descendants of a trie node from a position: `token(id)` for every token whose bytes can follow.
/// `node` -1: the whole trie. `exit(node)`, if there is one, for inner nodes where the text may end.
template <typename Token, typename Exit>
void WalkTrie(const VocabularyTrie& trie, int32_t node, Recognizer* recognizer, PositionId position,
              std::vector<PositionId>* stack, const Token& token, const Exit& exit);

/// Thread-safe.
class TokenConstraint {
 public:
  static constexpr size_t kMaxCacheBytes = size_t{64} << 20;

  /// Throws as CompileGrammar does.
  TokenConstraint(const Grammar& grammar, std::shared_ptr<const VocabularyTrie> trie);

  const Automaton& automaton() const { return automaton_; }
  const VocabularyTrie& trie() const { return *trie_; }

  /// Computed when first asked for; what is asked for again is kept while kMaxCacheBytes allow.
  std::shared_ptr<const LocalTokens> Local(int32_t state) const;

  /// Computes ahead what takes longest: states from which most of the vocabulary is looked at, at most `count`.
  void Prepare(int count = 64) const;

  size_t bytes() const;  // memory, without the trie

 private:
  std::shared_ptr<const LocalTokens> Compute(int32_t state) const;

  std::shared_ptr<const VocabularyTrie> trie_;
  Automaton automaton_;
  mutable std::mutex mutex_;  // of all that follows
  mutable std::unique_ptr<Recognizer> recognizer_;
  mutable std::vector<PositionId> stack_;
  mutable std::unordered_map<int32_t, std::shared_ptr<const LocalTokens>> local_;
  mutable size_t cache_bytes_ = 0;
};

template <typename Token, typename Exit>
void WalkTrie(const VocabularyTrie& trie, int32_t node, Recognizer* recognizer, PositionId position,
              std::vector<PositionId>* stack, const Token& token, const Exit& exit) {
  const auto nodes = trie.nodes();
  const int32_t end = node < 0 ? static_cast<int32_t>(nodes.size()) : nodes[static_cast<size_t>(node)].end;
  const size_t base = node < 0 ? 0 : nodes[static_cast<size_t>(node)].depth;
  if (stack->size() <= base) stack->resize(base + 1);
  (*stack)[base] = position;
  for (int32_t at = node + 1; at < end;) {
    const VocabularyTrie::Node& n = nodes[static_cast<size_t>(at)];
    const PositionId next = recognizer->Step((*stack)[n.depth - 1u], n.byte);
    if (next == Recognizer::kDead) {
      at = n.end;
      continue;
    }
    for (TokenId id = n.token; id >= 0; id = trie.Next(id)) token(id);
    if (n.end > at + 1) {
      if (stack->size() <= n.depth) stack->resize(n.depth + 1u);
      (*stack)[n.depth] = next;
      exit(at, next);
    }
    ++at;
  }
}

}  // namespace edgellm::constrain
