// Perplexity of a model over a text, scored as llama.cpp's perplexity tool scores it, so that numbers can be compared;
// and how far two models' predictions are apart on the same tokens. Deals in ids and drives a backend directly; it is
// no request and goes through no engine.
//
// The ids are cut into windows of `window` tokens (a rest that fills none is left out). Each window is read on its own;
// where the tokenizer puts a BOS before a text, it replaces the window's first token. The second half is scored: the
// logits at positions window/2 … window-2 each predict the next token.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "backend/backend.h"
#include "base/progress.h"

namespace edgellm {

struct PerplexityOptions {
  int window = 512;
  std::optional<int32_t> bos;  // replaces each window's first token
};

struct Perplexity {
  double value = 0;           // exp(mean negative log-likelihood)
  double standard_error = 0;  // of `value`, to first order
  double mean_nll = 0;        // nats a token
  int64_t scored_tokens = 0;
  int windows = 0, window = 0;
};

/// Two models on the same tokens.
struct Divergence {
  Perplexity reference, other;
  // Of the mean negative log-likelihood, other less reference, token by token: what both find hard does not count as
  // error.
  double nll_difference = 0, nll_difference_error = 0;
  double mean_kl = 0, mean_kl_error = 0;  // KL(reference || other), nats a token, and its standard error
  double top1_agreement = 0;              // share of tokens where both rank the same id first
};

/// The limits of a backend that MeasurePerplexity can drive.
BackendLimits PerplexityLimits(int window, KvType kv);

/// `limits` are those the backend was made with. Throws Error(kInvalidArgument) when `tokens` fill no window.
/// Progress counts tokens.
Perplexity MeasurePerplexity(Backend& backend, const BackendLimits& limits, std::span<const int32_t> tokens,
                             const PerplexityOptions& options, const Progress& progress);

/// Both backends were made with `limits` and have the same vocabulary; they read the text side by side, a few tokens at
/// a time. Progress counts tokens. Throws as MeasurePerplexity does.
Divergence MeasureDivergence(Backend& reference, Backend& other, const BackendLimits& limits,
                             std::span<const int32_t> tokens, const PerplexityOptions& options,
                             const Progress& progress);

/// KL(softmax(p) || softmax(q)) in nats, in double.
double KlDivergence(std::span<const float> p, std::span<const float> q);

/// -log softmax(logits)[token], in double.
double NegativeLogLikelihood(std::span<const float> logits, int32_t token);

}  // namespace edgellm
