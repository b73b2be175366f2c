// See open_model.h.
#include "app/open_model.h"

#include <cstring>
#include <filesystem>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "app/progress_bar.h"
#include "app/terminal.h"
#include "base/error.h"
#include "base/file.h"
#include "base/realtime.h"
#include "convert/gguf_config.h"
#include "convert/gguf_parts.h"
#include "convert/huggingface.h"
#include "convert/import.h"
#include "serve/model_manifest.h"

namespace edgellm::app {

namespace fs = std::filesystem;

void AddBackendOptions(CLI::App& verb, BackendArguments* arguments) {
  verb.add_option("--backend", arguments->backend, "auto, cpu, cuda or reference")->capture_default_str();
  verb.add_option(
      "--isa", arguments->isa,
      "CPU instruction set (scalar, avx2, avx512, avx512-vbmi, amx, neon, neon-dotprod); default: the best");
  verb.add_option(
      "--ternary", arguments->ternary,
      "how the CPU multiplies ternary weights (dot, tables, dense); default: the fastest, measured at load");
  verb.add_option("--threads", arguments->threads, "CPU threads; default: one per core")
      ->check(CLI::Range(0, 4096).description(""));
  verb.add_flag("--realtime", arguments->realtime,
                "lock memory and run before other processes, where the system allows it; leave it a core (--threads)");
  verb.add_option("--kv", arguments->kv, "how keys and values are stored: auto, f32 or f16")->capture_default_str();
}

RuntimeOptions ToRuntimeOptions(const BackendArguments& arguments, int context) {
  if (arguments.realtime) {
    for (const std::string& refused : EnterRealtime()) WriteNote("--realtime: " + refused);
  }
  RuntimeOptions options;
  options.backend = arguments.backend;
  options.backend_options.isa = arguments.isa;
  options.backend_options.ternary = arguments.ternary;
  options.backend_options.threads = arguments.threads;
  options.context = context;
  if (arguments.kv != "auto") options.kv = ParseKvType(arguments.kv);
  return options;
}

Model OpenModel(const std::string& model) {
  const ModelSource source = FindModelSource(ModelStore::Default(), model);
  ProgressBar bar(ProgressBar::Unit::kCount);
  return LoadModelSource(source, bar.callback());
}

namespace {

/// A GGUF's vocabulary, of any architecture: its weights are not looked at.
TextParts OpenGgufText(const fs::path& path) {
  const auto mapped = OpenGguf(path);
  const GgufFile& gguf = mapped->gguf;
  TextParts parts;
  if (const auto vocabulary = ReadGgufVocabulary(gguf)) {
    parts.tokenizer = text::Tokenizer::FromVocabulary(*vocabulary, path.string());
  }
  parts.chat_template = gguf.Text("tokenizer.chat_template").value_or("");
  return parts;
}

TextParts OpenFolderText(const fs::path& folder) {
  nlohmann::ordered_json config = nlohmann::ordered_json::object();
  if (fs::exists(folder / "config.json")) {
    config = nlohmann::ordered_json::parse(ReadFile(folder / "config.json", kMaxConfigBytes), nullptr, false);
  }
  if (!config.is_object()) Fail(ErrorCode::kCorrupt, "{}: is not a JSON object", (folder / "config.json").string());
  Model model;
  ReadHuggingFaceText(folder, JsonFields(config, folder.string()), model);
  TextParts parts;
  if (!model.tokenizer_json.empty()) parts.tokenizer = text::Tokenizer::FromJson(model.tokenizer_json, folder.string());
  parts.chat_template = std::move(model.chat_template);
  return parts;
}

bool IsGguf(const fs::path& path) {
  const MappedFile file(path);
  constexpr std::string_view kMagic = "GGUF";
  return file.bytes().size() >= kMagic.size() && std::memcmp(file.bytes().data(), kMagic.data(), kMagic.size()) == 0;
}

/// By the names that tokenizers' files have; what they hold is checked by who reads them.
bool IsTokenizerFile(const fs::path& path) {
  const std::string name = path.filename().string();
  const std::string extension = path.extension().string();
  return extension == ".json" || extension == ".model" || extension == ".tiktoken" || extension == ".txt" ||
         extension == ".bpe" || (extension == ".bin" && name.starts_with("tok"));
}

TextParts OpenWeightsText(const fs::path& path) {
  if (fs::is_directory(path)) {
    return !fs::exists(path / "config.json") && HoldsGguf(path) ? OpenGgufText(path) : OpenFolderText(path);
  }
  if (IsGguf(path)) return OpenGgufText(path);
  if (IsTokenizerFile(path)) return {text::Tokenizer::FromPath(path), {}};
  Model model = LoadModel(path);
  TextParts parts;
  if (!model.tokenizer_json.empty()) parts.tokenizer = text::Tokenizer::FromJson(model.tokenizer_json, path.string());
  parts.chat_template = std::move(model.chat_template);
  return parts;
}

}  // namespace

TextParts OpenText(const std::string& source) {
  const ModelSource found = FindModelSource(ModelStore::Default(), source);
  TextParts parts = OpenWeightsText(found.weights);
  if (found.manifest && found.manifest->chat_template) parts.chat_template = *found.manifest->chat_template;
  return parts;
}

text::Tokenizer OpenTokenizer(const std::string& source) {
  TextParts parts = OpenText(source);
  if (!parts.tokenizer) Fail(ErrorCode::kUnsupported, "{}: has no tokenizer", source);
  return std::move(*parts.tokenizer);
}

}  // namespace edgellm::app
