// Fuzzes the lines of the JSON session: whatever a line holds, it becomes a request or an Error, and the error's answer
// is JSON of one line that names the same id.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "serve/json_lines.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgellm;
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  try {
    const JsonLineRequest request = ParseJsonLine(line);
    if (request.id != JsonLineId(line)) __builtin_trap();
  } catch (const Error& error) {
    const auto id = JsonLineId(line);
    const std::string answer = ErrorLine(id, error.code(), error.what());
    if (answer.find('\n') != std::string::npos) __builtin_trap();
    if (nlohmann::ordered_json::parse(answer)["event"] != "error") __builtin_trap();
  }
  return 0;
}
