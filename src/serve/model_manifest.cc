// See model_manifest.h.
#include "serve/model_manifest.h"

#include <algorithm>
#include <array>
#include <functional>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/one_line.h"
#include "convert/import.h"
#include "model/json_fields.h"
#include "serve/blob_store.h"
#include "serve/generate_options.h"
#include "text/chat_template.h"

namespace edgellm {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr size_t kMostManifestBytes = size_t{64} << 20;

/// Ollama's parameters that mean nothing here: taken, so that its Modelfiles work, and without effect.
constexpr std::array kIdle = {
    "num_keep",  "num_batch",    "num_gpu",      "main_gpu",         "num_thread", "num_gqa",  "tfs_z",  "typical_p",
    "mirostat",  "mirostat_eta", "mirostat_tau", "penalize_newline", "numa",       "low_vram", "f16_kv", "use_mmap",
    "use_mlock", "vocab_only",   "logits_all",   "draft_num_predict"};

bool IsIdle(std::string_view name) {
  return std::find(kIdle.begin(), kIdle.end(), name) != kIdle.end();
}

int ParseContext(const std::string& value) {
  GenerateOptions integer;
  try {
    SetOption(&integer, "num_predict", value);  // the same kind of number
  } catch (const Error&) {
    Fail(ErrorCode::kInvalidArgument, "option \"num_ctx\" must be of type integer");
  }
  if (*integer.max_tokens < 1) Fail(ErrorCode::kInvalidArgument, "option \"num_ctx\" must be at least 1");
  return *integer.max_tokens;
}

/// The parameters as options; `context` is the one that is none of them.
GenerateOptions ToOptions(const std::vector<std::pair<std::string, std::string>>& parameters,
                          std::optional<int>* context) {
  GenerateOptions options;
  for (const auto& [name, value] : parameters) {
    if (name == "num_ctx") {
      *context = ParseContext(value);
    } else if (!IsIdle(name)) {
      SetOption(&options, name, value);
    }
  }
  return options;
}

/// Ollama's own templates are Go's, which look alike: {{ .System }}, {{ if .Prompt }}, {{- range .Messages }}.
bool LooksLikeGoTemplate(std::string_view text) {
  for (size_t at = text.find("{{"); at != text.npos; at = text.find("{{", at + 2)) {
    std::string_view inside = text.substr(at + 2);
    inside.remove_prefix(std::min(inside.find_first_not_of("- \t\n"), inside.size()));
    if (inside.starts_with('.') || inside.starts_with('$')) return true;
    for (const std::string_view word : {"if ", "range ", "end ", "end}", "end-", "else ", "else}", "with "}) {
      if (inside.starts_with(word)) return true;
    }
  }
  return false;
}

void CheckTemplate(const std::string& source) {
  if (LooksLikeGoTemplate(source)) {
    Fail(ErrorCode::kUnsupported,
         "TEMPLATE: this is a template of Ollama's own kind (Go's); here templates are Jinja, as models bring them "
         "along. "
         "Leave TEMPLATE out to use the model's own");
  }
  text::ChatTemplate(source, "TEMPLATE");
}

Json Pairs(const std::vector<std::pair<std::string, std::string>>& pairs, const char* first, const char* second) {
  Json list = Json::array();
  for (const auto& [a, b] : pairs) list.push_back({{first, a}, {second, b}});
  return list;
}

std::vector<std::pair<std::string, std::string>> ReadPairs(const JsonFields& fields, const char* key, const char* first,
                                                           const char* second) {
  std::vector<std::pair<std::string, std::string>> pairs;
  if (!fields.Has(key)) return pairs;
  const Json& list = fields.Value(key);
  if (!list.is_array()) Fail(ErrorCode::kCorrupt, "{}: {} must be a list", fields.name(), key);
  for (const auto& entry : list) {
    const JsonFields pair(entry, fields.name(), key);
    pairs.emplace_back(pair.Text(first), pair.Text(second));
  }
  return pairs;
}

/// The base's manifest with what the new one says over it.
ModelManifest Merge(ModelManifest base, const ModelManifest& over) {
  for (const auto& [name, value] : over.parameters) {
    if (name != "stop") std::erase_if(base.parameters, [&name = name](const auto& old) { return old.first == name; });
  }
  const auto is_stop = [](const auto& parameter) { return parameter.first == "stop"; };
  if (std::any_of(over.parameters.begin(), over.parameters.end(), is_stop)) std::erase_if(base.parameters, is_stop);
  base.parameters.insert(base.parameters.end(), over.parameters.begin(), over.parameters.end());
  if (over.chat_template) base.chat_template = over.chat_template;
  if (over.system) base.system = over.system;
  if (!over.messages.empty()) base.messages = over.messages;
  base.licenses.insert(base.licenses.end(), over.licenses.begin(), over.licenses.end());
  return base;
}

}  // namespace

ModelManifest ParseManifest(std::string_view text, std::string_view name) {
  const Json json = ParseJson<Json>(text, name);
  const JsonFields fields(json, name);
  const auto version = fields.Integer("version", 1, INT32_MAX);
  if (version != 1) Fail(ErrorCode::kUnsupported, "{}: was written by a later version of this program", name);
  ModelManifest manifest;
  manifest.base = fields.Text("base");
  manifest.parameters = ReadPairs(fields, "parameters", "name", "value");
  if (fields.Has("template")) manifest.chat_template = fields.Text("template");
  if (fields.Has("system")) manifest.system = fields.Text("system");
  manifest.messages = ReadPairs(fields, "messages", "role", "content");
  manifest.licenses = fields.Texts("licenses");
  return manifest;
}

std::string WriteManifest(const ModelManifest& manifest) {
  Json json = {{"version", 1}, {"base", manifest.base}};
  if (!manifest.parameters.empty()) json["parameters"] = Pairs(manifest.parameters, "name", "value");
  if (manifest.chat_template) json["template"] = *manifest.chat_template;
  if (manifest.system) json["system"] = *manifest.system;
  if (!manifest.messages.empty()) json["messages"] = Pairs(manifest.messages, "role", "content");
  if (!manifest.licenses.empty()) json["licenses"] = manifest.licenses;
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

ModelManifest ResolveModelfile(const Modelfile& modelfile, const ModelStore& store, const fs::path& folder) {
  if (!modelfile.adapters.empty()) {
    Fail(ErrorCode::kUnsupported, "ADAPTER {}: adapters are not supported yet", OneLine(modelfile.adapters.front()));
  }
  ModelManifest manifest;
  manifest.parameters = modelfile.parameters;
  manifest.chat_template = modelfile.chat_template;
  manifest.system = modelfile.system;
  manifest.messages = modelfile.messages;
  manifest.licenses = modelfile.licenses;
  std::optional<int> context;
  ToOptions(manifest.parameters, &context);
  if (manifest.chat_template && !manifest.chat_template->empty()) CheckTemplate(*manifest.chat_template);

  fs::path path;
  if (const auto stored = store.Find(modelfile.from)) {
    manifest.base = stored->name;
    path = stored->path;
  } else if (BlobStore::IsReference(modelfile.from)) {
    manifest.base = modelfile.from;
    path = WeightsOf(store, manifest, "FROM");
  } else {
    std::error_code failed;
    path = fs::weakly_canonical(folder / fs::path(modelfile.from), failed);
    if (failed || !fs::exists(path, failed)) {
      Fail(ErrorCode::kNotFound,
           "FROM {}: model not found: neither a name that `edgellm list` shows (see `edgellm pull`) "
           "nor a file or folder",
           OneLine(modelfile.from));
    }
    manifest.base = path.string();
  }
  if (!IsManifestPath(path)) return manifest;
  return Merge(ParseManifest(ReadFile(path, kMostManifestBytes), path.string()), manifest);
}

Modelfile ToModelfile(const ModelManifest& manifest) {
  Modelfile modelfile;
  modelfile.from = manifest.base;
  modelfile.parameters = manifest.parameters;
  modelfile.chat_template = manifest.chat_template;
  modelfile.system = manifest.system;
  modelfile.messages = manifest.messages;
  modelfile.licenses = manifest.licenses;
  return modelfile;
}

void StoreManifest(const ModelStore& store, std::string_view name, const ModelManifest& manifest) {
  store.PathFor(name);
  if (NameInStore(name) == manifest.base) {
    Fail(ErrorCode::kInvalidArgument, "'{}' cannot be made from itself: choose another name", name);
  }
  const fs::path work = store.WorkFolder();
  std::error_code failed;
  fs::create_directories(work, failed);
  // The work folder's file is complete and on the disk before it is published.
  const fs::path ready =
      work / fmt::format("create-{}-{}{}", getpid(), std::hash<std::string_view>()(name), kManifestSuffix);
  FileWriter file(ready);
  file.Write(WriteManifest(manifest));
  file.Commit();
  try {
    store.Publish(ready, name);
  } catch (...) {
    fs::remove(ready, failed);
    throw;
  }
}

fs::path WeightsOf(const ModelStore& store, const ModelManifest& manifest, const std::string& label) {
  std::error_code failed;
  if (const auto stored = store.Find(manifest.base)) return stored->path;
  if (fs::path(manifest.base).is_absolute() && fs::exists(manifest.base, failed)) return manifest.base;
  if (BlobStore::IsReference(manifest.base) && fs::exists(store.folder() / manifest.base, failed)) {
    return store.folder() / manifest.base;
  }
  Fail(ErrorCode::kNotFound, "model '{}' is made from '{}', which is not there any more", label, manifest.base);
}

ModelSource ModelSourceAt(const ModelStore& store, const fs::path& path) {
  if (!IsManifestPath(path)) return {path, std::nullopt};
  ModelSource source;
  source.manifest = ParseManifest(ReadFile(path, kMostManifestBytes), path.string());
  std::string label = path.filename().string();
  label.resize(label.size() - kManifestSuffix.size());
  source.weights = WeightsOf(store, *source.manifest, label);
  if (IsManifestPath(source.weights)) {
    // Its base was replaced by a manifest after it was made; one step down is enough to follow.
    const ModelManifest below = ParseManifest(ReadFile(source.weights, kMostManifestBytes), source.weights.string());
    source.weights = WeightsOf(store, below, source.manifest->base);
    if (IsManifestPath(source.weights)) {
      Fail(ErrorCode::kUnsupported, "model '{}' is made from '{}' by way of too many others", label, below.base);
    }
    source.manifest = Merge(below, *source.manifest);
  }
  return source;
}

ModelSource FindModelSource(const ModelStore& store, std::string_view model) {
  return ModelSourceAt(store, store.Resolve(model));
}

Model LoadModelSource(const ModelSource& source, const Progress& progress) {
  Model model = LoadModel(source.weights, progress);
  if (source.manifest) ApplyManifest(*source.manifest, &model);
  return model;
}

void ApplyManifest(const ModelManifest& manifest, Model* model) {
  std::optional<int> context;
  const GenerateOptions options = ToOptions(manifest.parameters, &context);
  GenerationDefaults& defaults = model->generation;
  const auto override_by = [](auto* value, const auto& by) {
    if (by) *value = by;
  };
  override_by(&defaults.temperature, options.temperature);
  override_by(&defaults.top_p, options.top_p);
  override_by(&defaults.min_p, options.min_p);
  override_by(&defaults.top_k, options.top_k);
  override_by(&defaults.repetition_penalty, options.repetition_penalty);
  override_by(&defaults.presence_penalty, options.presence_penalty);
  override_by(&defaults.frequency_penalty, options.frequency_penalty);
  override_by(&defaults.repeat_last_n, options.repeat_last_n);
  override_by(&defaults.max_tokens, options.max_tokens);
  override_by(&defaults.seed, options.seed);
  if (context) defaults.context = std::min(*context, model->config.max_context);
  for (const auto& stop : options.stop) {
    auto& known = defaults.stop_strings;
    if (std::find(known.begin(), known.end(), stop) == known.end()) known.push_back(stop);
  }
  if (manifest.chat_template && !manifest.chat_template->empty()) model->chat_template = *manifest.chat_template;
  if (manifest.system) model->preamble.system = *manifest.system;
  model->preamble.messages = manifest.messages;
}

void AddPreamble(const Preamble& preamble, std::vector<ChatMessage>* messages) {
  const auto is_system = [](const ChatMessage& message) { return message.role == "system"; };
  const bool own_system = std::any_of(messages->begin(), messages->end(), is_system);
  std::vector<ChatMessage> before;
  const auto add = [&before](const std::string& role, const std::string& content) {
    before.emplace_back();
    before.back().role = role;
    before.back().content = content;
  };
  if (!own_system && !preamble.system.empty()) add("system", preamble.system);
  // A conversation that begins with a system message keeps it in front.
  const auto place = own_system && messages->front().role == "system" ? messages->begin() + 1 : messages->begin();
  for (const auto& [role, content] : preamble.messages) {
    if (role != "system" || !own_system) add(role, content);
  }
  messages->insert(place, before.begin(), before.end());
}

}  // namespace edgellm
