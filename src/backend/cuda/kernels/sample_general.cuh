// A draw from candidates too many for a list: one block finds top-k's, top-p's and the draw's place by descending through
// the bits of the logits, reading the row again for each. Correct for any row and parameters; a hundred microseconds or so
// for a large vocabulary, and seldom needed: by top_k above kListed, or thousands of nearly equal tokens.
#pragma once

#include "backend/cuda/kernels/sample_row.cuh"

namespace edgellm::cuda {

enum class Measure { kCount, kWeight, kKept };  // one each; its weight; its weight where min-p keeps it

/// A logit (by key) and the sum of the measure over all higher ones.
struct Place {
  uint32_t key;
  uint64_t before;
};

/// One block's work on one row.
struct GeneralDraw {
  const SampleRow& row;
  float highest;
  uint32_t* low;      // [kBuckets], shared memory
  uint32_t* high;     // likewise
  uint64_t* scratch;  // [32], shared memory

  __device__ __forceinline__ uint64_t AmountOf(Measure measure, float logit) const {
    if (measure == Measure::kCount) return 1;
    const uint64_t weight = WeightOf(logit, highest, row.job->scale);
    return measure == Measure::kKept && weight < row.job->least ? 0 : weight;
  }

  /// Over all logits above minus infinity whose key is above `key`.
  __device__ uint64_t SumAbove(Measure measure, uint32_t key) const {
    uint64_t sum = 0, total;
    row.ForEach(0, 1, [&](float logit, int) {
      if (logit > kNoLogit && OrderedKey(logit) > key) sum += AmountOf(measure, logit);
    });
    InclusiveSum(sum, scratch, &total);
    return total;
  }

  /// The logit with which the sum over falling logits first exceeds `target`, which must be below the whole sum.
  __device__ Place Descend(Measure measure, uint64_t target) const {
    __shared__ uint32_t found_digit;
    __shared__ uint64_t found_before;
    Place place = {0, 0};
    for (int level = 0; level < 3; ++level) {
      const int shift = level == 0 ? 21 : level == 1 ? 10 : 0, bits = level == 2 ? 10 : 11;
      for (int i = static_cast<int>(threadIdx.x); i < kBuckets; i += kSampleThreads) low[i] = high[i] = 0;
      __syncthreads();
      row.ForEach(0, 1, [&](float logit, int) {
        const uint32_t key = OrderedKey(logit);
        if (!(logit > kNoLogit) || (level > 0 && key >> (shift + bits) != place.key)) return;
        const uint32_t digit = key >> shift & ((1u << bits) - 1u);
        AddTo(low + digit, high + digit, AmountOf(measure, logit));
      });
      __syncthreads();
      const uint32_t first = kBuckets - 1 - 2 * threadIdx.x;
      const auto amount = [this](uint32_t digit) { return static_cast<uint64_t>(high[digit]) << 32 | low[digit]; };
      const uint64_t a = amount(first), b = amount(first - 1);
      uint64_t total;
      const uint64_t before = place.before + InclusiveSum(a + b, scratch, &total) - a - b;
      if (before <= target && target < before + a + b) {
        const bool second = target >= before + a;
        found_digit = second ? first - 1 : first;
        found_before = second ? before + a : before;
      }
      __syncthreads();
      place = {place.key << bits | found_digit, found_before};
      __syncthreads();
    }
    return place;
  }

  /// The token that is drawn: the tie-th of those with the key, by id.
  __device__ void TakeTied(const SampleTask& task, int of_row, uint32_t key, uint64_t tie) const {
    uint64_t passed = 0;
    for (int index = 0; index < row.tiles() && passed <= tie; ++index) {
      const TileValues v = row.Load(index);
      const auto matches = [&](int i) { return (v.usable >> i & 1u) != 0 && OrderedKey(v.x[i]) == key; };
      uint64_t mine = 0, total;
      for (int i = 0; i < 4; ++i) mine += matches(i) ? 1 : 0;
      uint64_t before = passed + InclusiveSum(mine, scratch, &total) - mine;
      for (int i = 0; i < 4; ++i) {
        if (matches(i) && before++ == tie) Take(task, of_row, v.id + i);
      }
      passed += total;
    }
  }

  __device__ void Draw(const SampleTask& task, int of_row) const {
    const SampleJob& job = *row.job;
    // What is left is a prefix of the order: all with a higher key, and the first `ties` that have it.
    uint32_t key = 0;
    uint64_t ties = 0;
    const auto sum_of = [&](Measure measure) { return SumAbove(measure, key) + ties * AmountOf(measure, LogitOfKey(key)); };
    if (job.top_k > 0) {
      const auto limit = static_cast<uint64_t>(job.top_k);
      if (SumAbove(Measure::kCount, 0) > limit) {
        const Place place = Descend(Measure::kCount, limit - 1);
        key = place.key;
        ties = limit - place.before;
      }
    }
    if (job.top_p < 1.0f) {
      const uint64_t wanted = WantedWeight(job.top_p, sum_of(Measure::kWeight));
      const Place place = Descend(Measure::kWeight, wanted - 1);
      const uint64_t weight = AmountOf(Measure::kWeight, LogitOfKey(place.key));
      key = place.key;
      ties = (wanted - place.before + weight - 1) / weight;
    }
    const uint64_t drawn = DrawnWeight(job.uniform, sum_of(Measure::kKept));
    const Place place = Descend(Measure::kKept, drawn);
    TakeTied(task, of_row, place.key, (drawn - place.before) / AmountOf(Measure::kKept, LogitOfKey(place.key)));
  }

  /// The likeliest tokens one after another.
  __device__ void Report(SampleResult& result) const {
    uint64_t bound = ~uint64_t{0};
    int count = 0;
    for (; count < row.job->top_k; ++count) {
      uint64_t best = 0;
      row.ForEach(0, 1, [&](float logit, int token) {
        const uint64_t rank = Ranked(logit, token);
        if (logit > kNoLogit && rank < bound && rank > best) best = rank;
      });
      bound = Largest(best, scratch);
      if (bound == 0) break;
      if (threadIdx.x == 0) {
        result.likeliest[count] = TokenOf(bound);
        result.likeliest_logits[count] = LogitOf(bound);
      }
    }
    if (threadIdx.x == 0) result.likeliest_count = count;
  }
};

}  // namespace edgellm::cuda
