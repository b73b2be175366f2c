// What every report of a measurement says: the machine, and spreads of repeated figures.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "bench/percentiles.h"

namespace edgellm::app {

/// Processor, cores and memory of this machine, in one line.
std::string MachineName();

/// {"min", "median", "max"}
nlohmann::ordered_json SpreadJson(const Spread& spread);
/// "median (min to max)", two decimals.
std::string SpreadText(const Spread& spread);

}  // namespace edgellm::app
