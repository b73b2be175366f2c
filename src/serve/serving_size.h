// How many answers a loaded model gives at once, and how many KV pages they share: arithmetic over memory, no backend.
#pragma once

#include <cstdint>

#include "backend/backend.h"
#include "model/model.h"
#include "plan/batch.h"

namespace edgellm {

/// What there is to choose by.
struct ServingRoom {
  bool device = false;      // a GPU, rather than the CPU
  int context = 0;          // longest sequence, in positions
  uint64_t page_bytes = 0;  // of one KV page
  uint64_t free_bytes = 0;  // that are left once the weights are loaded; 0: nobody knows
};

struct ServingSize {
  int parallel = 1;  // sequences that run together
  int pages = 0;     // for all of them
};

/// `asked`: places, 0 for as many as are sensible: 8 on a CPU (each more costs every other some of its speed, as there
/// decoding is soon bound by arithmetic), 64 on a GPU, fewer where each would have less than 256 positions.
/// Pages: a quarter of what all places at their longest would take (two sequences at the least), as answers seldom are
/// that long and backends take all pages at load; no more than a quarter of a machine's free memory or half of a
/// device's, but always one sequence at its longest. Where answers grow beyond, the engine lets some wait (preemption,
/// docs/engine.md).
ServingSize ChooseServingSize(int asked, const ServingRoom& room);

}  // namespace edgellm
