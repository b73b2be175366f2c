// Measures the engine as many users meet it: the time to the first token of requests that share a long beginning, and
// what becomes of running streams when a long prompt arrives. Through the engine, in one thread, greedy.
#pragma once

#include <vector>

#include "base/progress.h"
#include "bench/percentiles.h"
#include "serve/runtime.h"

namespace edgellm {

struct ServingBenchOptions {
  int users = 32;      // requests over one shared prompt; 0: not measured
  int shared = 2048;   // tokens of it
  int streams = 4;     // running while a long prompt arrives; 0: not measured
  int context = 1024;  // tokens that they stand at: enough for their own growth not to matter
  int long_prompt = 8192;
  int tokens = 400;  // of each stream before the long prompt, and after it
  int rounds = 3;
};

struct ServingBenchResult {
  BackendInfo backend;
  int users = 0, shared = 0;
  // Milliseconds to the first token, over the rounds: of the first user; of the others one after another, the slowest
  // of them; of the others at once, the median and the slowest.
  Spread first_ms, next_slowest_ms, others_median_ms, others_slowest_ms;
  // The same when all of them come together: the slowest.
  Spread together_slowest_ms;
  double together_computed = 0;  // tokens of prompts that were computed for all of them, in the last round

  int streams = 0, context = 0, long_prompt = 0;
  Percentiles before_ms, beside_ms, after_ms;  // between the streams' tokens: before the prompt, beside it, after it
  double prompt_seconds = 0;                   // to the long prompt's first token beside the streams
  double prompt_alone_seconds = 0;             // and alone
  StepCosts costs;                             // as learnt
  double cost_deviation = 0;
};

/// Throws Error as a Runtime does; kInvalidArgument where a length does not fit the model's context.
ServingBenchResult MeasureServing(const Model& model, const RuntimeOptions& options, const ServingBenchOptions& what,
                                  const Progress& progress);

}  // namespace edgellm
