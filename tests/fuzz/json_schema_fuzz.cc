// Fuzzes the compiler of JSON schemas: the input is a schema; a document that its grammar makes must be JSON. Any
// outcome is fine but a crash, a leak, a hang, or an exception that is not an Error.
#include <cstddef>
#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "constrain/automaton.h"
#include "constrain/json_schema.h"
#include "constrain/recognizer.h"

namespace edgellm::constrain {
namespace {

void Walk(std::string_view source) {
  if (source.size() > 8192) return;
  const Automaton automaton = CompileGrammar(CompileJsonSchemaText(source));
  Recognizer recognizer(automaton);
  PositionId position = recognizer.Start();
  std::string text;
  uint32_t seed = static_cast<uint32_t>(source.size());
  while (text.size() < 400) {
    if (recognizer.MayEnd(position)) {
      if (!nlohmann::json::accept(text)) __builtin_trap();
      return;
    }
    // Closing brackets and quotes first, every second time: an end should come.
    seed = seed * 1664525 + 1013904223;
    PositionId next = Recognizer::kDead;
    std::string order = (seed >> 9) % 2 == 0 ? "\"]}" : "";
    for (unsigned byte = 0; byte < 256; ++byte) order.push_back(static_cast<char>(byte + (seed >> 16)));
    for (size_t i = 0; i < order.size() && next == Recognizer::kDead; ++i) {
      next = recognizer.Step(position, static_cast<uint8_t>(order[i]));
      if (next != Recognizer::kDead) text.push_back(order[i]);
    }
    if (next == Recognizer::kDead) __builtin_trap();  // neither an end nor a way on
    position = next;
  }
}

}  // namespace
}  // namespace edgellm::constrain

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    edgellm::constrain::Walk({reinterpret_cast<const char*>(data), size});
  } catch (const edgellm::Error&) {
  }
  return 0;
}
