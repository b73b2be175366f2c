// A model as a whole: what a model file carries, and what every import produces.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/config.h"
#include "model/weight_table.h"
#include "plan/sampling.h"

namespace edgellm {

/// A prompt whose greedy continuation is known: how `edgellm verify` proves that file, kernels and machine agree.
struct GoldenPrompt {
  std::vector<int32_t> prompt;
  std::vector<int32_t> expected;  // greedy continuation
};

/// What the model's publisher recommends; absent fields fall back to SamplingParameters' defaults.
struct GenerationDefaults {
  std::optional<float> temperature, top_p, min_p, repetition_penalty;
  std::optional<int> top_k;
  std::vector<int32_t> stop_tokens;  // ids that end an answer
  std::vector<std::string> stop_strings;

  // What a Modelfile may say beside it; not stored in model files.
  std::optional<float> presence_penalty, frequency_penalty;
  std::optional<int> repeat_last_n, max_tokens, context;
  std::optional<uint64_t> seed;
};

/// What stands before every conversation with a model that a Modelfile describes.
struct Preamble {
  std::string system;                                         // the system message, unless the conversation has its own
  std::vector<std::pair<std::string, std::string>> messages;  // role and content, after the system message
};

/// Where the weights came from and what was done to them.
struct Provenance {
  std::string source;                   // file or folder name as given (no absolute path)
  std::string source_format;            // "huggingface", "gguf", "llama2c"
  std::string source_digest;            // SHA-256 over the source's weight files in name order
  std::string recipe_json;              // the quantisation recipe: an object; "{}" when nothing was quantised
  std::string created_by;               // "edgellm 0.1.0"
  std::vector<std::string> notes = {};  // what was left out or changed, a line each, for people
};

struct Model {
  std::string name;  // for people
  std::string path;  // of the file or folder it was loaded from, as given; not stored
  ModelConfig config;
  WeightTable weights;
  std::string tokenizer_json;  // text::Tokenizer::FromJson reads it; empty when the source had no tokenizer
  std::string chat_template;   // Jinja; empty when the source had none
  GenerationDefaults generation;
  Preamble preamble;  // not stored in model files
  Provenance provenance;
  std::vector<GoldenPrompt> golden;

  /// What error messages call it.
  const std::string& Label() const { return path.empty() ? name : path; }
};

}  // namespace edgellm
