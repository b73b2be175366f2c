// See token_constraint.h.
#include "constrain/token_constraint.h"

#include <algorithm>

namespace edgellm::constrain {
namespace {

void SortByByte(std::span<const VocabularyTrie::Node> nodes, LocalTokens* local) {
  if (local->after_exit.empty()) return;
  std::vector<int32_t> begins(257, 0);
  for (int32_t node : local->after_exit) ++begins[nodes[static_cast<size_t>(node)].byte + 1u];
  for (size_t byte = 1; byte < begins.size(); ++byte) begins[byte] += begins[byte - 1];
  std::vector<int32_t> sorted(local->after_exit.size()), next = begins;
  std::sort(local->after_exit.begin(), local->after_exit.end());
  for (int32_t node : local->after_exit) {
    sorted[static_cast<size_t>(next[nodes[static_cast<size_t>(node)].byte]++)] = node;
  }
  local->after_exit = std::move(sorted);
  local->by_byte = std::move(begins);
}

}  // namespace

TokenConstraint::TokenConstraint(const Grammar& grammar, std::shared_ptr<const VocabularyTrie> trie)
    : trie_(std::move(trie)), automaton_(CompileGrammar(grammar)), likeness_(automaton_) {}

std::shared_ptr<const LocalTokens> TokenConstraint::Local(int32_t state) const {
  const std::lock_guard lock(mutex_);
  if (const auto found = local_.find(state); found != local_.end()) return found->second;
  auto local = Compute(state);
  if (cache_bytes_ + local->bytes() > kMaxCacheBytes) {
    local_.clear();
    for (Known& known : alike_) known.clear();
    cache_bytes_ = 0;
  }
  cache_bytes_ += local->bytes();
  local_.emplace(state, local);
  for (size_t level = 0; level < alike_.size(); ++level)
    alike_[level].try_emplace(likeness_.Class(state, level), local);
  return local;
}

void TokenConstraint::CopyShort(const LocalTokens& alike, size_t level, LocalTokens* local) const {
  const auto& is_short = trie_->UpTo(level);
  local->many = alike.many;
  for (size_t i = 0; i < local->many.size(); ++i) local->many[i] &= is_short[i];
  for (TokenId token : alike.few) {
    if ((is_short[static_cast<size_t>(token) / 32] >> (token % 32) & 1u) != 0) local->few.push_back(token);
  }
  for (int32_t node : alike.after_exit) {
    if (trie_->nodes()[static_cast<size_t>(node)].depth <= StateLikeness::kDepths[level] + 1) {
      local->after_exit.push_back(node);
    }
  }
}

std::shared_ptr<const LocalTokens> TokenConstraint::Compute(int32_t state) const {
  constexpr size_t kMaxRecognizerBytes = size_t{32} << 20;
  if (!recognizer_ || recognizer_->bytes() > kMaxRecognizerBytes) {
    recognizer_ = std::make_unique<Recognizer>(automaton_);
  }
  auto local = std::make_shared<LocalTokens>();
  int known_depth = 0;
  for (size_t level = alike_.size(); level-- > 0;) {
    const auto found = alike_[level].find(likeness_.Class(state, level));
    if (found == alike_[level].end()) continue;
    known_depth = StateLikeness::kDepths[level];
    CopyShort(*found->second, level, local.get());
    break;
  }
  const auto nodes = trie_->nodes();
  WalkTrie(
      *trie_, 0, static_cast<int32_t>(nodes.size()), known_depth, recognizer_.get(), recognizer_->StartAt(state),
      &stack_, [&](TokenId token) { local->few.push_back(token); },
      [&](int32_t node, PositionId position) {
        if (!recognizer_->MayEnd(position)) return;
        const int32_t end = nodes[static_cast<size_t>(node)].end;
        for (int32_t child = node + 1; child < end; child = nodes[static_cast<size_t>(child)].end) {
          local->after_exit.push_back(child);
        }
      });
  if (!local->many.empty() || local->few.size() > trie_->words()) {
    local->many.resize(trie_->words(), 0);
    for (TokenId token : local->few) local->many[static_cast<size_t>(token) / 32] |= MaskWord{1} << (token % 32);
    local->few = {};
  }
  SortByByte(nodes, local.get());
  local->few.shrink_to_fit();
  return local;
}

bool TokenConstraint::IsMostlyKnown(int32_t state) const {
  constexpr size_t kLevel = 3;  // few tokens are longer
  const std::lock_guard lock(mutex_);
  return alike_[kLevel].contains(likeness_.Class(state, kLevel));
}

void TokenConstraint::Prepare(int count) const {
  constexpr int kManyBytes = 64;  // first bytes: what lies inside a string or a word of any kind
  for (size_t state = 0; state < automaton_.states.size() && count > 0; ++state) {
    int bytes = 0;
    for (int32_t i = automaton_.states[state].bytes_begin; i < automaton_.states[state].bytes_end; ++i) {
      const ByteEdge& edge = automaton_.byte_edges[static_cast<size_t>(i)];
      bytes += edge.high - edge.low + 1;
    }
    if (bytes < kManyBytes || IsMostlyKnown(static_cast<int32_t>(state))) continue;
    Local(static_cast<int32_t>(state));
    --count;
  }
}

size_t TokenConstraint::bytes() const {
  const std::lock_guard lock(mutex_);
  return automaton_.bytes() + likeness_.bytes() + cache_bytes_ + (recognizer_ ? recognizer_->bytes() : 0);
}

}  // namespace edgellm::constrain
