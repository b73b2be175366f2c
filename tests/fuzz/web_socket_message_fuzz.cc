// Fuzzes the reader of /v1/stream's messages. Any outcome is fine but a crash, a leak, a hang, or an exception that is
// not an Error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "api/stream_session.h"
#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    const auto message = edgellm::api::ParseStreamMessage(text, data[0] % 2 == 0 ? "model" : "");
    const bool generates = message.kind == edgellm::api::StreamMessage::Kind::kGenerate;
    if (generates && message.ask.requests.size() != 1) __builtin_trap();
  } catch (const edgellm::Error&) {
  }
  return 0;
}
