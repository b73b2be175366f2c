// Tool calls in the text of an answer, by the family of the model's chat template:
//   kTagged        Hermes 2 and 3, Qwen 2.5 and 3: anywhere
//                  <tool_call>\n{"name": …, "arguments": {…}}\n</tool_call>
//   kLlama3        Llama 3.1 to 3.3: the whole answer is {"name": …, "parameters": {…}}, perhaps after <|python_tag|>;
//                  several are divided by ";" or white space
//   kMistralList   Mistral 7B v0.3, Nemo, Small 3.1: anywhere [TOOL_CALLS] [{"name": …, "arguments": {…}}, …]
//   kMistralNamed  Mistral's of 2025 (Small 3.2, Magistral, Devstral): [TOOL_CALLS]NAME[ARGS]{…}, perhaps with
//                  [CALL_ID] and an id before [ARGS]; several follow one another. Both of Mistral's are read in either.
// Which family a template is of, the grammar of a call that must be made, and (tool_call_parser.h) reading calls.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "constrain/grammar.h"
#include "constrain/json_parts.h"

namespace edgellm::constrain {

enum class ToolCallFamily : uint8_t { kNone, kTagged, kLlama3, kMistralList, kMistralNamed };

/// From the source of a chat template. kNone: it has no tool calls, or in a form that is not read here.
ToolCallFamily DetectToolCallFamily(std::string_view chat_template);

inline constexpr std::string_view kToolCallOpen = "<tool_call>";
inline constexpr std::string_view kToolCallClose = "</tool_call>";
inline constexpr std::string_view kPythonTag = "<|python_tag|>";
inline constexpr std::string_view kMistralOpen = "[TOOL_CALLS]";
inline constexpr std::string_view kMistralId = "[CALL_ID]";
inline constexpr std::string_view kMistralArguments = "[ARGS]";

/// Their templates take no other ids of calls than those of kMistralIdLength letters and digits.
constexpr bool IsMistral(ToolCallFamily family) {
  return family == ToolCallFamily::kMistralList || family == ToolCallFamily::kMistralNamed;
}
inline constexpr int kMistralIdLength = 9;

struct ToolFunction {
  std::string name;
  nlohmann::ordered_json parameters;  // a JSON schema of an object; null: any object
};

/// A text that is one to `max_calls` calls (one for kLlama3) of these functions and nothing else. Its tags may be
/// special tokens of the vocabulary (VocabularyTrie's `spelled`).
/// Throws Error: as CompileJsonSchema for the parameters, kInvalidArgument without functions, kUnsupported for kNone.
Grammar ToolCallGrammar(ToolCallFamily family, std::span<const ToolFunction> functions, int max_calls = 1,
                        const JsonStyle& style = {});

}  // namespace edgellm::constrain
