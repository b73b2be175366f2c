// Tokenizers and templates small enough to stand in the source: what thinks, what calls tools, what fills gaps.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "model/model.h"
#include "tests/text/small_tokenizers.h"
#include "text/tokenizer.h"

namespace edgellm {

/// Byte-level, with the plain added tokens and special ones given; ids 0 … 255 are the bytes.
inline std::string TokenizerJsonWith(const std::vector<std::string>& plain, const std::vector<std::string>& special) {
  nlohmann::json json = text::SmallByteLevelJson();
  int id = json["added_tokens"].back()["id"].get<int>();
  const auto add = [&](const std::string& content, bool is_special) {
    json["added_tokens"].push_back(
        {{"id", ++id}, {"content", content}, {"special", is_special}, {"normalized", false}});
  };
  for (const auto& content : plain) add(content, false);
  for (const auto& content : special) add(content, true);
  return json.dump();
}

inline text::Tokenizer TokenizerWith(const std::vector<std::string>& plain, const std::vector<std::string>& special) {
  return text::Tokenizer::FromJson(TokenizerJsonWith(plain, special), "test");
}

/// Of the shape of Qwen3's: thinking can be switched, tools are shown and their calls and results written.
inline constexpr const char* kThinkingToolTemplate =
    R"({%- if tools %}{{ '<|im_start|>system\n' }}{% for tool in tools %}{{ tool | tojson }}{{ '\n' }}{% endfor %}{{ '{"name": , "arguments": } in <tool_call></tool_call><|im_end|>\n' }}{% endif -%}
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\n' -}}
{%- if message.reasoning_content %}{{ '<think>\n' + message.reasoning_content + '\n</think>\n\n' }}{% endif -%}
{{- message.content -}}
{%- for call in message.tool_calls or [] -%}
{{- '\n<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) + '}\n</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif -%})";

/// A model without weights: all that prompts are made of.
inline Model PromptModel(std::string tokenizer_json, std::string chat_template) {
  Model model;
  model.name = "test";
  model.config.vocab = 512;
  model.tokenizer_json = std::move(tokenizer_json);
  model.chat_template = std::move(chat_template);
  return model;
}

}  // namespace edgellm
