// Summaries of repeated measurements, as `edgellm bench` makes them: percentiles by nearest rank, so each is a measured value.

export function nearestRank(sorted, share) {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

const ascending = (values) => [...values].sort((a, b) => a - b);

export function spread(values) {
  const sorted = ascending(values);
  return {min: sorted[0], median: nearestRank(sorted, 0.5), max: sorted.at(-1)};
}

export const median = (values) => spread(values).median;

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
