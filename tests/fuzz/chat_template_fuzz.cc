// Fuzzes the chat template: the input is the template's source, the context is fixed, the limits are low. Any outcome
// is fine but a crash, a leak, a hang, or an exception that is not an Error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const nlohmann::ordered_json context = nlohmann::ordered_json::parse(R"({
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hé → 🤖"},
                 {"role": "assistant", "content": null, "tool_calls": [{"id": "abcdefghi", "type": "function",
                   "function": {"name": "f", "arguments": {"a": 1, "b": [1.5, true, null]}}}]},
                 {"role": "tool", "content": {"x": 1}}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
    "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>", "n": 3, "l": [3, 1, 2], "s": "a b,c"})");
  edgellm::text::TemplateLimits limits;
  limits.steps = 20'000;
  limits.output_bytes = 1u << 16;
  limits.depth = 40;
  try {
    const std::string_view source(reinterpret_cast<const char*>(data), size);
    edgellm::text::ChatTemplate(source, "fuzz", limits).Render(context, 1'784'937'600);
  } catch (const edgellm::Error&) {
  }
  return 0;
}
