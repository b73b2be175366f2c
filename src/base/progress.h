// How long work tells what it is doing. The receiver decides whether to draw a bar; the worker only calls.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace edgellm {

/// Called with the name of the activity and how much of `total` units is done. May be empty. Throwing from it cancels
/// the work.
using Progress = std::function<void(std::string_view activity, uint64_t done, uint64_t total)>;

}  // namespace edgellm
