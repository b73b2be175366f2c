// Summaries of repeated measurements.
#pragma once

#include <vector>

namespace edgellm {

struct Spread {
  double min = 0, median = 0, max = 0;
};

/// By nearest rank: each is one of the values.
struct Percentiles {
  double p50 = 0, p95 = 0, p99 = 0, p999 = 0, max = 0;
};

/// Zeros for no values.
Spread SpreadOf(std::vector<double> values);
Percentiles PercentilesOf(std::vector<double> values);

}  // namespace edgellm
