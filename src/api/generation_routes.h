// The routes that generate, as data: method, pattern, handler. routes.h puts them into a router.
#pragma once

#include <span>
#include <string_view>

#include "api/services.h"
#include "http/exchange.h"

namespace edgellm::api {

struct GenerationRoute {
  std::string_view method, pattern;
  void (*handle)(const ServicesPointer& services, std::shared_ptr<http::Exchange> exchange);
};

/// Ollama's generate, chat, embed and embeddings; OpenAI's chat completions, completions, responses and embeddings;
/// Anthropic's messages and count_tokens.
std::span<const GenerationRoute> GenerationRoutes();

/// Longer requests are refused (413): a prompt of a million tokens, and what is written around it.
inline constexpr uint64_t kMaxGenerationBody = uint64_t{32} << 20;

}  // namespace edgellm::api
