// A plan bound to a device: weights packed in its memory, buffers for activations, and the steps as phases that know
// their kernels' tasks. Made at load (bind.cc), walked for each forward (cuda_backend.cc).
#pragma once

#include <span>
#include <variant>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/device.h"
#include "backend/cuda/tasks.h"

namespace edgellm::cuda {

/// One matrix of a linear step: packed integers, or floats as they are.
struct LinearPart {
  PackedMatrix matrix;  // data null: floats
  OutputTask out{};
  FloatLinearTask floats{};
};

/// Everything that reads one input. `input` says all but the format, which is its parts' (InputOf).
struct LinearPhase {
  PrepareTask input{};
  float* normed = nullptr;  // where normalised floats go
  std::vector<LinearPart> parts;
  bool logit_rows = false;  // the rows that the batch wants logits of, else all tokens
};

using Phase = std::variant<EmbedTask, LinearPhase, FinishHeadsTask, AttendTask>;

struct BoundPlan {
  std::vector<DeviceBuffer> memory;
  std::vector<Phase> phases;
  std::vector<StepKind> kinds;  // of the phases
  size_t weight_bytes = 0;

  Staging staging{};
  float* logits = nullptr;  // [logit row][logit_stride]
  size_t logit_stride = 0;
  float* partial = nullptr;  // slices of LaunchPromptLinear

  const float* residual = nullptr;  // [token][residual_stride]
  size_t residual_stride = 0;
  std::vector<float> final_norm;  // on the host

  uint8_t* cache = nullptr;
  size_t page_bytes = 0, layer_bytes = 0, cache_bytes = 0;
};

/// Throws Error as BackendFactory says.
BoundPlan BindPlan(const Plan& plan, std::span<const WeightView> weights, const BackendLimits& limits, cudaStream_t stream);

}  // namespace edgellm::cuda
