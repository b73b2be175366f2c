// What a request may say about its next token: the seam between the engine and whatever constrains answers (grammars,
// most of all). The engine asks before each token is drawn and tells which one was; it knows no grammar.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace edgellm {

/// Called by the thread that drives the engine. No method may throw.
class TokenFilter {
 public:
  virtual ~TokenFilter() = default;

  /// One of its own that has accepted the same tokens: each answer of a request with several has its own.
  virtual std::shared_ptr<TokenFilter> Copy() const = 0;

  /// Writes the tokens that may come next into `words`: token t is bit t % 32 of word t / 32; all words are written.
  /// False when there is none: the request then ends, with kStop if the answer is complete, else with kDeadEnd.
  virtual bool Allowed(std::span<uint32_t> words) = 0;

  /// `token` was drawn, a stop token included.
  virtual void Accept(int32_t token) = 0;

  /// True when the tokens accepted so far may be a whole answer.
  virtual bool Complete() const = 0;
};

}  // namespace edgellm
