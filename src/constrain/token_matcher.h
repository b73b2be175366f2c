// Which tokens may come next under a grammar, token after token: the state of one request. The bytes of tokens decide,
// so a character may be spread over tokens and a token over parts of the grammar.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "constrain/token_constraint.h"

namespace edgellm::constrain {

/// Copies share what they have learnt, so copying is cheap; a matcher and its copies belong to one thread.
class TokenMatcher {
 public:
  static constexpr int kMaxRollback = 256;  // tokens

  /// `stop_tokens` match exactly where the text may end, and nothing else. With `at_text_start`, the answer is a text
  /// of its own: tokenizers that put a space before a text drop it from the first token, and so does the matcher.
  TokenMatcher(std::shared_ptr<const TokenConstraint> constraint, std::vector<TokenId> stop_tokens,
               bool at_text_start = true);

  /// Writes the tokens that may come next, a bit each; words past the vocabulary become 0. False when there is none: a
  /// dead end (the vocabulary cannot spell what the grammar wants), or the text has ended.
  /// Throws Error(kLimit) where the grammar is too ambiguous; the matcher can still be asked again.
  bool Allowed(std::span<MaskWord> words);

  /// Takes a token. False, and nothing changes, when it may not come next.
  bool Accept(TokenId token);

  /// Takes back the last `tokens` accepted, as far as kMaxRollback; false, and nothing changes, past that.
  bool Rollback(int tokens);

  /// True where the text so far is complete.
  bool may_end() const { return shared_->recognizer.MayEnd(state_.position); }
  /// A stop token was accepted.
  bool ended() const { return state_.ended; }
  /// The only token that may come next, if there is just one: it need not be asked from the model.
  std::optional<TokenId> Forced();

  const TokenConstraint& constraint() const { return *constraint_; }
  size_t bytes() const;  // memory, without the constraint's

 private:
  static constexpr size_t kMaxRecognizerBytes = size_t{16} << 20;
  static constexpr size_t kKeptMasks = 8;

  struct State {
    PositionId position;
    bool at_start;  // nothing was accepted yet, and a leading space would be dropped
    bool ended;
  };
  struct KeptMask {
    PositionId position;
    std::vector<MaskWord> words;
  };
  struct Shared {
    explicit Shared(const Automaton& automaton) : recognizer(automaton) {}
    Recognizer recognizer;
    size_t limit = kMaxRecognizerBytes;  // past it, Renew
    std::vector<PositionId> stack;
    std::deque<KeptMask> masks;  // the last ones, for positions that come again: inside a string, most of all
  };

  bool IsStop(TokenId token) const;
  void Collect(PositionId position, std::span<MaskWord> words);
  void CollectNode(int32_t node, PositionId position, std::span<MaskWord> words);
  void CollectStart(std::span<MaskWord> words);
  void Renew();

  std::shared_ptr<const TokenConstraint> constraint_;
  std::vector<TokenId> stop_tokens_;
  std::shared_ptr<Shared> shared_;
  State state_;
  std::deque<State> history_;  // before each of the last tokens
};

}  // namespace edgellm::constrain
