// A model over another one: parameters, template, system message and first messages that a Modelfile adds, kept in the
// store as a small JSON file (NAME.model.json) that names the base. Weights are never copied.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/progress.h"
#include "model/model.h"
#include "serve/generate.h"
#include "serve/model_store.h"
#include "serve/modelfile.h"

namespace edgellm {

struct ModelManifest {
  std::string base;  // a name of the store, an absolute path, or weights of a BlobStore; never itself a manifest
  std::vector<std::pair<std::string, std::string>> parameters;  // Ollama's names; "stop" may come several times
  std::optional<std::string> chat_template, system;
  std::vector<std::pair<std::string, std::string>> messages;  // role, content
  std::vector<std::string> licenses;

  bool operator==(const ModelManifest&) const = default;
};

/// Throws Error(kCorrupt) with `name` before it.
ModelManifest ParseManifest(std::string_view json, std::string_view name);
std::string WriteManifest(const ModelManifest& manifest);

/// What a Modelfile describes. FROM is a name of the store, or a path, relative to `folder`; where that is a manifest
/// too, both become one. Throws Error: kNotFound (no such base), kUnsupported (ADAPTER; a template of Go's kind),
/// kInvalidArgument (an unknown parameter, a value of the wrong type), and what a broken template throws.
ModelManifest ResolveModelfile(const Modelfile& modelfile, const ModelStore& store,
                               const std::filesystem::path& folder);
/// Back again: what `show --modelfile` prints.
Modelfile ToModelfile(const ModelManifest& manifest);

/// Puts the manifest into the store as `name`, in one step. Throws Error(kInvalidArgument, kIo).
void StoreManifest(const ModelStore& store, std::string_view name, const ModelManifest& manifest);

/// A stored or local model: where its weights are, and what a manifest adds.
struct ModelSource {
  std::filesystem::path weights;  // a file or a folder
  std::optional<ModelManifest> manifest;
};
/// By name or path, as ModelStore::Resolve. Throws Error(kNotFound) also where a manifest's base is gone.
ModelSource FindModelSource(const ModelStore& store, std::string_view model);
ModelSource ModelSourceAt(const ModelStore& store, const std::filesystem::path& path);

/// Where a manifest's base is. Throws Error(kNotFound) with `label`, the model's name.
std::filesystem::path WeightsOf(const ModelStore& store, const ModelManifest& manifest, const std::string& label);

/// LoadModel, and what the manifest adds. Throws as LoadModel.
Model LoadModelSource(const ModelSource& source, const Progress& progress = {});

/// Puts the manifest's parameters, template and messages into a model.
void ApplyManifest(const ModelManifest& manifest, Model* model);

/// Puts what the model's preamble says before a conversation: its messages, and its system message unless the
/// conversation has one.
void AddPreamble(const Preamble& preamble, std::vector<ChatMessage>* messages);

}  // namespace edgellm
