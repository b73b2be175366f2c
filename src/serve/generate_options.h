// What a caller may ask of one answer, by Ollama's option names, and how it meets what the model's publisher
// recommends: the request overrides the model, the model overrides the program's defaults.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

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
  bool ignore_eos = false;             // stop tokens are tokens like others
  int min_tokens = 0;                  // no stop token before so many
  std::vector<TokenBias> logit_bias;
  bool log_probabilities = false;         // of the answer's tokens, with
  int likeliest = 0;                      // so many of the likeliest beside each: 0 to kMostLikeliest
  bool prompt_log_probabilities = false;  // of the prompt's tokens from its second on
  int samples = 1;                        // answers to the same prompt
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
/// presence_penalty, frequency_penalty, seed (-1: random), stop (adds one), ignore_eos, min_tokens.
/// Throws Error(kInvalidArgument) for an unknown name or a value of the wrong type.
void SetOption(GenerateOptions* options, std::string_view name, std::string_view value);

/// What a request's JSON options hold beside those of the answer.
struct OtherOptions {
  std::optional<int> context;         // num_ctx: decided when a model is loaded
  std::vector<std::string> warnings;  // a line for each name that is unknown or has no effect
};

/// Sets options from a JSON object: the names above with values of their types, where integers may be written 5.0, stop
/// may be a text or a list, num_predict below 1 means no limit and top_k below 0 none, as Ollama takes them. null
/// leaves an option as it is. Of Ollama's others num_ctx goes to `other`; num_batch, num_gpu, num_thread and num_keep
/// are checked and have no effect, as this program decides them by itself; typical_p has none unless it is 1, which is
/// worth a warning, as is an unknown name.
/// Throws Error(kInvalidArgument): `option "x" must be of type integer`.
void SetJsonOptions(GenerateOptions* options, const nlohmann::ordered_json& values, OtherOptions* other);

/// Names and values of what is set, for people.
std::vector<std::pair<std::string, std::string>> Describe(const GenerateOptions& options);

/// The model's own, under the same names.
std::vector<std::pair<std::string, std::string>> Describe(const GenerationDefaults& model);

}  // namespace edgellm
