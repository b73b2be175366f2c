// Fuzzes the readers of OpenAI's requests: the first byte chooses the route, the rest is the body. Any outcome is fine
// but a crash, a leak, a hang, or an exception that is not an Error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "api/embeddings.h"
#include "api/openai_request.h"
#include "api/responses_request.h"
#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    switch (data[0] % 4) {
      case 0:
        edgellm::api::ParseOpenAiChat(text);
        break;
      case 1: {
        const auto ask = edgellm::api::ParseOpenAiCompletion(text);
        if (ask.requests.size() != ask.shape.prompts) __builtin_trap();
        break;
      }
      case 2:
        edgellm::api::ParseResponses(text);
        break;
      default:
        edgellm::api::ParseEmbedding(text, edgellm::api::EmbeddingAsk::Form::kOpenAi);
    }
  } catch (const edgellm::Error&) {
  }
  return 0;
}
