// Texts to vectors, in the three forms that clients ask for it: Ollama's /api/embed and its older /api/embeddings, and
// OpenAI's /v1/embeddings. The work is Services::embed's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "api/services.h"

namespace edgellm::api {

struct EmbeddingAsk {
  enum class Form : uint8_t { kOllama, kOllamaOld, kOpenAi };
  Form form = Form::kOllama;
  EmbeddingRequest request;
  bool base64 = false;  // kOpenAi: floats as bytes, the least significant first
};

/// Throws RequestError.
EmbeddingAsk ParseEmbedding(std::string_view body, EmbeddingAsk::Form form);

/// `took`: nanoseconds since the request came.
std::string EmbeddingBody(const EmbeddingAsk& ask, const EmbeddingResult& result, int64_t took);

}  // namespace edgellm::api
