// What can be said of a model without loading it: from a model file's header, a GGUF's metadata, a folder's
// configuration. For lists and pages of facts; the weights are not touched.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "serve/model_manifest.h"
#include "serve/model_store.h"

namespace edgellm {

struct ModelSummary {
  std::string id;             // LongId
  uint64_t bytes = 0;         // of the weights' files
  std::string source_format;  // "edgellm", "gguf", "safetensors"
  std::string family;         // "llama"; empty where the file does not say
  uint64_t parameters = 0;
  std::string weight_format;  // of the most bytes: "int4-g32", "Q4_K", "BF16"
  int64_t context = 0, hidden = 0, layers = 0, heads = 0, kv_heads = 0, vocab = 0;  // 0: not said
  std::string chat_template, system;
  std::vector<std::pair<std::string, std::string>> parameters_set;  // generation defaults, by Ollama's names
  std::vector<std::string> licenses;
  bool completes = true, calls_tools = false, thinks = false;
};

/// Throws Error as reading the files does.
ModelSummary Summarise(const ModelSource& source);

/// Summaries that are kept until a model's files change. Thread-safe.
class SummaryCache {
 public:
  std::shared_ptr<const ModelSummary> Get(const ModelStore& store, const StoredModel& model);

 private:
  struct Entry {
    std::string mark;
    std::shared_ptr<const ModelSummary> summary;
  };

  std::mutex mutex_;
  std::map<std::string, Entry> entries_;  // by path
};

}  // namespace edgellm
