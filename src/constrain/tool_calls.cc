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

}  // namespace

ToolCallFamily DetectToolCallFamily(std::string_view chat_template) {
  const auto has = [&](std::string_view text) { return chat_template.find(text) != std::string_view::npos; };
  // Qwen3-Coder has the tags too, but XML inside them.
  if (has(kToolCallOpen) && has("arguments") && !has("<function=")) return ToolCallFamily::kTagged;
  if (has("<|start_header_id|>") && has("ipython") && has("\"parameters\"")) return ToolCallFamily::kLlama3;
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
  const bool tagged = family == ToolCallFamily::kTagged;
  const ExpressionId name_key = grammar.Text("\"name\"");
  const ExpressionId arguments_key = grammar.Text(tagged ? "\"arguments\"" : "\"parameters\"");
  std::vector<ExpressionId> calls;
  for (const ToolFunction& function : functions) {
    calls.push_back(parts.ObjectOf({{parts.Member(name_key, parts.Constant(function.name))},
                                    {parts.Member(arguments_key, Arguments(function, &parts))}}));
  }
  ExpressionId text = grammar.Choice(std::move(calls));
  if (tagged) {
    const auto line_after = std::string(kToolCallOpen) + "\n", line_before = "\n" + std::string(kToolCallClose);
    text = grammar.Sequence({grammar.Text(line_after), text, grammar.Text(line_before)});
    if (max_calls > 1) {
      const ExpressionId call = grammar.Reference(grammar.AddRule("call", text));
      const ExpressionId more = grammar.Sequence({grammar.Text("\n"), call});
      text = grammar.Sequence({call, grammar.Repeat(more, 0, max_calls - 1)});
    }
  }
  grammar.root = grammar.AddRule("root", text);
  return grammar;
}

}  // namespace edgellm::constrain
