// How one model's ternary matrices are packed on this machine, chosen at load by measuring: which of the kernels is
// fastest depends on the instruction set, on what memory delivers to so many threads, and on the shapes. All give the
// same bits (quant/activation.h), so that the choice never changes an answer.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backend/cpu/kernel_table.h"
#include "base/buffer.h"
#include "base/worker_pool.h"
#include "plan/plan.h"
#include "quant/weight_format.h"

namespace edgellm::cpu {

struct TernaryChoice {
  Packing packing = Packing::kTernary;
  std::string name;  // "dot", "tables" or "dense"; empty: the plan has no ternary matrix
  double share = 1;  // packed bytes for each byte of the matrices in the model
  std::vector<std::pair<std::string, double>> rates;  // what was measured: name, weights per second
};

/// As `wanted` says, or by measuring where it is empty: one token's linear layers of a few of the plan's layers, with
/// the workers as they will run, over memory that is in no cache unless the model is; some tens of milliseconds in all.
/// A model so small that it does not matter gets dot. Throws Error(kInvalidArgument) listing the names.
TernaryChoice ChooseTernary(const Plan& plan, std::span<const WeightView> weights, std::string_view wanted,
                            const KernelTable& kernels, WorkerPool& workers);

/// Ternary matrices that read one input together, in the order in which a forward meets them. Only shapes and formats
/// are looked at.
using TernaryPhase = std::vector<WeightView>;

/// Memory for TernarySeconds, in any packing.
size_t TernaryTrialBytes(std::span<const TernaryPhase> phases);

/// Seconds that one token takes through `phases` packed in one way, tables and barriers included; the mean of `passes`
/// in a row. The weights are whatever is in `memory`: no kernel's speed depends on their values.
double TernarySeconds(std::span<const TernaryPhase> phases, Packing packing, const KernelTable& kernels,
                      WorkerPool& workers, Buffer& memory, int passes);

/// "dot", "tables", "dense".
const char* TernaryName(Packing packing);

}  // namespace edgellm::cpu
