// A compiled grammar over a vocabulary: what every request under the same grammar can share. Holds, per state of the
// automaton, the tokens whose fate does not depend on the callers of the state's rule; matchers (token_matcher.h) have
// to look at the rest alone. Source of the idea: Dong et al. 2024, "XGrammar", arXiv 2411.15100.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "constrain/automaton.h"
#include "constrain/grammar.h"
#include "constrain/recognizer.h"
#include "constrain/state_likeness.h"
#include "constrain/vocabulary_trie.h"

namespace edgellm::constrain {

/// A set of tokens as a bit mask: token t is bit t % 32 of word t / 32.
using MaskWord = uint32_t;

/// What is known of a state by itself.
struct LocalTokens {
  std::vector<TokenId> few;    // tokens that match, unless there are many …
  std::vector<MaskWord> many;  // … then they are here
  // Trie nodes after those where the rule has ended: the callers decide on them. By byte, then in the trie's order.
  std::vector<int32_t> after_exit;
  std::vector<int32_t> by_byte;  // [257] where each byte's begin in after_exit; none at all without exits
  size_t bytes() const {
    return few.capacity() * sizeof(TokenId) + many.capacity() * sizeof(MaskWord) +
           (after_exit.capacity() + by_byte.capacity()) * sizeof(int32_t) + sizeof(LocalTokens);
  }
};

/// Walks the trie's nodes begin … end - 1, a node's descendants or the whole trie, from a position that lies before
/// their first byte: `token(id)` for every token of more than `deeper_than` bytes that can follow; `exit(node,
/// position)` for such inner nodes that can.
template <typename Token, typename Exit>
void WalkTrie(const VocabularyTrie& trie, int32_t begin, int32_t end, int deeper_than, Recognizer* recognizer,
              PositionId position, std::vector<PositionId>* stack, const Token& token, const Exit& exit);

/// Thread-safe.
class TokenConstraint {
 public:
  static constexpr size_t kMaxCacheBytes = size_t{64} << 20;

  /// Throws as CompileGrammar does.
  TokenConstraint(const Grammar& grammar, std::shared_ptr<const VocabularyTrie> trie);

  const Automaton& automaton() const { return automaton_; }
  const VocabularyTrie& trie() const { return *trie_; }

  /// Computed when first asked for; what is asked for again is kept while kMaxCacheBytes allow.
  /// Throws Error(kLimit) as Recognizer::Step does.
  std::shared_ptr<const LocalTokens> Local(int32_t state) const;

  /// Computes ahead what takes longest: states from which most of the vocabulary is looked at, at most `count`.
  void Prepare(int count = 32) const;

  size_t bytes() const;  // memory, without the trie

 private:
  using Known = std::unordered_map<uint64_t, std::shared_ptr<const LocalTokens>>;

  std::shared_ptr<const LocalTokens> Compute(int32_t state) const;
  bool IsMostlyKnown(int32_t state) const;
  /// What a state that is alike to kDepths[level] knows of tokens that are no longer.
  void CopyShort(const LocalTokens& alike, size_t level, LocalTokens* local) const;

  std::shared_ptr<const VocabularyTrie> trie_;
  Automaton automaton_;
  StateLikeness likeness_;
  mutable std::mutex mutex_;  // of all that follows
  mutable std::unique_ptr<Recognizer> recognizer_;
  mutable std::vector<PositionId> stack_;
  mutable std::unordered_map<int32_t, std::shared_ptr<const LocalTokens>> local_;
  mutable std::array<Known, StateLikeness::kDepths.size()> alike_;  // by class
  mutable size_t cache_bytes_ = 0;
};

template <typename Token, typename Exit>
void WalkTrie(const VocabularyTrie& trie, int32_t begin, int32_t end, int deeper_than, Recognizer* recognizer,
              PositionId position, std::vector<PositionId>* stack, const Token& token, const Exit& exit) {
  if (begin >= end) return;
  const auto nodes = trie.nodes();
  const size_t base = nodes[static_cast<size_t>(begin)].depth - 1u;
  if (stack->size() <= base) stack->resize(base + 1);
  (*stack)[base] = position;
  for (int32_t at = begin; at < end;) {
    const VocabularyTrie::Node& n = nodes[static_cast<size_t>(at)];
    const PositionId next =
        n.reach > deeper_than ? recognizer->Step((*stack)[n.depth - 1u], n.byte) : Recognizer::kDead;
    if (next == Recognizer::kDead) {
      at = n.end;
      continue;
    }
    const bool deep = n.depth > deeper_than;
    for (TokenId id = deep ? n.token : -1; id >= 0; id = trie.Next(id)) token(id);
    if (n.end > at + 1) {
      if (stack->size() <= n.depth) stack->resize(n.depth + 1u);
      (*stack)[n.depth] = next;
      if (deep) exit(at, next);
    }
    ++at;
  }
}

}  // namespace edgellm::constrain
