// See model_summary.h.
#include "serve/model_summary.h"

#include <cstring>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "convert/gguf_parts.h"
#include "convert/huggingface.h"
#include "model/model_file.h"
#include "model/safetensors.h"
#include "serve/generate_options.h"

namespace edgellm {
namespace {

namespace fs = std::filesystem;

std::string Largest(const std::map<std::string, uint64_t>& bytes_by_format) {
  std::string best;
  uint64_t most = 0;
  for (const auto& [format, bytes] : bytes_by_format) {
    if (bytes > most) best = format;
    most = std::max(most, bytes);
  }
  return best;
}

void SetConfig(const ModelConfig& config, ModelSummary* summary) {
  summary->family = config.family;
  summary->context = config.max_context;
  summary->hidden = config.hidden;
  summary->layers = config.layers;
  summary->heads = config.heads;
  summary->kv_heads = config.kv_heads;
  summary->vocab = config.vocab;
}

ModelSummary OfModelFile(const fs::path& path) {
  const Model model = ReadModelFile(path);
  ModelSummary summary;
  summary.source_format = "edgellm";
  SetConfig(model.config, &summary);
  std::map<std::string, uint64_t> bytes;
  for (const auto& [name, tensor] : model.weights.tensors()) {
    const WeightView& view = tensor.view;
    summary.parameters += static_cast<uint64_t>(view.rows) * static_cast<uint64_t>(view.cols);
    bytes[view.format.Name()] += view.format.TotalBytes(view.rows, view.cols);
  }
  summary.weight_format = Largest(bytes);
  summary.chat_template = model.chat_template;
  summary.parameters_set = Describe(model.generation);
  return summary;
}

ModelSummary OfGguf(const fs::path& path) {
  const auto mapped = OpenGguf(path);
  const GgufFile& gguf = mapped->gguf;
  ModelSummary summary;
  summary.source_format = "gguf";
  summary.family = gguf.Text("general.architecture").value_or("");
  const auto number = [&](const char* key) {
    return gguf.Integer(summary.family + "." + key, 0, INT32_MAX).value_or(0);
  };
  summary.context = number("context_length");
  summary.hidden = number("embedding_length");
  summary.layers = number("block_count");
  summary.heads = number("attention.head_count");
  summary.kv_heads = number("attention.head_count_kv");
  if (const auto* tokens = gguf.Texts("tokenizer.ggml.tokens")) summary.vocab = static_cast<int64_t>(tokens->size());
  std::map<std::string, uint64_t> bytes;
  for (const auto& [name, tensor] : gguf.tensors) {
    summary.parameters += static_cast<uint64_t>(tensor.rows) * static_cast<uint64_t>(tensor.cols);
    bytes[std::string(tensor.traits->name)] += tensor.bytes.size();
  }
  summary.weight_format = Largest(bytes);
  summary.chat_template = gguf.Text("tokenizer.chat_template").value_or("");
  return summary;
}

ModelSummary OfFolder(const fs::path& folder) {
  const fs::path path = folder / "config.json";
  const auto json = ParseJson<nlohmann::ordered_json>(ReadFile(path, kMaxConfigBytes), path.string());
  ModelSummary summary;
  summary.source_format = "safetensors";
  SetConfig(ConfigFromHuggingFace(json, path.string()), &summary);
  std::map<std::string, uint64_t> bytes;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") continue;
    const MappedFile file(entry.path());
    for (const auto& [name, tensor] : ParseSafetensors(file.bytes(), entry.path().string()).tensors) {
      uint64_t values = 1;
      for (const int64_t size : tensor.shape) values *= static_cast<uint64_t>(size);
      summary.parameters += values;
      bytes[tensor.dtype] += tensor.bytes.size();
    }
  }
  summary.weight_format = Largest(bytes);
  Model model;
  ReadHuggingFaceText(folder, JsonFields(json, path.string()), model);
  summary.chat_template = std::move(model.chat_template);
  summary.parameters_set = Describe(model.generation);
  return summary;
}

ModelSummary OfWeights(const fs::path& path) {
  if (fs::is_directory(path)) {
    return !fs::exists(path / "config.json") && HoldsGguf(path) ? OfGguf(path) : OfFolder(path);
  }
  const MappedFile file(path);
  if (file.bytes().size() >= 4 && std::memcmp(file.bytes().data(), kGgufMagic.data(), kGgufMagic.size()) == 0) {
    return OfGguf(path);
  }
  return OfModelFile(path);
}

uint64_t BytesOf(const fs::path& path) {
  uint64_t bytes = 0;
  for (const auto& file : FilesOf(path)) bytes += fs::file_size(file);
  return bytes;
}

std::string MarkOf(const fs::path& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return {};
  return fmt::format("{} {} {} {}.{}", path.string(), status.st_ino, status.st_size, status.st_mtim.tv_sec,
                     status.st_mtim.tv_nsec);
}

}  // namespace

ModelSummary Summarise(const ModelSource& source) {
  ModelSummary summary = OfWeights(source.weights);
  summary.bytes = BytesOf(source.weights);
  if (source.manifest) {
    const ModelManifest& manifest = *source.manifest;
    for (const auto& [name, value] : manifest.parameters) {
      if (name != "stop")
        std::erase_if(summary.parameters_set, [&name = name](const auto& old) { return old.first == name; });
    }
    summary.parameters_set.insert(summary.parameters_set.end(), manifest.parameters.begin(), manifest.parameters.end());
    if (manifest.chat_template && !manifest.chat_template->empty()) summary.chat_template = *manifest.chat_template;
    summary.system = manifest.system.value_or("");
    summary.licenses = manifest.licenses;
  }
  // Templates say themselves what they can take.
  summary.calls_tools = summary.chat_template.find("tools") != std::string::npos;
  summary.thinks = summary.chat_template.find("enable_thinking") != std::string::npos;
  return summary;
}

std::shared_ptr<const ModelSummary> SummaryCache::Get(const ModelStore& store, const StoredModel& model) {
  const ModelSource source = ModelSourceAt(store, model.path);
  const std::string mark = MarkOf(model.path) + "\n" + MarkOf(source.weights);
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(model.path.string());
    if (found != entries_.end() && found->second.mark == mark) return found->second.summary;
  }
  auto summary = std::make_shared<ModelSummary>(Summarise(source));
  summary->id = LongId(model.path);
  const std::lock_guard lock(mutex_);
  entries_[model.path.string()] = {mark, summary};
  return summary;
}

}  // namespace edgellm
