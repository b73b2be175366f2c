// Sampling on the device, as its kernels see it: a job a row that is drawn from, a job a row whose log-probabilities
// are wanted, results that the host reads without a copy. Staged by DeviceSampler, carried out by sample.cu; what is
// computed is said in backend/sampling_definition.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cuda/tasks.h"
#include "backend/sampling_definition.h"
#include "plan/sampling.h"

namespace edgellm::cuda {

enum class JobKind : int32_t {
  kNone,    // padding
  kGiven,   // the token is known
  kGreedy,  // the likeliest of the adjusted logits
  kDraw,    // from the adjusted logits
  kReport,  // of the logits as they are: the sum of all weights, and the `top_k` likeliest
};

struct SampleJob {
  JobKind kind;
  int32_t given;
  int32_t top_k;  // 0: no limit; kReport: how many
  float scale;    // WeightScale of the temperature; kReport: of 1
  float top_p;    // 1 or more: no limit
  int32_t adjustment_count;
  double uniform;  // the random number, in [0, 1)
  uint64_t least;  // LeastWeight of min-p
  Penalties penalties;
  const TokenAdjustment* adjustments;  // device memory
  const uint32_t* allowed;             // device memory, a bit a token; null: all
};

/// Logits at distances from the highest one: bucket i holds those from i / 32 to (i + 1) / 32 below it, the last all
/// others.
inline constexpr int kBuckets = 2048;
/// Candidates that are put in order by one block; more take the general way, which reads the row again and again.
inline constexpr int kListed = 4096;

/// What the kernels of one job tell one another. Zero before the first forward.
struct SampleState {
  unsigned long long best;  // the highest rank so far; zero between forwards
  uint32_t searched;        // blocks of the first kernel that have come to their end; zero between forwards
  uint32_t counted, collected;
  uint32_t listed;                    // candidates in the list
  int32_t active;                     // there is something left to do for the later kernels
  float highest;                      // logit
  int32_t first_bucket, last_bucket;  // where the candidates lie
  int32_t general;                    // they are too many for the list
  unsigned long long total;           // kReport: of all weights
  unsigned long long passed;          // weight of the buckets before the first one
  unsigned long long target;          // a place in the cumulative weight: of the draw, or top-p's last
};

/// A job's memory beside its state: counts and weights of buckets, later the candidates.
union SampleScratch {
  struct {
    uint32_t counts[kBuckets];
    unsigned long long weights[kBuckets];
  } buckets;
  unsigned long long list[kListed];
};

struct SampleResult {
  int32_t token;  // -1: none is allowed
  float logit;    // of the token, as the model gave it
  // kReport:
  float highest;
  uint64_t sum;
  int32_t likeliest_count;
  int32_t likeliest[kMostLikeliest];
  float likeliest_logits[kMostLikeliest];
};

struct SampleTask {
  const float* logits;  // [row][stride]; rows begin at 16 bytes
  size_t stride;
  int vocab;
  int rows;                // with padding
  const SampleJob* jobs;   // [rows], then [rows] of reports; device memory
  SampleState* states;     // likewise
  SampleScratch* scratch;  // likewise
  SampleResult* results;   // [row], host memory
  int32_t* tokens;         // [row], device memory: for a forward that follows at once
};

/// What a batch of rows needs; each does what the ones before it do.
enum class SampleWork : uint8_t { kNothing, kGreedy, kDraw, kReport };
void LaunchSample(const SampleTask& task, SampleWork work, const Launch& launch);

}  // namespace edgellm::cuda
