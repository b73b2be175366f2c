// See token_matcher.h.
#include "constrain/token_matcher.h"

#include <algorithm>
#include <bit>

#include "base/error.h"

namespace edgellm::constrain {
namespace {

void Set(std::span<MaskWord> words, TokenId token) {
  words[static_cast<size_t>(token) / 32] |= MaskWord{1} << (token % 32);
}

void Clear(std::span<MaskWord> words, TokenId token) {
  words[static_cast<size_t>(token) / 32] &= ~(MaskWord{1} << (token % 32));
}

constexpr auto kNoExit = [](int32_t, PositionId) {};

}  // namespace

TokenMatcher::TokenMatcher(std::shared_ptr<const TokenConstraint> constraint, std::vector<TokenId> stop_tokens,
                           bool at_text_start)
    : constraint_(std::move(constraint)),
      stop_tokens_(std::move(stop_tokens)),
      shared_(std::make_shared<Shared>(constraint_->automaton())) {
  state_ = {shared_->recognizer.Start(), at_text_start && constraint_->trie().strips_leading_space(), false};
}

bool TokenMatcher::IsStop(TokenId token) const {
  return std::find(stop_tokens_.begin(), stop_tokens_.end(), token) != stop_tokens_.end();
}

void TokenMatcher::Collect(PositionId position, std::span<MaskWord> words) {
  Recognizer& recognizer = shared_->recognizer;
  const auto items = recognizer.Items(position);
  const std::vector<Item> copy(items.begin(), items.end());  // walking moves what the span looks at
  for (const Item& item : copy) {
    const auto local = constraint_->Local(item.state);
    for (TokenId token : local->few) Set(words, token);
    for (size_t i = 0; i < local->many.size(); ++i) words[i] |= local->many[i];
    if (item.node == Recognizer::kBottom || local->after_exit.empty()) continue;
    const PositionId after = recognizer.After(item.node);
    if (after == Recognizer::kDead) continue;
    for (size_t byte = 0; byte < 256; ++byte) {
      const auto begin = local->by_byte[byte], end = local->by_byte[byte + 1];
      if (begin == end) continue;
      const PositionId next = recognizer.Step(after, static_cast<uint8_t>(byte));
      if (next == Recognizer::kDead) continue;
      for (int32_t i = begin; i < end; ++i) CollectNode(local->after_exit[static_cast<size_t>(i)], next, words);
    }
  }
}

/// Tokens that are spelled to a trie node, which `position` comes after, and what follows it.
void TokenMatcher::CollectNode(int32_t node, PositionId position, std::span<MaskWord> words) {
  const VocabularyTrie& trie = constraint_->trie();
  const VocabularyTrie::Node& n = trie.nodes()[static_cast<size_t>(node)];
  const auto set = [&](TokenId token) { Set(words, token); };
  for (TokenId token = n.token; token >= 0; token = trie.Next(token)) set(token);
  WalkTrie(trie, node + 1, n.end, 0, &shared_->recognizer, position, &shared_->stack, set, kNoExit);
}

/// Tokens without a leading space as ever; of those with one, what follows it counts.
void TokenMatcher::CollectStart(std::span<MaskWord> words) {
  const auto nodes = constraint_->trie().nodes();
  int32_t space = 0;
  while (space < static_cast<int32_t>(nodes.size()) && nodes[static_cast<size_t>(space)].byte != ' ') {
    space = nodes[static_cast<size_t>(space)].end;
  }
  if (space >= static_cast<int32_t>(nodes.size())) return;
  const VocabularyTrie& trie = constraint_->trie();
  const auto clear = [&](TokenId token) {
    for (; token >= 0; token = trie.Next(token)) Clear(words, token);
  };
  for (int32_t at = space; at < nodes[static_cast<size_t>(space)].end; ++at)
    clear(nodes[static_cast<size_t>(at)].token);
  WalkTrie(
      trie, space + 1, nodes[static_cast<size_t>(space)].end, 0, &shared_->recognizer, state_.position, &shared_->stack,
      [&](TokenId token) { Set(words, token); }, kNoExit);
}

bool TokenMatcher::Allowed(std::span<MaskWord> words) {
  const size_t count = constraint_->trie().words();
  EDGELLM_CHECK(words.size() >= count, "the mask must hold the vocabulary");
  const auto kept = std::find_if(shared_->masks.begin(), shared_->masks.end(),
                                 [this](const KeptMask& mask) { return mask.position == state_.position; });
  if (kept != shared_->masks.end() && !state_.at_start) {
    std::copy(kept->words.begin(), kept->words.end(), words.begin());
    std::fill(words.begin() + static_cast<std::ptrdiff_t>(count), words.end(), 0);
  } else {
    std::fill(words.begin(), words.end(), 0);
    if (!state_.ended) Collect(state_.position, words);
    if (state_.at_start) {
      CollectStart(words);
    } else if (!state_.ended) {
      if (shared_->masks.size() >= kKeptMasks) shared_->masks.pop_front();
      shared_->masks.push_back({state_.position, {words.begin(), words.begin() + static_cast<std::ptrdiff_t>(count)}});
    }
  }
  if (state_.ended) {
    std::fill(words.begin(), words.end(), 0);
    return false;
  }
  for (TokenId token : stop_tokens_) {
    if (token < 0 || static_cast<size_t>(token) >= 32 * words.size()) continue;
    if (may_end()) {
      Set(words, token);
    } else {
      Clear(words, token);
    }
  }
  return std::any_of(words.begin(), words.end(), [](MaskWord word) { return word != 0; });
}

bool TokenMatcher::Accept(TokenId token) {
  State next = state_;
  if (state_.ended) return false;
  if (IsStop(token)) {
    if (!may_end()) return false;
    next.ended = true;
  } else {
    std::string_view bytes = constraint_->trie().Bytes(token);
    if (state_.at_start && bytes.starts_with(' ')) bytes.remove_prefix(1);
    if (bytes.empty()) return false;
    for (char byte : bytes) {
      next.position = shared_->recognizer.Step(next.position, static_cast<uint8_t>(byte));
      if (next.position == Recognizer::kDead) return false;
    }
    next.at_start = false;
  }
  history_.push_back(state_);
  if (history_.size() > kMaxRollback) history_.pop_front();
  state_ = next;
  if (shared_->recognizer.bytes() > shared_->limit) Renew();
  return true;
}

bool TokenMatcher::Rollback(int tokens) {
  if (tokens < 0 || static_cast<size_t>(tokens) > history_.size()) return false;
  if (tokens == 0) return true;
  state_ = history_[history_.size() - static_cast<size_t>(tokens)];
  history_.resize(history_.size() - static_cast<size_t>(tokens));
  return true;
}

/// Goes on with a recognizer that holds nothing but what this matcher can come back to. Copies keep the old one.
void TokenMatcher::Renew() {
  auto fresh = std::make_shared<Shared>(constraint_->automaton());
  std::vector<PositionId> positions = {state_.position};
  for (const State& state : history_) positions.push_back(state.position);
  positions = fresh->recognizer.Import(shared_->recognizer, positions);
  state_.position = positions[0];
  for (size_t i = 0; i < history_.size(); ++i) history_[i].position = positions[i + 1];
  fresh->limit = std::max(kMaxRecognizerBytes, 2 * fresh->recognizer.bytes());
  shared_ = std::move(fresh);
}

std::optional<TokenId> TokenMatcher::Forced() {
  std::vector<MaskWord> words(constraint_->trie().words());
  // Stop tokens past the vocabulary's own ids need room as well.
  for (TokenId token : stop_tokens_) {
    if (token >= 0) words.resize(std::max(words.size(), static_cast<size_t>(token) / 32 + 1), 0);
  }
  if (!Allowed(words)) return std::nullopt;
  std::optional<TokenId> only;
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == 0) continue;
    if (only || std::popcount(words[i]) > 1) return std::nullopt;
    only = static_cast<TokenId>(i * 32 + static_cast<size_t>(std::countr_zero(words[i])));
  }
  return only;
}

size_t TokenMatcher::bytes() const {
  size_t masks = 0;
  for (const KeptMask& mask : shared_->masks) masks += mask.words.capacity() * sizeof(MaskWord);
  return shared_->recognizer.bytes() + masks + history_.size() * sizeof(State);
}

}  // namespace edgellm::constrain
