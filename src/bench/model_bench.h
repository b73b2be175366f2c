// Measures one model on this machine as its users meet it: through the engine, one request at a time.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/progress.h"
#include "bench/percentiles.h"
#include "serve/runtime.h"

namespace edgellm {

struct ModelBenchOptions {
  std::vector<int> contexts = {128, 512, 2048};  // positions already filled when decoding is measured
  std::vector<int> prefills = {128, 512, 2048};  // tokens of a prompt
  int tokens = 64;                               // decoded for each figure
  int rounds = 3;                                // repetitions of each figure
  int itl_tokens = 2000;                         // decoded in a row for the times between tokens; 0: none
};

struct DecodeFigure {
  int context = 0;
  Spread tokens_per_second;
  double gb_per_second = 0;  // weights, keys and values that one token reads, at the median rate
};
struct PrefillFigure {
  int tokens = 0;
  Spread tokens_per_second;
};
struct StepFigure {
  StepKind kind{};
  double milliseconds = 0;  // of one token
  uint64_t bytes = 0;       // that a decoded one reads: weights; keys and values for kAttend
};

struct ModelBenchResult {
  BackendInfo backend;
  uint64_t weight_bytes_per_token = 0;
  double load_seconds = 0;  // binding: packing, choosing kernels
  std::vector<DecodeFigure> decode;
  std::vector<PrefillFigure> prefill;
  std::vector<StepFigure> steps;          // of decoding at the first context
  std::vector<StepFigure> prefill_steps;  // of a prompt of the last length, for each of its tokens
  int ttft_prompt = 0;                    // tokens of the first prompt length
  double ttft_ms = 0;                     // from submitting it to its first token, median
  int itl_tokens = 0;
  Percentiles itl_ms;
  // While those tokens were decoded, after the first of them.
  uint64_t allocations = 0, minor_faults = 0, major_faults = 0;
  uint64_t peak_resident_bytes = 0;
};

/// Throws Error as a Runtime does; kInvalidArgument where a length does not fit the model's context.
ModelBenchResult MeasureModel(const Model& model, const RuntimeOptions& options, const ModelBenchOptions& what,
                              const Progress& progress);

}  // namespace edgellm
