// What a step costs in bytes, and how steps are called where they are counted or timed.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "plan/plan.h"
#include "quant/weight_format.h"

namespace edgellm {

/// The steps of a layer and around it, as times and bytes are reported.
enum class StepKind : uint8_t { kEmbed, kQkv, kAttend, kAttentionOut, kGateUp, kFfnOut, kLogits };
inline constexpr int kStepKinds = 7;

StepKind KindOf(const Step& step);
/// "embed", "qkv", "attend", "attention out", "gate and up", "ffn out", "head".
std::string_view NameOf(StepKind kind);

/// Bytes of weights that the step reads for one token: whole matrices, but one row of the embedding. `weights` as bound
/// to the plan. `ternary_share`: what a backend reads for each byte of the ternary matrices of linear layers.
uint64_t WeightBytes(const Step& step, std::span<const WeightView> weights, double ternary_share = 1);

/// Of all steps.
uint64_t WeightBytesPerToken(const Plan& plan, std::span<const WeightView> weights, double ternary_share = 1);

/// Bytes of keys and values that one token at `position` (0 is the first) reads in all layers.
uint64_t KvBytesRead(const Plan& plan, int64_t position, size_t element_bytes);

}  // namespace edgellm
