// Who runs next, and how many tokens of each: a pure function of the running sequences' state.
#pragma once

#include <span>
#include <vector>

namespace edgellm {

/// One running sequence, as the schedule sees it.
struct Progressing {
  int tokens = 0;    // known so far: prompt and answer
  int computed = 0;  // of those, how many have keys and values; always < tokens
};

/// `count` next tokens of the sequence at `index` join the batch.
struct Share {
  int index = 0, count = 0;
};

/// First one token of every sequence that lacks just one (so that no prompt holds up an answer), then the prompts,
/// oldest first, in slices of what is left of `budget` tokens. `budget` must be at least the number of sequences.
void Schedule(std::span<const Progressing> sequences, int budget, std::vector<Share>& shares);

}  // namespace edgellm
