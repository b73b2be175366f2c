// From what a user types (a name, a file, a folder, options of the backend) to a loaded model. Shared by the verbs.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "model/model.h"
#include "serve/runtime.h"

namespace CLI {
class App;
}

namespace edgellm::app {

struct BackendArguments {
  std::string backend = "auto", isa, ternary, kv = "auto";
  int threads = 0;
  bool realtime = false;
};

/// --backend --isa --ternary --threads --kv --realtime
void AddBackendOptions(CLI::App& verb, BackendArguments* arguments);

/// Enters real-time scheduling first where that was asked for, with a note where the system refuses it.
RuntimeOptions ToRuntimeOptions(const BackendArguments& arguments, int context);

/// Resolves `model` by the store and loads it, with a progress bar.
Model OpenModel(const std::string& model);

/// What `tokenize` and `template` need of a source, without its weights where that can be had.
struct TextParts {
  std::optional<text::Tokenizer> tokenizer;
  std::string chat_template;
};
/// `source`: a model by name, file or folder, a tokenizer's file or folder, a GGUF that holds a vocabulary only.
TextParts OpenText(const std::string& source);
/// Throws Error(kUnsupported) where the source has no tokenizer.
text::Tokenizer OpenTokenizer(const std::string& source);

}  // namespace edgellm::app
