// Tokenizer, chat template and generation defaults of a Hugging Face folder. See huggingface.h.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "convert/huggingface.h"
#include "text/tokenizer.h"

namespace edgellm {
namespace {

using Json = nlohmann::ordered_json;
// tokenizer_config.json repeats every added token.
constexpr size_t kMaxTokenizerConfigBytes = size_t{32} << 20;
constexpr size_t kMaxTemplateBytes = size_t{4} << 20;

/// The file's JSON, or an empty object where there is no such file.
Json ReadOptional(const std::filesystem::path& path, size_t max_bytes) {
  if (!std::filesystem::exists(path)) return Json::object();
  return ParseJson<Json>(ReadFile(path, max_bytes), path.string());
}

/// "chat_template" is a string, or a list of named ones, of which "default" is meant.
std::string TemplateField(const JsonFields& fields) {
  if (!fields.Has("chat_template")) return {};
  const auto& value = fields.Value("chat_template");
  if (value.is_string()) return value.get<std::string>();
  if (value.is_array()) {
    for (const auto& entry : value) {
      const JsonFields named(entry, fields.name(), fields.Path("chat_template"));
      if (named.Text("name") == "default") return named.Text("template");
    }
    return {};
  }
  Fail(ErrorCode::kCorrupt, "{}: {} must be a string or a list of named templates", fields.name(),
       fields.Path("chat_template"));
}

std::string ReadTemplate(const std::filesystem::path& folder, const JsonFields& tokenizer_config) {
  // In the order in which transformers prefers them.
  if (const auto path = folder / "chat_template.jinja"; std::filesystem::exists(path)) {
    return ReadFile(path, kMaxTemplateBytes);
  }
  if (const auto path = folder / "chat_template.json"; std::filesystem::exists(path)) {
    const Json json = ReadOptional(path, kMaxTemplateBytes);
    return TemplateField(JsonFields(json, path.string()));
  }
  return TemplateField(tokenizer_config);
}

bool HasTokenizer(const std::filesystem::path& folder) {
  for (const char* name : {"tokenizer.json", "tokenizer.model", "vocab.json", "encoder.json"}) {
    if (std::filesystem::exists(folder / name)) return true;
  }
  return false;
}

void AddStops(std::vector<int32_t>& stops, std::span<const int32_t> ids, int vocab) {
  for (const int32_t id : ids) {
    // -1 stands for "none" in some configurations.
    if (id < 0 || id >= vocab) continue;
    if (std::find(stops.begin(), stops.end(), id) == stops.end()) stops.push_back(id);
  }
}

/// The id of tokenizer_config's "eos_token": a spelling, or an object that has it as "content".
std::vector<int32_t> EosToken(const JsonFields& tokenizer_config, const text::Tokenizer& tokenizer) {
  if (!tokenizer_config.Has("eos_token")) return {};
  const auto& value = tokenizer_config.Value("eos_token");
  const std::string spelling =
      value.is_object() ? tokenizer_config.Object("eos_token").Text("content") : tokenizer_config.Text("eos_token");
  const auto id = tokenizer.Find(spelling);
  return id ? std::vector<int32_t>{*id} : std::vector<int32_t>{};
}

GenerationDefaults ReadGeneration(const JsonFields& fields) {
  constexpr double kMost = 1e6;
  GenerationDefaults defaults;
  const auto number = [&](const char* key, double most) -> std::optional<float> {
    if (!fields.Has(key)) return {};
    return static_cast<float>(fields.Number(key, 0, most));
  };
  defaults.temperature = number("temperature", kMost);
  defaults.top_p = number("top_p", 1);
  defaults.min_p = number("min_p", 1);
  defaults.repetition_penalty = number("repetition_penalty", kMost);
  if (fields.Has("top_k")) defaults.top_k = static_cast<int>(fields.Integer("top_k", 0, INT32_MAX));
  // Said in so many words, it is the publisher's advice; left out, it is only transformers' default.
  if (!fields.Boolean("do_sample", true)) defaults.temperature = 0.0f;
  defaults.stop_strings = fields.Texts("stop_strings");
  return defaults;
}

}  // namespace

void ReadHuggingFaceText(const std::filesystem::path& folder, const JsonFields& config, Model& model) {
  const auto tokenizer_path = folder / "tokenizer_config.json", generation_path = folder / "generation_config.json";
  const Json tokenizer_json = ReadOptional(tokenizer_path, kMaxTokenizerConfigBytes);
  const Json generation_json = ReadOptional(generation_path, kMaxConfigBytes);
  const JsonFields tokenizer_config(tokenizer_json, tokenizer_path.string());
  const JsonFields generation(generation_json, generation_path.string());

  model.chat_template = ReadTemplate(folder, tokenizer_config);
  model.generation = ReadGeneration(generation);
  auto& stops = model.generation.stop_tokens;
  AddStops(stops, generation.Integers("eos_token_id"), model.config.vocab);
  AddStops(stops, config.Integers("eos_token_id"), model.config.vocab);
  if (!HasTokenizer(folder)) return;
  const auto tokenizer = text::Tokenizer::FromPath(folder);
  model.tokenizer_json = tokenizer.ToJson();
  AddStops(stops, EosToken(tokenizer_config, tokenizer), model.config.vocab);
}

}  // namespace edgellm
