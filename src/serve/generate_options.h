// What a caller may ask of one answer, by Ollama's option names, and how it meets what the model's publisher
// recommends: the request overrides the model, the model overrides the program's defaults.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/model.h"
#include "plan/sampling.h"
#include "serve/answer_format.h"

namespace edgellm {

struct GenerateOptions {
  std::optional<int> max_tokens;  // num_predict; -1: until the model stops or the context is full
  std::optional<float> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int> top_k, repeat_last_n;
  std::optional<uint64_t> seed;        // absent: a random one is drawn for every answer
  std::vector<std::string> stop;       // beside the model's own
  std::optional<AnswerFormat> format;  // absent: any text
};

/// Everything decided.
struct ResolvedOptions {
  int max_tokens = -1;
  SamplingParameters sampling;
  std::vector<int32_t> stop_tokens;
  std::vector<std::string> stop_strings;
};

/// `end_of_text` is the tokenizer's, which ends an answer whatever the model's defaults list.
ResolvedOptions Resolve(const GenerateOptions& options, const GenerationDefaults& model,
                        std::optional<int32_t> end_of_text);

/// Sets one option from text: num_predict, temperature, top_k, top_p, min_p, repeat_penalty, repeat_last_n,
/// presence_penalty, frequency_penalty, seed (-1: random), stop (adds one).
/// Throws Error(kInvalidArgument) for an unknown name or a value of the wrong type.
void SetOption(GenerateOptions* options, std::string_view name, std::string_view value);

/// Names and values of what is set, for people.
std::vector<std::pair<std::string, std::string>> Describe(const GenerateOptions& options);

/// The model's own, under the same names.
std::vector<std::pair<std::string, std::string>> Describe(const GenerationDefaults& model);

}  // namespace edgellm
