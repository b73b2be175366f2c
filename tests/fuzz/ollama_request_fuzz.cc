// Fuzzes the readers of Ollama's requests: the first byte chooses the route, the rest is the body. Any outcome is fine
// but a crash, a leak, a hang, or an exception that is not an Error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "api/embeddings.h"
#include "api/ollama_request.h"
#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    using edgellm::api::EmbeddingAsk;
    switch (data[0] % 4) {
      case 0:
        edgellm::api::ParseOllamaGenerate(text);
        break;
      case 1:
        edgellm::api::ParseOllamaChat(text);
        break;
      case 2:
        edgellm::api::ParseEmbedding(text, EmbeddingAsk::Form::kOllama);
        break;
      default:
        edgellm::api::ParseEmbedding(text, EmbeddingAsk::Form::kOllamaOld);
    }
  } catch (const edgellm::Error&) {
  }
  return 0;
}
