// See model_json.h.
#include "api/model_json.h"

#include <algorithm>
#include <cctype>

#include "api/json_input.h"
#include "api/ollama_writer.h"
#include "base/error.h"

namespace edgellm::api {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

/// "135.1M", as Ollama tells sizes.
std::string SizeText(uint64_t parameters) {
  const double count = static_cast<double>(parameters);
  if (parameters == 0) return "";
  if (count >= 1e9) return fmt::format("{:.1f}B", count / 1e9);
  return count >= 1e6 ? fmt::format("{:.1f}M", count / 1e6) : fmt::format("{:.1f}K", count / 1e3);
}

std::string ParametersText(const ModelSummary& summary) {
  std::string text;
  for (const auto& [name, value] : summary.parameters_set) {
    const bool quoted = name == "stop";
    text += fmt::format("{}{:<30} {}", text.empty() ? "" : "\n", name, quoted ? Quoted(value) : value);
  }
  return text;
}

Json ModelInfoJson(const ModelSummary& summary) {
  Json info = {{"general.architecture", summary.family}, {"general.parameter_count", summary.parameters}};
  const auto add = [&](const char* key, int64_t value) {
    if (value > 0) info[summary.family + "." + key] = value;
  };
  add("context_length", summary.context);
  add("embedding_length", summary.hidden);
  add("block_count", summary.layers);
  add("attention.head_count", summary.heads);
  add("attention.head_count_kv", summary.kv_heads);
  add("vocab_size", summary.vocab);
  return info;
}

std::string ParameterText(const std::string& name, const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return value.dump();
  Refuse("parameters." + name, fmt::format("parameter \"{}\" must be a string, a number or a boolean", name));
}

void ReadParameters(const Json& parameters, Modelfile* modelfile) {
  if (!parameters.is_object()) Refuse("parameters", "parameters must be an object");
  for (const auto& [name, value] : parameters.items()) {
    if (value.is_array()) {
      for (const auto& one : value) modelfile->parameters.emplace_back(name, ParameterText(name, one));
    } else {
      modelfile->parameters.emplace_back(name, ParameterText(name, value));
    }
  }
}

std::string ShortDigest(const FileProgress& file) {
  return file.digest.hex.empty() ? file.path : file.digest.hex.substr(0, 12);
}

std::string LongDigest(const FileProgress& file) {
  switch (file.digest.kind) {
    case FileDigest::Kind::kSha256:
      return "sha256:" + file.digest.hex;
    case FileDigest::Kind::kGitBlob:
      return "git:" + file.digest.hex;
    case FileDigest::Kind::kNone:
      break;
  }
  return file.path;
}

std::string StatusText(PullStatus::Phase phase) {
  switch (phase) {
    case PullStatus::Phase::kWaiting:
      return "waiting for another pull of this model";
    case PullStatus::Phase::kListing:
      return "pulling manifest";
    case PullStatus::Phase::kComparing:
    case PullStatus::Phase::kVerifying:
      return "verifying sha256 digest";
    case PullStatus::Phase::kPublishing:
      return "writing manifest";
    case PullStatus::Phase::kDownloading:
      break;
  }
  return "";
}

}  // namespace

Json DetailsJson(const ModelSummary& summary) {
  return {{"parent_model", ""},
          {"format", summary.source_format},
          {"family", summary.family},
          {"families", Json::array({summary.family})},
          {"parameter_size", SizeText(summary.parameters)},
          {"quantization_level", summary.weight_format}};
}

Json TagJson(const StoredModel& model, const ModelSummary* summary) {
  const ModelSummary nothing;
  const std::string name = model.name.find(':') == std::string::npos ? model.name + ":latest" : model.name;
  return {{"name", name},
          {"model", name},
          {"modified_at", TimeText(model.modified * kSecond)},
          {"size", summary != nullptr ? summary->bytes : model.bytes},
          {"digest", summary != nullptr ? summary->id : ""},
          {"details", DetailsJson(summary != nullptr ? *summary : nothing)}};
}

Json LoadedJson(const LoadedModelFacts& facts, const ModelSummary* summary) {
  StoredModel named = facts.stored;
  named.name = facts.name;
  Json json = TagJson(named, summary);
  json.erase("modified_at");
  json["size"] = facts.bytes;
  json["expires_at"] = facts.expires ? Json(TimeText(*facts.expires)) : Json(nullptr);
  json["size_vram"] = facts.device_bytes;
  json["context_length"] = facts.context;
  return json;
}

Json ShowJson(const StoredModel& model, const ModelSummary& summary, const Modelfile& modelfile) {
  Json json = Json::object();
  std::string license;
  for (const auto& one : summary.licenses) license += (license.empty() ? "" : "\n") + one;
  if (!license.empty()) json["license"] = license;
  json["modelfile"] = WriteModelfile(modelfile);
  json["parameters"] = ParametersText(summary);
  json["template"] = summary.chat_template;
  if (!summary.system.empty()) json["system"] = summary.system;
  json["details"] = DetailsJson(summary);
  json["model_info"] = ModelInfoJson(summary);
  json["capabilities"] = Json::array({"completion"});
  if (summary.calls_tools) json["capabilities"].push_back("tools");
  if (summary.thinks) json["capabilities"].push_back("thinking");
  json["modified_at"] = TimeText(model.modified * kSecond);
  return json;
}

Json OpenAiModelJson(const StoredModel& model) {
  return {{"id", model.name}, {"object", "model"}, {"created", model.modified}, {"owned_by", "library"}};
}

std::string PullLines::Next(const PullStatus& status) {
  std::string lines;
  if (const std::string text = StatusText(status.phase); !text.empty() && text != last_status_) {
    last_status_ = text;
    lines += Dump({{"status", text}}) + "\n";
  }
  if (status.phase != PullStatus::Phase::kDownloading && status.phase != PullStatus::Phase::kVerifying) return lines;
  std::string of_files;
  for (const auto& file : status.progress.files) {
    const auto [known, added] = done_.try_emplace(file.path, file.done);
    if (!added && known->second == file.done) continue;
    known->second = file.done;
    Json line = {{"status", "pulling " + ShortDigest(file)}, {"digest", LongDigest(file)}, {"total", file.total}};
    if (file.done > 0) line["completed"] = file.done;
    of_files += Dump(line) + "\n";
  }
  return of_files + lines;
}

CreateRequest ReadCreateRequest(std::string_view body) {
  const Json json = ParseBody(body);
  const Fields fields(json, "");
  CreateRequest request;
  CreateOptions& options = request.options;
  Modelfile& modelfile = options.modelfile;
  options.name = fields.Has("model") ? fields.NeedName("model") : fields.NeedName("name");
  request.stream = fields.Boolean("stream").value_or(true);
  if (fields.Has("modelfile")) RefuseUnsupported("modelfile", "\"modelfile\" is not taken: send its parts");
  if (fields.Has("adapters")) RefuseUnsupported("adapters", "adapters are not supported yet");
  // "quantization" is what Ollama's first clients said.
  options.quantize = fields.Text("quantize").value_or(fields.Text("quantization").value_or(""));
  if (!options.quantize.empty()) ParseQuantization(options.quantize);
  modelfile.from = fields.Text("from").value_or("");
  modelfile.chat_template = fields.Text("template");
  modelfile.system = fields.Text("system");
  modelfile.licenses = fields.Texts("license", 1000);
  if (const Json* parameters = fields.Find("parameters")) ReadParameters(*parameters, &modelfile);
  if (const Json* messages = fields.Array("messages")) {
    for (size_t i = 0; i < messages->size(); ++i) {
      const Fields message((*messages)[i], ItemPath("messages", i));
      modelfile.messages.emplace_back(message.NeedText("role"), message.NeedText("content"));
    }
  }
  if (const auto files = fields.Object("files")) {
    for (const auto& [name, digest] : files->object().items()) {
      if (!digest.is_string() || !IsBlobDigest(digest.get<std::string>())) {
        Refuse("files." + name, "files are named by the digest of their blob: \"sha256:…\"");
      }
      options.files.emplace_back(name, digest.get<std::string>());
    }
  }
  if (options.files.empty() == modelfile.from.empty()) {
    Refuse("from", "either \"from\" or \"files\" must be specified");
  }
  return request;
}

bool IsBlobDigest(std::string_view text) {
  constexpr std::string_view kStart = "sha256:";
  if (!text.starts_with(kStart) || text.size() != kStart.size() + 64) return false;
  text.remove_prefix(kStart.size());
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return std::isdigit(c) != 0 || (c >= 'a' && c <= 'f'); });
}

}  // namespace edgellm::api
