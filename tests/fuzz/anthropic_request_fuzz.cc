// Fuzzes the reader of Anthropic's messages: the first byte chooses the route, the rest is the body. Any outcome is
// fine but a crash, a leak, a hang, or an exception that is not an Error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "api/anthropic_request.h"
#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    const bool count = data[0] % 2 == 1;
    const auto ask = edgellm::api::ParseAnthropic(text, count);
    if (!count && !ask.request.options.max_tokens) __builtin_trap();
  } catch (const edgellm::Error&) {
  }
  return 0;
}
