// Which instruction sets this program has kernels for, and which of them this machine can run.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "backend/cpu/kernel_table.h"

namespace edgellm::cpu {

/// Kernels that this machine can run, best first; "scalar" is always the last.
std::vector<const KernelTable*> UsableKernels();

/// By name, or the best for an empty name. Throws Error(kEnvironment) listing what can run here.
const KernelTable& ChooseKernels(std::string_view name);

}  // namespace edgellm::cpu
