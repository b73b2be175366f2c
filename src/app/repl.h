// The conversation at the terminal that `edgellm run MODEL` opens: prompts, /commands, memory across turns.
#pragma once

#include <string>

#include "serve/runtime.h"

namespace edgellm::app {

struct ReplOptions {
  GenerateOptions options;
  std::string system;
  std::string model;  // as the user named it
  bool raw = false;
  bool verbose = false;
};

/// Returns when the user leaves.
void RunRepl(Runtime& runtime, ReplOptions options);

/// Why an answer ended where the context is full, with numbers.
std::string ContextFullText(const Runtime& runtime, const Generation& generation);

}  // namespace edgellm::app
