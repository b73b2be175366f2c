// See model_facts.h.
#include "app/model_facts.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "app/format.h"
#include "backend/backend.h"
#include "model/lower.h"
#include "plan/costs.h"
#include "serve/generate_options.h"

namespace edgellm::app {
namespace {

nlohmann::ordered_json ParametersJson(const GenerationDefaults& defaults) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (defaults.temperature) json["temperature"] = *defaults.temperature;
  if (defaults.top_k) json["top_k"] = *defaults.top_k;
  if (defaults.top_p) json["top_p"] = *defaults.top_p;
  if (defaults.min_p) json["min_p"] = *defaults.min_p;
  if (defaults.repetition_penalty) json["repeat_penalty"] = *defaults.repetition_penalty;
  if (defaults.presence_penalty) json["presence_penalty"] = *defaults.presence_penalty;
  if (defaults.frequency_penalty) json["frequency_penalty"] = *defaults.frequency_penalty;
  if (defaults.repeat_last_n) json["repeat_last_n"] = *defaults.repeat_last_n;
  if (defaults.max_tokens) json["num_predict"] = *defaults.max_tokens;
  if (defaults.context) json["num_ctx"] = *defaults.context;
  if (defaults.seed) json["seed"] = *defaults.seed;
  json["stop"] = defaults.stop_strings;
  json["stop_tokens"] = defaults.stop_tokens;
  return json;
}

}  // namespace

ModelFacts FactsOf(const Model& model) {
  ModelFacts facts;
  for (const auto& [name, tensor] : model.weights.tensors()) {
    const WeightView& view = tensor.view;
    const uint64_t bytes = view.format.TotalBytes(view.rows, view.cols);
    facts.parameters += static_cast<uint64_t>(view.rows) * static_cast<uint64_t>(view.cols);
    facts.weight_bytes += bytes;
    facts.bytes_by_format[view.format.Name()] += bytes;
  }
  uint64_t most = 0;
  for (const auto& [format, bytes] : facts.bytes_by_format) {
    if (bytes > most) facts.main_format = format;
    most = std::max(most, bytes);
  }
  const Plan plan = Lower(model.config);
  facts.bytes_per_token = WeightBytesPerToken(plan, model.weights.Bind(plan, model.Label()));
  BackendLimits one_page;
  one_page.pages = 1;
  one_page.kv = KvType::kF16;
  facts.kv_bytes_per_position = KvBytes(plan, one_page) / kPageTokens;
  return facts;
}

std::vector<std::pair<std::string, std::string>> ModelRows(const Model& model) {
  const ModelFacts facts = FactsOf(model);
  const ModelConfig& config = model.config;
  return {
      {"architecture", config.family},
      {"parameters", HumanCount(facts.parameters)},
      {"context length", std::to_string(config.max_context)},
      {"embedding length", std::to_string(config.hidden)},
      {"layers", std::to_string(config.layers)},
      {"vocabulary", std::to_string(config.vocab)},
      {"quantization", facts.main_format},
      {"weights", HumanBytes(facts.weight_bytes)},
      {"read per token", HumanBytes(facts.bytes_per_token)},
      {"KV per position", HumanBytes(facts.kv_bytes_per_position)},
  };
}

nlohmann::ordered_json ShowJson(const Model& model) {
  const ModelFacts facts = FactsOf(model);
  const ModelConfig& config = model.config;
  return {
      {"name", model.name},
      {"details",
       {{"family", config.family},
        {"parameter_count", facts.parameters},
        {"context_length", config.max_context},
        {"embedding_length", config.hidden},
        {"layers", config.layers},
        {"vocabulary", config.vocab},
        {"quantization_level", facts.main_format},
        {"weight_bytes", facts.weight_bytes},
        {"bytes_per_token", facts.bytes_per_token},
        {"kv_bytes_per_position", facts.kv_bytes_per_position}}},
      {"parameters", ParametersJson(model.generation)},
      {"template", model.chat_template},
      {"system", model.preamble.system},
      {"source", model.provenance.source},
      {"source_format", model.provenance.source_format},
      {"golden_prompts", model.golden.size()},
  };
}

std::string ShowText(const Model& model) {
  std::vector<std::pair<std::string, std::string>> source;
  if (!model.provenance.source.empty()) {
    source = {{"name", model.provenance.source}, {"format", model.provenance.source_format}};
  }
  for (const auto& note : model.provenance.notes) source.emplace_back("note", note);
  std::string text = Section("Model", ModelRows(model)) + Section("Parameters", Describe(model.generation)) +
                     Section("Source", source);
  text.pop_back();  // the blank line after the last section
  return text;
}

}  // namespace edgellm::app
