// Fuzzes the parser of tool calls: the first byte chooses family and cuts, the rest is the answer. No byte may be lost
// where there is no call, the cuts may not matter, and arguments must be JSON objects.
#include <cstddef>
#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "constrain/tool_call_parser.h"

namespace edgellm::constrain {
namespace {

struct Result {
  std::string content, calls;
  int count = 0;
};

void Add(Result* result, const ToolCallOutput& output) {
  result->content += output.content;
  for (const ToolCall& call : output.calls) {
    if (!nlohmann::json::parse(call.arguments).is_object()) __builtin_trap();
    if (call.index != result->count++) __builtin_trap();
    result->calls += call.id + call.name + call.arguments;
  }
}

Result Parse(ToolCallFamily family, std::string_view text, size_t step) {
  ToolCallParser parser(family, {.names = {}, .seed = 7});
  Result result;
  while (!text.empty()) {
    size_t length = 0;
    for (size_t i = 0; i < step && length < text.size(); ++i)
      length += static_cast<size_t>(utf8::Decode(text.substr(length)).length);
    Add(&result, parser.Push(text.substr(0, length)));
    text.remove_prefix(length);
  }
  Add(&result, parser.Finish());
  return result;
}

}  // namespace
}  // namespace edgellm::constrain

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgellm::constrain;
  if (size == 0) return 0;
  static constexpr ToolCallFamily kFamilies[] = {ToolCallFamily::kTagged, ToolCallFamily::kLlama3,
                                                 ToolCallFamily::kMistralList, ToolCallFamily::kMistralNamed};
  const auto family = kFamilies[data[0] % 4];
  const std::string text = edgellm::utf8::Sanitize({reinterpret_cast<const char*>(data) + 1, size - 1});
  const Result whole = Parse(family, text, text.size() + 1), cut = Parse(family, text, 1 + data[0] / 4 % 8);
  if (whole.content != cut.content || whole.calls != cut.calls) __builtin_trap();
  if (whole.count == 0 && whole.content != text) __builtin_trap();
  return 0;
}
