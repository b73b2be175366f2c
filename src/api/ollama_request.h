// Ollama's /api/generate and /api/chat, from their JSON to what is asked for. Fields, defaults and error texts are
// those of Ollama's API; docs/api.md says where we differ.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "serve/generate.h"
#include "serve/model_host.h"

namespace edgellm::api {

struct OllamaAsk {
  enum class Action : uint8_t { kAnswer, kLoad, kUnload };
  Action action = Action::kAnswer;
  bool chat = false;  // which of the two
  LoadRequest load;
  GenerateRequest request;  // kAnswer
  bool stream = true;
  std::vector<int32_t> context;       // generate: the conversation so far, before the prompt
  bool keep_context = false;          // generate: the conversation comes back with the end
  std::vector<std::string> warnings;  // options that are unknown or have no effect
};

/// Both throw RequestError, and Error(kInvalidArgument) for options.
OllamaAsk ParseOllamaGenerate(std::string_view body);
OllamaAsk ParseOllamaChat(std::string_view body);

}  // namespace edgellm::api
