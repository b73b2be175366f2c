// What `run` says about an answer: counts, durations and rates as Ollama prints them, and what the machine gave for it.
#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "serve/runtime.h"

namespace edgellm::app {

struct AnswerTimes {
  int64_t load = 0, total = 0;  // nanoseconds; load is 0 for later answers of a conversation
};

/// For --verbose.
std::string StatisticsText(const Runtime& runtime, const Generation& generation, const AnswerTimes& times);

/// "dense (dot 142.0, tables 122.8, dense 175.3 weights/ns)": how ternary weights are multiplied and what that was
/// chosen by.
std::string TernaryText(const BackendInfo& info);
/// {"kernel": …, "weights_per_s": {…}}, null for a model without ternary weights.
nlohmann::ordered_json TernaryJson(const BackendInfo& info);

/// The last object of Ollama's /api/generate, with what it lacks beside.
nlohmann::ordered_json AnswerJson(const Runtime& runtime, const Generation& generation, const AnswerTimes& times,
                                  const std::string& model, const std::string& response);

}  // namespace edgellm::app
