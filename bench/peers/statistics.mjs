// Summaries of repeated measurements, as `edgellm bench` makes them (src/bench/percentiles.h).

function nearestRank(sorted, share) {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

const ascending = (values) => [...values].sort((a, b) => a - b);

export function spread(values) {
  const sorted = ascending(values);
  const median = (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
  return {min: sorted[0], median, max: sorted.at(-1)};
}

export const median = (values) => spread(values).median;

// By nearest rank: each is one of the values.
export function percentiles(values) {
  const sorted = ascending(values);
  return {
    p50: nearestRank(sorted, 0.5),
    p95: nearestRank(sorted, 0.95),
    p99: nearestRank(sorted, 0.99),
    p999: nearestRank(sorted, 0.999),
    max: sorted.at(-1),
  };
}
