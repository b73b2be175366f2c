// Making a model of another one or of files that were sent, with settings, perhaps in a smaller format: what `create`
// does over the API and on the command line.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "quant/weight_format.h"
#include "serve/blob_store.h"
#include "serve/modelfile.h"

namespace edgellm {

struct CreateOptions {
  std::string name = {};
  Modelfile modelfile = {};            // FROM is empty where there are files
  BlobFiles files = {};                // weights, instead of FROM
  std::string quantize = {};           // a format as ParseQuantization has it; empty: as the source has it
  std::filesystem::path folder = "/";  // what FROM is relative to where it is a path
  int threads = 0;                     // for quantising; 0: one per core
};

/// Ollama's names, each to what is nearest here ("q8_0" int8, "q4_0", "q4_K_M" and their like int4, "q4_1" int4 with
/// zero points, in groups of 32), and our own ("int8", "int4", "int4-g64-z" …). Throws Error(kUnsupported).
WeightFormat ParseQuantization(std::string_view name);

/// `say` hears what is done, a line each ("writing manifest"). Nothing is heard before everything that can be refused
/// was looked at, but for what quantising finds. Throws Error as ResolveModelfile, BlobStore::Assemble, ReadModelFile
/// and Quantize do; kInvalidArgument for quantising what is quantised.
void CreateModel(const ModelStore& store, const CreateOptions& options,
                 const std::function<void(const std::string& status)>& say);

}  // namespace edgellm
