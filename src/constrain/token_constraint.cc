// See token_constraint.h.
#include "constrain/token_constraint.h"

#include <algorithm>

namespace edgellm::constrain {

TokenConstraint::TokenConstraint(const Grammar& grammar, std::shared_ptr<const VocabularyTrie> trie)
    : trie_(std::move(trie)), automaton_(CompileGrammar(grammar)) {}

std::shared_ptr<const LocalTokens> TokenConstraint::Local(int32_t state) const {
  const std::lock_guard lock(mutex_);
  if (const auto found = local_.find(state); found != local_.end()) return found->second;
  auto local = Compute(state);
  if (cache_bytes_ + local->bytes() > kMaxCacheBytes) {
    local_.clear();
    cache_bytes_ = 0;
  }
  cache_bytes_ += local->bytes();
  local_.emplace(state, local);
  return local;
}

std::shared_ptr<const LocalTokens> TokenConstraint::Compute(int32_t state) const {
  constexpr size_t kMaxRecognizerBytes = size_t{32} << 20;
  if (!recognizer_ || recognizer_->bytes() > kMaxRecognizerBytes) {
    recognizer_ = std::make_unique<Recognizer>(automaton_);
  }
  auto local = std::make_shared<LocalTokens>();
  WalkTrie(
      *trie_, -1, recognizer_.get(), recognizer_->StartAt(state), &stack_,
      [&](TokenId token) { local->few.push_back(token); },
      [&](int32_t node, PositionId position) {
        if (recognizer_->MayEnd(position)) local->exits.push_back(node);
      });
  if (local->few.size() > trie_->words()) {
    local->many.assign(trie_->words(), 0);
    for (TokenId token : local->few) local->many[static_cast<size_t>(token) / 32] |= MaskWord{1} << (token % 32);
    local->few = {};
  }
  local->few.shrink_to_fit();
  local->exits.shrink_to_fit();
  return local;
}

void TokenConstraint::Prepare(int count) const {
  constexpr int kManyBytes = 64;  // first bytes: what lies inside a string or a word of any kind
  for (size_t state = 0; state < automaton_.states.size() && count > 0; ++state) {
    int bytes = 0;
    for (int32_t i = automaton_.states[state].bytes_begin; i < automaton_.states[state].bytes_end; ++i) {
      const ByteEdge& edge = automaton_.byte_edges[static_cast<size_t>(i)];
      bytes += edge.high - edge.low + 1;
    }
    if (bytes < kManyBytes) continue;
    Local(static_cast<int32_t>(state));
    --count;
  }
}

size_t TokenConstraint::bytes() const {
  const std::lock_guard lock(mutex_);
  return automaton_.bytes() + cache_bytes_ + (recognizer_ ? recognizer_->bytes() : 0);
}

}  // namespace edgellm::constrain
