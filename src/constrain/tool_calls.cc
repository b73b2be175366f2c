// See tool_calls.h.
#include "constrain/tool_calls.h"

#include "base/error.h"
#include "constrain/json_schema.h"
#include "constrain/schema_document.h"

namespace edgellm::constrain {
namespace {

ExpressionId Arguments(const ToolFunction& function, JsonParts* parts) {
  if (function.parameters.is_null() || function.parameters == nlohmann::ordered_json::object()) return parts->Object();
  const std::string name = "function " + function.name;
  nlohmann::ordered_json schema = function.parameters;
  if (schema.is_object() && !schema.contains("type") && !schema.contains("$ref")) schema["type"] = "object";
  if (SchemaDocument(schema, name).Types(schema) != kObject) {
    Fail(ErrorCode::kInvalidArgument, "{}: parameters must be a schema of an object", name);
  }
  return AddJsonSchema(schema, name, parts);
}

/// {"name": …, "arguments": {…}} of each function
ExpressionId CallObject(std::string_view arguments_key, std::span<const ToolFunction> functions, JsonParts* parts) {
  Grammar& grammar = parts->grammar();
  const ExpressionId name = grammar.Text("\"name\""), arguments = grammar.Text(arguments_key);
  std::vector<ExpressionId> calls;
  for (const ToolFunction& function : functions) {
    calls.push_back(parts->ObjectOf({{parts->Member(name, parts->Constant(function.name))},
                                     {parts->Member(arguments, Arguments(function, parts))}}));
  }
  return grammar.Choice(std::move(calls));
}

/// [TOOL_CALLS]NAME[ARGS]{…} of each function
ExpressionId NamedCall(std::span<const ToolFunction> functions, JsonParts* parts) {
  Grammar& grammar = parts->grammar();
  const ExpressionId letter = grammar.Class({{'0', '9'}, {'A', 'Z'}, {'a', 'z'}});
  const ExpressionId id =
      grammar.Sequence({grammar.Text(kMistralId), grammar.Repeat(letter, kMistralIdLength, kMistralIdLength)});
  std::vector<ExpressionId> calls;
  for (const ToolFunction& function : functions) {
    calls.push_back(grammar.Sequence({grammar.Text(std::string(kMistralOpen) + function.name), grammar.Optional(id),
                                      grammar.Text(kMistralArguments), Arguments(function, parts)}));
  }
  return grammar.Choice(std::move(calls));
}

/// One call of any function, as a rule: it may stand at several places.
ExpressionId AnyCall(ToolCallFamily family, std::span<const ToolFunction> functions, JsonParts* parts) {
  Grammar& grammar = parts->grammar();
  if (family == ToolCallFamily::kLlama3) return CallObject("\"parameters\"", functions, parts);
  ExpressionId call = family == ToolCallFamily::kMistralNamed ? NamedCall(functions, parts)
                                                              : CallObject("\"arguments\"", functions, parts);
  if (family == ToolCallFamily::kTagged) {
    const auto before = std::string(kToolCallOpen) + "\n", after = "\n" + std::string(kToolCallClose);
    call = grammar.Sequence({grammar.Text(before), call, grammar.Text(after)});
  }
  return grammar.Reference(grammar.AddRule("call", call));
}

}  // namespace

ToolCallFamily DetectToolCallFamily(std::string_view chat_template) {
  const auto has = [&](std::string_view text) { return chat_template.find(text) != std::string_view::npos; };
  // Qwen3-Coder has the tags too, but XML inside them.
  if (has(kToolCallOpen) && has("arguments") && !has("<function=")) return ToolCallFamily::kTagged;
  if (has("<|start_header_id|>") && has("ipython") && has("\"parameters\"")) return ToolCallFamily::kLlama3;
  if (has(kMistralOpen)) return has(kMistralArguments) ? ToolCallFamily::kMistralNamed : ToolCallFamily::kMistralList;
  return ToolCallFamily::kNone;
}

Grammar ToolCallGrammar(ToolCallFamily family, std::span<const ToolFunction> functions, int max_calls,
                        const JsonStyle& style) {
  if (functions.empty()) Fail(ErrorCode::kInvalidArgument, "a tool call is wanted, but there are no functions");
  if (max_calls < 1) Fail(ErrorCode::kInvalidArgument, "the number of tool calls must be above 0");
  if (family == ToolCallFamily::kNone) {
    Fail(ErrorCode::kUnsupported, "the model's chat template has no tool calls that can be asked for");
  }
  Grammar grammar;
  JsonParts parts(&grammar, style);
  const ExpressionId call = AnyCall(family, functions, &parts);
  ExpressionId text = call;
  if (family == ToolCallFamily::kMistralList) {
    const ExpressionId more = grammar.Sequence({parts.Comma(), call});
    const ExpressionId list =
        parts.ArrayAround(grammar.Sequence({call, grammar.Repeat(more, 0, max_calls - 1)}), /*may_be_empty=*/false);
    text = grammar.Sequence({grammar.Text(kMistralOpen), grammar.Optional(grammar.Text(" ")), list});
  } else if (family != ToolCallFamily::kLlama3 && max_calls > 1) {
    const bool lines = family == ToolCallFamily::kTagged;
    const ExpressionId more = lines ? grammar.Sequence({grammar.Text("\n"), call}) : call;
    text = grammar.Sequence({call, grammar.Repeat(more, 0, max_calls - 1)});
  }
  grammar.root = grammar.AddRule("root", text);
  return grammar;
}

}  // namespace edgellm::constrain
