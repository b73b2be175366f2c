// See model_file_metadata.h.
#include "model/model_file_metadata.h"

#include <charconv>

#include <nlohmann/json.hpp>

#include "base/sha256.h"
#include "base/utf8.h"
#include "model/json_fields.h"
#include "model/model_file.h"

namespace edgellm {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kNameKey = "edgellm.name";
constexpr const char* kConfigKey = "edgellm.config";
constexpr const char* kGenerationKey = "edgellm.generation";
constexpr const char* kProvenanceKey = "edgellm.provenance";
constexpr const char* kRecipeKey = "edgellm.recipe";
constexpr const char* kGoldenKey = "edgellm.golden";
constexpr const char* kTensorsKey = "edgellm.tensors";
// Room for any real list of tensors or golden prompts.
constexpr JsonLimits kLimits = {.max_values = 2'000'000, .max_depth = 16, .unique_keys = true};
// A matrix side far above every real one, and far below what could overflow.
constexpr int64_t kMostSide = int64_t{1} << 32;
constexpr double kMostNumber = 1e15;

std::string Clean(std::string_view text) {
  return utf8::Sanitize(text);
}

std::vector<std::string> Clean(const std::vector<std::string>& texts) {
  std::vector<std::string> clean;
  for (const auto& text : texts) clean.push_back(Clean(text));
  return clean;
}

Json GenerationJson(const GenerationDefaults& generation) {
  Json json = Json::object();
  if (generation.temperature) json["temperature"] = *generation.temperature;
  if (generation.top_k) json["top_k"] = *generation.top_k;
  if (generation.top_p) json["top_p"] = *generation.top_p;
  if (generation.min_p) json["min_p"] = *generation.min_p;
  if (generation.repetition_penalty) json["repetition_penalty"] = *generation.repetition_penalty;
  json["stop_tokens"] = generation.stop_tokens;
  json["stop_strings"] = Clean(generation.stop_strings);
  return json;
}

GenerationDefaults ReadGeneration(const JsonFields& fields) {
  const auto number = [&](const char* key, double most) -> std::optional<float> {
    if (!fields.Has(key)) return {};
    return static_cast<float>(fields.Number(key, 0, most));
  };
  GenerationDefaults generation;
  generation.temperature = number("temperature", kMostNumber);
  if (fields.Has("top_k")) generation.top_k = static_cast<int>(fields.Integer("top_k", 0, INT32_MAX));
  generation.top_p = number("top_p", 1);
  generation.min_p = number("min_p", 1);
  generation.repetition_penalty = number("repetition_penalty", kMostNumber);
  generation.stop_tokens = fields.Integers("stop_tokens");
  generation.stop_strings = fields.Texts("stop_strings");
  return generation;
}

Json ProvenanceJson(const Provenance& provenance) {
  return {{"source", Clean(provenance.source)},
          {"source_format", provenance.source_format},
          {"source_digest", provenance.source_digest},
          {"created_by", Clean(provenance.created_by)},
          {"notes", Clean(provenance.notes)}};
}

Provenance ReadProvenance(const JsonFields& fields) {
  Provenance provenance;
  provenance.source = fields.Text("source", "");
  provenance.source_format = fields.Text("source_format", "");
  provenance.source_digest = fields.Text("source_digest", "");
  provenance.created_by = fields.Text("created_by", "");
  provenance.notes = fields.Texts("notes");
  return provenance;
}

Json GoldenJson(const std::vector<GoldenPrompt>& golden) {
  Json list = Json::array();
  for (const GoldenPrompt& prompt : golden) list.push_back({{"prompt", prompt.prompt}, {"expected", prompt.expected}});
  return list;
}

std::vector<GoldenPrompt> ReadGolden(const Json& list, const std::string& where, int vocab) {
  if (!list.is_array()) Fail(ErrorCode::kCorrupt, "{}: not a list", where);
  std::vector<GoldenPrompt> golden;
  for (const Json& entry : list) {
    const JsonFields fields(entry, where);
    golden.push_back({fields.Integers("prompt"), fields.Integers("expected")});
    for (const auto* ids : {&golden.back().prompt, &golden.back().expected}) {
      for (const int32_t id : *ids) {
        if (id < 0 || id >= vocab) Fail(ErrorCode::kCorrupt, "{}: token {} is not below {}", where, id, vocab);
      }
    }
  }
  return golden;
}

Json TensorList(const WeightTable& weights) {
  Json list = Json::array();
  for (const auto& [name, tensor] : weights.tensors()) {
    const WeightView& view = tensor.view;
    const Json shape = tensor.is_vector ? Json{view.cols} : Json{view.rows, view.cols};
    list.push_back({{"name", name}, {"format", view.format.Name()}, {"shape", shape}});
  }
  return list;
}

/// Reads one JSON text of the metadata. `file` is the file's name; errors name the key as well.
class Field {
 public:
  Field(const Metadata& metadata, const char* key, std::string_view file) : where_(fmt::format("{}: {}", file, key)) {
    const auto found = metadata.find(key);
    if (found == metadata.end()) Fail(ErrorCode::kCorrupt, "{} is missing", where_);
    text_ = found->second;
  }
  const std::string& where() const { return where_; }
  const std::string& text() const { return text_; }
  Json Parse() const { return ParseJson<Json>(text_, where_, kLimits); }

 private:
  std::string where_, text_;
};

void CheckVersion(const Metadata& metadata, std::string_view name) {
  const Field field(metadata, kVersionKey, name);
  const std::string& text = field.text();
  int major = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), major);
  if (error != std::errc() || major < 1 || (end != text.data() + text.size() && *end != '.')) {
    Fail(ErrorCode::kCorrupt, "{} '{}' is not a version", field.where(), OneLine(text));
  }
  if (major > kModelFileVersion) {
    Fail(ErrorCode::kUnsupported,
         "{}: the file has format version {}, this program reads version {}: a newer EdgeLLM is needed", name,
         OneLine(text), kModelFileVersion);
  }
}

}  // namespace

Metadata MetadataOf(const Model& model) {
  return {{kVersionKey, fmt::format("{}.0", kModelFileVersion)},
          {kNameKey, Clean(model.name)},
          {kConfigKey, ToJson(model.config).dump()},
          {kGenerationKey, GenerationJson(model.generation).dump()},
          {kProvenanceKey, ProvenanceJson(model.provenance).dump()},
          {kRecipeKey, Clean(model.provenance.recipe_json.empty() ? "{}" : model.provenance.recipe_json)},
          {kGoldenKey, GoldenJson(model.golden).dump()},
          {kTensorsKey, TensorList(model.weights).dump()}};
}

void ReadMetadata(const Metadata& metadata, std::string_view name, Model& model) {
  CheckVersion(metadata, name);
  model.name = Field(metadata, kNameKey, name).text();
  const Field config(metadata, kConfigKey, name), generation(metadata, kGenerationKey, name),
      provenance(metadata, kProvenanceKey, name), recipe(metadata, kRecipeKey, name),
      golden(metadata, kGoldenKey, name);
  model.config = ConfigFromJson(config.Parse(), config.where());
  const Json generation_json = generation.Parse(), provenance_json = provenance.Parse();
  model.generation = ReadGeneration(JsonFields(generation_json, generation.where()));
  model.provenance = ReadProvenance(JsonFields(provenance_json, provenance.where()));
  if (!recipe.Parse().is_object()) Fail(ErrorCode::kCorrupt, "{}: not an object", recipe.where());
  model.provenance.recipe_json = recipe.text();
  model.golden = ReadGolden(golden.Parse(), golden.where(), model.config.vocab);
}

std::vector<ListedTensor> ReadTensorList(const Metadata& metadata, std::string_view name) {
  const Field field(metadata, kTensorsKey, name);
  const Json list = field.Parse();
  if (!list.is_array()) Fail(ErrorCode::kCorrupt, "{}: not a list", field.where());
  std::vector<ListedTensor> tensors;
  for (const Json& entry : list) {
    const JsonFields fields(entry, field.where());
    ListedTensor tensor;
    tensor.name = fields.Text("name");
    const std::string where = fmt::format("{}: {}", field.where(), OneLine(tensor.name));
    try {
      tensor.format = WeightFormat::Parse(fields.Text("format"));
    } catch (const Error& error) {
      Fail(ErrorCode::kUnsupported, "{}: {}", where, OneLine(error.what()));
    }
    std::vector<int64_t> shape;
    for (const Json& side : fields.Value("shape")) {
      if (!side.is_number_unsigned() || side.get<uint64_t>() < 1 || side.get<uint64_t>() > uint64_t{kMostSide}) {
        Fail(ErrorCode::kCorrupt, "{}: shape must hold numbers from 1 to {}", where, kMostSide);
      }
      shape.push_back(side.get<int64_t>());
    }
    if (shape.size() != 1 && shape.size() != 2)
      Fail(ErrorCode::kCorrupt, "{}: shape has {} sides", where, shape.size());
    tensor.is_vector = shape.size() == 1;
    if (tensor.is_vector && !tensor.format.is_float()) {
      Fail(ErrorCode::kCorrupt, "{}: a vector must be stored as floats", where);
    }
    tensor.rows = tensor.is_vector ? 1 : shape[0];
    tensor.cols = shape.back();
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

std::string ChecksumText(const std::map<std::string, std::string>& checksums) {
  return nlohmann::json(checksums).dump();
}

std::map<std::string, std::string> ReadChecksums(const Metadata& metadata, std::string_view name) {
  const Field field(metadata, kChecksumKey, name);
  const auto json = ParseJson<nlohmann::json>(field.text(), field.where(), kLimits);
  if (!json.is_object()) Fail(ErrorCode::kCorrupt, "{}: not an object", field.where());
  std::map<std::string, std::string> checksums;
  for (const auto& [tensor, checksum] : json.items()) {
    if (!checksum.is_string()) Fail(ErrorCode::kCorrupt, "{}: {} is not a string", field.where(), OneLine(tensor));
    checksums[tensor] = checksum.get<std::string>();
  }
  return checksums;
}

std::string DigestOf(const Metadata& metadata) {
  Sha256 digest;
  for (const auto& [key, value] : metadata) {
    if (key == kDigestKey) continue;
    // With its closing zero, so that no two different lists of pairs give the same bytes.
    for (const std::string* text : {&key, &value})
      digest.Update(std::as_bytes(std::span(text->c_str(), text->size() + 1)));
  }
  return digest.Finish();
}

}  // namespace edgellm
