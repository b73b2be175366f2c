// See generate_options.h.
#include "serve/generate_options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <random>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace edgellm {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void FailType(std::string_view name, const char* type) {
  Fail(ErrorCode::kInvalidArgument, "option \"{}\" must be of type {}", name, type);
}

int ToInt(std::string_view name, int64_t value) {
  if (value < INT32_MIN || value > INT32_MAX) Fail(ErrorCode::kInvalidArgument, "option \"{}\" is out of range", name);
  return static_cast<int>(value);
}

float ToFloat(std::string_view name, double value) {
  const auto narrow = static_cast<float>(value);
  if (!std::isfinite(narrow)) FailType(name, "number");
  return narrow;
}

void AddStop(GenerateOptions& options, std::string_view text) {
  if (text.empty()) Fail(ErrorCode::kInvalidArgument, "a stop string must not be empty");
  options.stop.emplace_back(text);
}

/// An option by its name, with the one of these that says its type.
struct NamedOption {
  std::string_view name;
  std::optional<int> GenerateOptions::*integer = nullptr;
  std::optional<float> GenerateOptions::*number = nullptr;
  int GenerateOptions::*plain_integer = nullptr;
  bool GenerateOptions::*flag = nullptr;
};

using Options = GenerateOptions;
constexpr NamedOption kNamed[] = {
    {.name = "num_predict", .integer = &Options::max_tokens},
    {.name = "temperature", .number = &Options::temperature},
    {.name = "top_k", .integer = &Options::top_k},
    {.name = "top_p", .number = &Options::top_p},
    {.name = "min_p", .number = &Options::min_p},
    {.name = "repeat_penalty", .number = &Options::repetition_penalty},
    {.name = "repeat_last_n", .integer = &Options::repeat_last_n},
    {.name = "presence_penalty", .number = &Options::presence_penalty},
    {.name = "frequency_penalty", .number = &Options::frequency_penalty},
    {.name = "min_tokens", .plain_integer = &Options::min_tokens},
    {.name = "ignore_eos", .flag = &Options::ignore_eos},
};

const NamedOption* FindOption(std::string_view name) {
  const auto* found = std::find_if(std::begin(kNamed), std::end(kNamed),
                                   [&](const NamedOption& option) { return option.name == name; });
  return found == std::end(kNamed) ? nullptr : found;
}

int64_t ParseInteger(std::string_view name, std::string_view text) {
  int64_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size()) FailType(name, "integer");
  return value;
}

float ParseFloat(std::string_view name, std::string_view text) {
  float value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) FailType(name, "number");
  return value;
}

bool ParseFlag(std::string_view name, std::string_view text) {
  if (text != "true" && text != "false") FailType(name, "boolean");
  return text == "true";
}

void SetSeed(Options& options, int64_t seed) {
  options.seed = seed < 0 ? std::nullopt : std::optional<uint64_t>(static_cast<uint64_t>(seed));
}

int64_t JsonInteger(std::string_view name, const Json& value) {
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX}) {
    Fail(ErrorCode::kInvalidArgument, "option \"{}\" is out of range", name);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  const double number = value.is_number_float() ? value.get<double>() : 0.5;  // what no integer is
  if (number != std::floor(number) || std::abs(number) > 1e15) FailType(name, "integer");
  return static_cast<int64_t>(number);
}

void SetJsonOption(Options& options, const NamedOption& option, const Json& value) {
  const std::string_view name = option.name;
  if (option.number != nullptr) {
    if (!value.is_number()) FailType(name, "number");
    options.*option.number = ToFloat(name, value.get<double>());
  } else if (option.flag != nullptr) {
    if (!value.is_boolean()) FailType(name, "boolean");
    options.*option.flag = value.get<bool>();
  } else {
    int number = ToInt(name, JsonInteger(name, value));
    if (name == "num_predict" && number < 1) number = -1;
    if (name == "top_k") number = std::max(number, 0);
    if (option.integer != nullptr) {
      options.*option.integer = number;
    } else {
      options.*option.plain_integer = number;
    }
  }
}

void SetJsonStop(Options& options, const Json& value) {
  const bool list = value.is_array();
  if (!list && !value.is_string()) FailType("stop", "string or list of strings");
  for (const Json& text : list ? value : Json::array({value})) {
    if (!text.is_string()) FailType("stop", "string or list of strings");
    AddStop(options, text.get_ref<const std::string&>());
  }
}

/// Options of Ollama's that are none of an answer's.
void SetOther(const std::string& name, const Json& value, OtherOptions* other) {
  if (name == "num_ctx") {
    const int context = ToInt(name, JsonInteger(name, value));
    if (context < 1) Fail(ErrorCode::kInvalidArgument, "option \"num_ctx\" must be above 0");
    other->context = context;
  } else if (name == "num_batch" || name == "num_gpu" || name == "num_thread" || name == "num_keep") {
    ToInt(name, JsonInteger(name, value));
  } else if (name == "typical_p") {
    if (!value.is_number()) FailType(name, "number");
    if (value.get<double>() != 1) other->warnings.push_back("option \"typical_p\" has no effect");
  } else {
    other->warnings.push_back(fmt::format("unknown option \"{}\"", name));
  }
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
  Override(&sampling.presence_penalty, model.presence_penalty);
  Override(&sampling.frequency_penalty, model.frequency_penalty);
  Override(&sampling.repeat_last_n, model.repeat_last_n);
  Override(&resolved.max_tokens, model.max_tokens);

  Override(&resolved.max_tokens, options.max_tokens);
  Override(&sampling.temperature, options.temperature);
  Override(&sampling.top_k, options.top_k);
  Override(&sampling.top_p, options.top_p);
  Override(&sampling.min_p, options.min_p);
  Override(&sampling.repetition_penalty, options.repetition_penalty);
  Override(&sampling.presence_penalty, options.presence_penalty);
  Override(&sampling.frequency_penalty, options.frequency_penalty);
  Override(&sampling.repeat_last_n, options.repeat_last_n);
  sampling.seed = options.seed ? *options.seed : model.seed ? *model.seed : RandomSeed();
  // Clients say 0 where they want the likeliest token alone.
  if (sampling.top_p == 0) sampling.top_p = std::numeric_limits<float>::min();
  sampling.log_probability = options.log_probabilities || options.prompt_log_probabilities || options.likeliest > 0;
  sampling.likeliest = options.likeliest;

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
  if (const NamedOption* option = FindOption(name)) {
    if (option->number != nullptr) {
      options->*option->number = ParseFloat(name, value);
    } else if (option->flag != nullptr) {
      options->*option->flag = ParseFlag(name, value);
    } else if (option->integer != nullptr) {
      options->*option->integer = ToInt(name, ParseInteger(name, value));
    } else {
      options->*option->plain_integer = ToInt(name, ParseInteger(name, value));
    }
  } else if (name == "seed") {
    SetSeed(*options, ParseInteger(name, value));
  } else if (name == "stop") {
    AddStop(*options, value);
  } else {
    Fail(ErrorCode::kInvalidArgument,
         "unknown option \"{}\": there are num_predict, temperature, top_k, top_p, min_p, repeat_penalty, "
         "repeat_last_n, presence_penalty, frequency_penalty, seed, stop, min_tokens, ignore_eos",
         name);
  }
}

void SetJsonOptions(GenerateOptions* options, const nlohmann::ordered_json& values, OtherOptions* other) {
  if (values.is_null()) return;
  if (!values.is_object()) Fail(ErrorCode::kInvalidArgument, "options must be an object");
  for (const auto& [name, value] : values.items()) {
    if (value.is_null()) continue;
    if (const NamedOption* option = FindOption(name)) {
      SetJsonOption(*options, *option, value);
    } else if (name == "seed") {
      SetSeed(*options, JsonInteger(name, value));
    } else if (name == "stop") {
      SetJsonStop(*options, value);
    } else {
      SetOther(name, value, other);
    }
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
  if (options.min_tokens > 0) list.emplace_back("min_tokens", fmt::format("{}", options.min_tokens));
  if (options.ignore_eos) list.emplace_back("ignore_eos", "true");
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
  same.presence_penalty = model.presence_penalty;
  same.frequency_penalty = model.frequency_penalty;
  same.repeat_last_n = model.repeat_last_n;
  same.max_tokens = model.max_tokens;
  same.seed = model.seed;
  same.stop = model.stop_strings;
  return Describe(same);
}

}  // namespace edgellm
