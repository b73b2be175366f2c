// See open_model.h.
#include "app/open_model.h"

#include <filesystem>

#include <CLI/CLI.hpp>

#include "app/progress_bar.h"
#include "base/error.h"
#include "convert/import.h"
#include "model/model_file.h"
#include "serve/model_store.h"

namespace edgellm::app {

namespace fs = std::filesystem;

void AddBackendOptions(CLI::App& verb, BackendArguments* arguments) {
  verb.add_option("--backend", arguments->backend, "auto, cpu, cuda or reference")->capture_default_str();
  verb.add_option("--isa", arguments->isa,
                  "CPU instruction set (scalar, avx2, avx512, neon, neon-dotprod); default: the best");
  verb.add_option("--threads", arguments->threads, "CPU threads; default: one per core")
      ->check(CLI::Range(0, 4096).description(""));
  verb.add_option("--kv", arguments->kv, "how keys and values are stored: auto, f32 or f16")->capture_default_str();
}

RuntimeOptions ToRuntimeOptions(const BackendArguments& arguments, int context) {
  RuntimeOptions options;
  options.backend = arguments.backend;
  options.backend_options.isa = arguments.isa;
  options.backend_options.threads = arguments.threads;
  options.context = context;
  if (arguments.kv != "auto") options.kv = ParseKvType(arguments.kv);
  return options;
}

Model OpenModel(const std::string& model) {
  const fs::path path = ModelStore::Default().Resolve(model);
  ProgressBar bar(ProgressBar::Unit::kCount);
  return LoadModel(path, bar.callback());
}

TextParts OpenText(const std::string& source) {
  const fs::path path = ModelStore::Default().Resolve(source);
  TextParts parts;
  const std::string name = path.filename().string();
  const bool tokenizer_file = name.ends_with(".json") || name.ends_with(".model") || name.starts_with("tok") ||
                              name.ends_with(".txt") || name.ends_with(".bpe");
  const bool model_folder = fs::is_directory(path) && fs::exists(path / "config.json");
  if ((fs::is_directory(path) && !model_folder) || (tokenizer_file && !IsModelFile(path))) {
    parts.tokenizer = text::Tokenizer::FromPath(path);
    return parts;
  }
  Model model = LoadModel(path);
  if (!model.tokenizer_json.empty()) parts.tokenizer = text::Tokenizer::FromJson(model.tokenizer_json, name);
  parts.chat_template = std::move(model.chat_template);
  return parts;
}

text::Tokenizer OpenTokenizer(const std::string& source) {
  TextParts parts = OpenText(source);
  if (!parts.tokenizer) Fail(ErrorCode::kUnsupported, "{}: has no tokenizer", source);
  return std::move(*parts.tokenizer);
}

}  // namespace edgellm::app
