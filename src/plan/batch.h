// What to run now: tokens of any number of sequences, in any mixture of prefill and decode, and where their keys and
// values lie. Built by the engine, read by backends; owns nothing.
#pragma once

#include <cstdint>
#include <span>

#include "plan/sampling.h"

namespace edgellm {

/// Positions in one KV page. A page holds, for every layer, the keys and values of this many consecutive positions.
inline constexpr int kPageTokens = 16;

/// How keys and values are stored.
enum class KvType : uint8_t { kF32, kF16 };

struct Batch {
  // One entry per token. Tokens of one sequence stand together, in the order of their positions.
  std::span<const int32_t> tokens;
  std::span<const int32_t> positions;
  std::span<const int32_t> sequences;  // row of `pages`

  // Page ids: pages[sequence * pages_per_sequence + position / kPageTokens]. Entries past a sequence's end are not
  // read.
  std::span<const int32_t> pages;
  int pages_per_sequence = 0;

  // Tokens (as indices into `tokens`) whose logits are wanted, ascending.
  std::span<const int32_t> logit_rows;
  // Empty (no sampling: the caller reads logits) or one entry per logit row.
  std::span<const SamplingRow> sampling;

  // Tokens (as indices into `tokens`) whose last hidden state is wanted, ascending.
  std::span<const int32_t> hidden_rows = {};
};

}  // namespace edgellm
