// What is asked for and answered when texts become vectors.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "engine/request.h"

namespace edgellm {

using EmbedInput = std::variant<std::string, std::vector<int32_t>>;

struct EmbedRequest {
  std::vector<EmbedInput> inputs;    // a text gets what the tokenizer puts around texts
  Pooling pooling = Pooling::kMean;  // kMean or kLast
  bool truncate = true;              // the end of an input that is longer than the context is left out; false: kLimit
  int dimensions = 0;                // only so many of the first, to length one again; 0: all
  Priority priority = Priority::kNormal;
  std::string cache_salt = {};
};

struct Embeddings {
  std::vector<std::vector<float>> vectors;  // of length one, in the order of the inputs
  int prompt_tokens = 0;                    // read, of all inputs
  int dropped_tokens = 0;                   // by `truncate`
};

/// `failure` is null where all went well.
using EmbedListener = std::function<void(Embeddings embeddings, std::exception_ptr failure)>;

}  // namespace edgellm
