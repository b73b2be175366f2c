// See generate_options.h.
#include "serve/generate_options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <random>

#include "base/error.h"

namespace edgellm {
namespace {

int64_t ParseInteger(std::string_view name, std::string_view text) {
  int64_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size()) {
    Fail(ErrorCode::kInvalidArgument, "option \"{}\" must be of type integer", name);
  }
  return value;
}

int ParseInt(std::string_view name, std::string_view text) {
  const int64_t value = ParseInteger(name, text);
  if (value < INT32_MIN || value > INT32_MAX) Fail(ErrorCode::kInvalidArgument, "option \"{}\" is out of range", name);
  return static_cast<int>(value);
}

float ParseFloat(std::string_view name, std::string_view text) {
  float value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    Fail(ErrorCode::kInvalidArgument, "option \"{}\" must be of type number", name);
  }
  return value;
}

/// 32 bits: short enough to be typed again, and exact in every JSON reader.
uint64_t RandomSeed() {
  return std::random_device()();
}

template <typename T>
void Override(T* value, const std::optional<T>& by) {
  if (by) *value = *by;
}

template <typename T>
void Append(std::vector<std::pair<std::string, std::string>>* list, const char* name, const std::optional<T>& value) {
  if (value) list->emplace_back(name, fmt::format("{}", *value));
}

}  // namespace

ResolvedOptions Resolve(const GenerateOptions& options, const GenerationDefaults& model,
                        std::optional<int32_t> end_of_text) {
  ResolvedOptions resolved;
  SamplingParameters& sampling = resolved.sampling;
  Override(&sampling.temperature, model.temperature);
  Override(&sampling.top_k, model.top_k);
  Override(&sampling.top_p, model.top_p);
  Override(&sampling.min_p, model.min_p);
  Override(&sampling.repetition_penalty, model.repetition_penalty);

  Override(&resolved.max_tokens, options.max_tokens);
  Override(&sampling.temperature, options.temperature);
  Override(&sampling.top_k, options.top_k);
  Override(&sampling.top_p, options.top_p);
  Override(&sampling.min_p, options.min_p);
  Override(&sampling.repetition_penalty, options.repetition_penalty);
  Override(&sampling.presence_penalty, options.presence_penalty);
  Override(&sampling.frequency_penalty, options.frequency_penalty);
  Override(&sampling.repeat_last_n, options.repeat_last_n);
  sampling.seed = options.seed ? *options.seed : RandomSeed();

  resolved.stop_tokens = model.stop_tokens;
  if (end_of_text &&
      std::find(model.stop_tokens.begin(), model.stop_tokens.end(), *end_of_text) == model.stop_tokens.end()) {
    resolved.stop_tokens.push_back(*end_of_text);
  }
  resolved.stop_strings = model.stop_strings;
  resolved.stop_strings.insert(resolved.stop_strings.end(), options.stop.begin(), options.stop.end());
  return resolved;
}

void SetOption(GenerateOptions* options, std::string_view name, std::string_view value) {
  if (name == "num_predict") {
    options->max_tokens = ParseInt(name, value);
  } else if (name == "temperature") {
    options->temperature = ParseFloat(name, value);
  } else if (name == "top_k") {
    options->top_k = ParseInt(name, value);
  } else if (name == "top_p") {
    options->top_p = ParseFloat(name, value);
  } else if (name == "min_p") {
    options->min_p = ParseFloat(name, value);
  } else if (name == "repeat_penalty") {
    options->repetition_penalty = ParseFloat(name, value);
  } else if (name == "repeat_last_n") {
    options->repeat_last_n = ParseInt(name, value);
  } else if (name == "presence_penalty") {
    options->presence_penalty = ParseFloat(name, value);
  } else if (name == "frequency_penalty") {
    options->frequency_penalty = ParseFloat(name, value);
  } else if (name == "seed") {
    const int64_t seed = ParseInteger(name, value);
    options->seed = seed < 0 ? std::nullopt : std::optional<uint64_t>(static_cast<uint64_t>(seed));
  } else if (name == "stop") {
    if (value.empty()) Fail(ErrorCode::kInvalidArgument, "a stop string must not be empty");
    options->stop.emplace_back(value);
  } else {
    Fail(ErrorCode::kInvalidArgument,
         "unknown option \"{}\": there are num_predict, temperature, top_k, top_p, min_p, repeat_penalty, "
         "repeat_last_n, "
         "presence_penalty, frequency_penalty, seed, stop",
         name);
  }
}

std::vector<std::pair<std::string, std::string>> Describe(const GenerateOptions& options) {
  std::vector<std::pair<std::string, std::string>> list;
  Append(&list, "num_predict", options.max_tokens);
  Append(&list, "temperature", options.temperature);
  Append(&list, "top_k", options.top_k);
  Append(&list, "top_p", options.top_p);
  Append(&list, "min_p", options.min_p);
  Append(&list, "repeat_penalty", options.repetition_penalty);
  Append(&list, "repeat_last_n", options.repeat_last_n);
  Append(&list, "presence_penalty", options.presence_penalty);
  Append(&list, "frequency_penalty", options.frequency_penalty);
  Append(&list, "seed", options.seed);
  for (const auto& stop : options.stop) list.emplace_back("stop", stop);
  return list;
}

std::vector<std::pair<std::string, std::string>> Describe(const GenerationDefaults& model) {
  GenerateOptions same;
  same.temperature = model.temperature;
  same.top_k = model.top_k;
  same.top_p = model.top_p;
  same.min_p = model.min_p;
  same.repetition_penalty = model.repetition_penalty;
  same.stop = model.stop_strings;
  return Describe(same);
}

}  // namespace edgellm
