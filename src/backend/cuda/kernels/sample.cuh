// The course of sampling in three kernels, each of some blocks a job: the highest logit; how many tokens (or how much
// weight) lie at which distance from it, from which follows where the candidates end; the candidates themselves, put in
// order by the last block to come. Blocks meet at the ends of kernels and by counting arrivals, and add integers only, so
// their number and order do not show in the result.
#pragma once

#include "backend/cuda/kernels/ptx.cuh"
#include "backend/cuda/kernels/sample_general.cuh"
#include "backend/cuda/kernels/sample_row.cuh"

namespace edgellm::cuda {

// What follows reads jobs before the wait for the kernel before: they do not change during a forward. They do between
// forwards, so they are not read by way of a multiprocessor's own cache.

__device__ __forceinline__ JobKind KindOf(const SampleJob& job) {
  return static_cast<JobKind>(__ldcg(reinterpret_cast<const int*>(&job.kind)));
}

__device__ __forceinline__ SampleRow RowOf(const SampleTask& task, int index, float* tile) {
  const SampleJob* job = task.jobs + index;
  const auto* allowed = reinterpret_cast<const unsigned long long*>(&job->allowed);
  return {task.logits + static_cast<size_t>(index % task.rows) * task.stride, task.vocab, job, tile, __ldcg(&job->adjustment_count),
          reinterpret_cast<const uint32_t*>(__ldcg(allowed))};
}

/// What a job looks for, in registers.
struct SampleRule {
  JobKind kind;
  int top_k;
  float scale;
  bool by_weight;  // weights decide where the candidates of a draw end; else their number does
  bool from_all;   // a draw that only min-p limits: its place in the cumulative weight is known before any candidate is
  uint64_t least;  // where from_all

  __device__ __forceinline__ explicit SampleRule(const SampleJob& job)
      : kind(KindOf(job)),
        top_k(__ldcg(&job.top_k)),
        scale(__ldcg(&job.scale)),
        by_weight(kind == JobKind::kDraw && top_k == 0),
        from_all(by_weight && !(__ldcg(&job.top_p) < 1.0f)),
        least(__ldcg(reinterpret_cast<const unsigned long long*>(&job.least))) {
    if (!from_all) least = 0;
  }

  /// Whether a token can be a candidate, and where by_weight its weight.
  __device__ __forceinline__ bool Considers(float logit, float highest, uint64_t* weight) const {
    *weight = 0;
    if (!(logit > kNoLogit)) return false;
    if (!by_weight) return true;
    *weight = WeightOf(logit, highest, scale);
    if (*weight < least) *weight = 0;
    return *weight > 0;
  }
};

__global__ void __launch_bounds__(kSampleThreads, 1) FindHighest(const __grid_constant__ SampleTask task) {
  __shared__ float tile[kTile];
  __shared__ uint64_t scratch[32];
  LetNextStart();
  const int index = static_cast<int>(blockIdx.y), of_row = index % task.rows;
  const SampleRow row = RowOf(task, index, tile);
  const JobKind kind = KindOf(*row.job);
  WaitForPrevious();
  SampleState& state = task.states[index];
  if (kind == JobKind::kNone) return;
  if (kind == JobKind::kGiven) {
    if (blockIdx.x == 0 && threadIdx.x == 0) Take(task, of_row, row.job->given);
    return;
  }
  if (kind != JobKind::kGreedy) {
    auto* words = reinterpret_cast<uint4*>(&task.scratch[index].buckets);
    const auto count = static_cast<int>(sizeof(task.scratch->buckets) / sizeof(uint4));
    for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < count; i += static_cast<int>(gridDim.x * blockDim.x)) {
      words[i] = make_uint4(0, 0, 0, 0);
    }
  }
  uint64_t best = 0;
  row.ForEach(static_cast<int>(blockIdx.x), static_cast<int>(gridDim.x), [&](float logit, int token) {
    const uint64_t rank = Ranked(logit, token);
    best = rank > best ? rank : best;
  });
  best = Largest(best, scratch);
  if (threadIdx.x == 0) atomicMax(&state.best, static_cast<unsigned long long>(best));
  if (!ArrivesLast(&state.searched, gridDim.x) || threadIdx.x != 0) return;
  best = atomicExch(&state.best, 0ull);
  state.searched = 0;
  state.counted = 0;
  state.collected = 0;
  state.listed = 0;
  state.total = 0;
  state.highest = best == 0 ? kNoLogit : LogitOf(best);
  const bool possible = state.highest > kNoLogit;
  state.active = possible && kind != JobKind::kGreedy ? 1 : 0;
  if (kind == JobKind::kReport) {
    SampleResult& result = task.results[of_row];
    result.highest = state.highest;
    if (possible) return;  // the rest is written once, by the kernels that know it
    result.sum = 0;
    result.likeliest_count = 0;
  } else if (state.active == 0) {
    Take(task, of_row, best == 0 ? -1 : TokenOf(best));  // of impossible ones the first that is allowed
  }
}

__device__ __forceinline__ bool GoesOn(const SampleTask& task, int index, JobKind kind) {
  return (kind == JobKind::kDraw || kind == JobKind::kReport) && task.states[index].active != 0;
}

/// From what all blocks counted: the buckets whose tokens are candidates.
__device__ __forceinline__ void Decide(const SampleTask& task, int index, const SampleRule& rule, uint64_t* scratch) {
  const SampleJob& job = task.jobs[index];
  SampleState& state = task.states[index];
  const auto& buckets = task.scratch[index].buckets;
  const int first = 2 * static_cast<int>(threadIdx.x);
  uint64_t counts[2], weights[2], all_counts, all_weights;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    counts[i] = __ldcg(buckets.counts + first + i);
    weights[i] = __ldcg(buckets.weights + first + i);
  }
  uint64_t count = InclusiveSum(counts[0] + counts[1], scratch, &all_counts) - counts[0] - counts[1];
  uint64_t weight = InclusiveSum(weights[0] + weights[1], scratch, &all_weights) - weights[0] - weights[1];
  const bool by_weight = rule.by_weight, from_all = rule.from_all;
  uint64_t target;
  if (from_all) {
    target = DrawnWeight(job.uniform, all_weights);
  } else if (by_weight) {
    target = WantedWeight(job.top_p, all_weights) - 1;
  } else {
    const auto wanted = static_cast<uint64_t>(rule.top_k);
    target = (wanted < all_counts ? wanted : all_counts) - 1;
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const uint64_t before = by_weight ? weight : count, amount = by_weight ? weights[i] : counts[i];
    if (before <= target && target < before + amount) {
      state.first_bucket = from_all ? first + i : 0;
      state.last_bucket = first + i;
      state.passed = from_all ? weight : 0;
      state.target = target;
      state.general = (from_all ? counts[i] : count + counts[i]) > kListed ? 1 : 0;
    }
    count += counts[i];
    weight += weights[i];
  }
}

/// Blocks of a multiprocessor that registers must suffice for: as many as it has threads for.
#if defined(__CUDA_ARCH__) && (__CUDA_ARCH__ == 800 || __CUDA_ARCH__ >= 900)
inline constexpr int kCountingBlocks = 2;
#else
inline constexpr int kCountingBlocks = 1;
#endif

__global__ void __launch_bounds__(kSampleThreads, kCountingBlocks) CountBuckets(const __grid_constant__ SampleTask task) {
  __shared__ float tile[kTile];
  __shared__ uint32_t counts[kBuckets], low[kBuckets], high[kBuckets];
  __shared__ uint64_t scratch[32];
  LetNextStart();
  const int index = static_cast<int>(blockIdx.y);
  const SampleRow row = RowOf(task, index, tile);
  const SampleRule rule(*row.job);
  const bool reports = rule.kind == JobKind::kReport, counts_wanted = !reports || rule.top_k > 0;
  for (int i = static_cast<int>(threadIdx.x); i < kBuckets; i += kSampleThreads) counts[i] = low[i] = high[i] = 0;
  WaitForPrevious();
  if (!GoesOn(task, index, rule.kind)) return;
  SampleState& state = task.states[index];
  const float highest = state.highest;
  __syncthreads();
  uint64_t sum = 0;
  row.ForEach(static_cast<int>(blockIdx.x), static_cast<int>(gridDim.x), [&](float logit, int) {
    uint64_t weight;
    if (!rule.Considers(logit, highest, &weight)) return;
    if (reports) sum += WeightOf(logit, highest, rule.scale);
    if (!counts_wanted) return;
    const int bucket = BucketOf(logit, highest);
    atomicAdd(counts + bucket, 1u);
    AddTo(low + bucket, high + bucket, weight);
  });
  if (reports) {
    uint64_t total;
    InclusiveSum(sum, scratch, &total);
    if (threadIdx.x == 0) atomicAdd(&state.total, static_cast<unsigned long long>(total));
  }
  __syncthreads();
  auto& buckets = task.scratch[index].buckets;
  for (int i = static_cast<int>(threadIdx.x); i < kBuckets; i += kSampleThreads) {
    if (counts[i] != 0) atomicAdd(buckets.counts + i, counts[i]);
    const unsigned long long weight = static_cast<unsigned long long>(high[i]) << 32 | low[i];
    if (weight != 0) atomicAdd(buckets.weights + i, weight);
  }
  if (!ArrivesLast(&state.counted, gridDim.x)) return;
  if (reports && threadIdx.x == 0) task.results[index % task.rows].sum = __ldcg(&state.total);
  if (counts_wanted) Decide(task, index, rule, scratch);
}

/// The candidates, in order, to a token or a report.
__device__ __forceinline__ void FinishList(const SampleTask& task, int index, const SampleRule& rule, const uint64_t* list, int count,
                                           uint64_t* scratch) {
  const SampleJob& job = task.jobs[index];
  const SampleState& state = task.states[index];
  const int of_row = index % task.rows, first = 4 * static_cast<int>(threadIdx.x);
  if (job.kind == JobKind::kReport) {
    SampleResult& result = task.results[of_row];
    const int wanted = count < job.top_k ? count : job.top_k, i = static_cast<int>(threadIdx.x);
    if (i == 0) result.likeliest_count = wanted;
    if (i >= wanted) return;
    result.likeliest[i] = TokenOf(list[i]);
    result.likeliest_logits[i] = LogitOf(list[i]);
    return;
  }
  const int limit = job.top_k > 0 && job.top_k < count ? job.top_k : count;
  const uint64_t target = __ldcg(&state.target);
  const bool from_all = rule.from_all;
  uint64_t weights[4], mine = 0, total;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    weights[i] = first + i < limit ? WeightOf(LogitOf(list[first + i]), state.highest, job.scale) : 0;
    mine += weights[i];
  }
  uint64_t wanted = ~uint64_t{0}, before = 0;
  if (!from_all) {
    before = InclusiveSum(mine, scratch, &total) - mine;
    wanted = job.top_k > 0 ? WantedWeight(job.top_p, total) : target + 1;
  }
  mine = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const uint64_t weight = weights[i];
    if (before >= wanted || weight < job.least) weights[i] = 0;
    before += weight;
    mine += weights[i];
  }
  before = __ldcg(&state.passed) + InclusiveSum(mine, scratch, &total) - mine;
  const uint64_t drawn = from_all ? target : DrawnWeight(job.uniform, total);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (before <= drawn && drawn < before + weights[i]) Take(task, of_row, TokenOf(list[first + i]));
    before += weights[i];
  }
}

/// Dynamic shared memory of TakeCandidates.
struct CandidateMemory {
  float tile[kTile];
  union {
    uint64_t list[kListed];
    uint32_t halves[2 * kBuckets];
  };
};

__global__ void __launch_bounds__(kSampleThreads, 1) TakeCandidates(const __grid_constant__ SampleTask task) {
  extern __shared__ __align__(16) uint8_t dynamic_memory[];
  __shared__ uint64_t scratch[32];
  __shared__ uint32_t found, place;
  auto& memory = *reinterpret_cast<CandidateMemory*>(dynamic_memory);
  const int index = static_cast<int>(blockIdx.y);
  const SampleRow row = RowOf(task, index, memory.tile);
  const SampleRule rule(*row.job);
  WaitForPrevious();
  if (!GoesOn(task, index, rule.kind) || (rule.kind == JobKind::kReport && rule.top_k == 0)) return;
  SampleState& state = task.states[index];
  const float highest = state.highest;
  // What the kernel before decided may lie older in this multiprocessor's cache.
  if (__ldcg(&state.general) != 0) {
    if (blockIdx.x != 0) return;
    const GeneralDraw general = {row, highest, memory.halves, memory.halves + kBuckets, scratch};
    if (rule.kind == JobKind::kReport) return general.Report(task.results[index % task.rows]);
    return general.Draw(task, index % task.rows);
  }
  const int first_bucket = __ldcg(&state.first_bucket), last_bucket = __ldcg(&state.last_bucket);
  if (threadIdx.x == 0) found = 0;
  __syncthreads();
  row.ForEach(static_cast<int>(blockIdx.x), static_cast<int>(gridDim.x), [&](float logit, int token) {
    const int bucket = BucketOf(logit, highest);
    uint64_t weight;
    if (bucket < first_bucket || bucket > last_bucket || !rule.Considers(logit, highest, &weight)) return;
    memory.list[atomicAdd(&found, 1u)] = Ranked(logit, token);
  });
  __syncthreads();
  if (threadIdx.x == 0 && found > 0) place = atomicAdd(&state.listed, found);
  __syncthreads();
  unsigned long long* candidates = task.scratch[index].list;
  for (uint32_t i = threadIdx.x; i < found; i += kSampleThreads) candidates[place + i] = memory.list[i];
  if (!ArrivesLast(&state.collected, gridDim.x)) return;
  const auto count = static_cast<int>(__ldcg(&state.listed));
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kSampleThreads) memory.list[i] = __ldcg(candidates + i);
  SortFalling(memory.list, count);
  FinishList(task, index, rule, memory.list, count, scratch);
}

}  // namespace edgellm::cuda
