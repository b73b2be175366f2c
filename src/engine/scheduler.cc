// See scheduler.h.
#include "engine/scheduler.h"

#include <algorithm>

namespace edgellm {

void Schedule(std::span<const Progressing> sequences, int budget, std::vector<Share>& shares) {
  shares.clear();
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (sequences[i].tokens - sequences[i].computed == 1 && budget > 0) {
      shares.push_back({static_cast<int>(i), 1});
      --budget;
    }
  }
  for (size_t i = 0; i < sequences.size() && budget > 0; ++i) {
    const int missing = sequences[i].tokens - sequences[i].computed;
    if (missing <= 1) continue;
    const int count = std::min(missing, budget);
    shares.push_back({static_cast<int>(i), count});
    budget -= count;
  }
}

}  // namespace edgellm
