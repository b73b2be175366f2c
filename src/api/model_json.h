// What the routes about models say, as JSON: pure functions over facts. Field names are those of Ollama's and OpenAI's
// APIs.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "api/json_text.h"
#include "hub/pull.h"
#include "serve/create_model.h"
#include "serve/model_host.h"
#include "serve/model_store.h"
#include "serve/model_summary.h"

namespace edgellm::api {

/// {"parent_model", "format", "family", "families", "parameter_size", "quantization_level"}
Json DetailsJson(const ModelSummary& summary);

/// An entry of /api/tags. `summary` is null where the model's files cannot be read: it is listed all the same.
Json TagJson(const StoredModel& model, const ModelSummary* summary);

/// An entry of /api/ps.
Json LoadedJson(const LoadedModelFacts& facts, const ModelSummary* summary);

/// The answer of /api/show.
Json ShowJson(const StoredModel& model, const ModelSummary& summary, const Modelfile& modelfile);

/// An entry of /v1/models.
Json OpenAiModelJson(const StoredModel& model);

/// What a pull says on the way: lines of NDJSON, each new state once, and for a file a line when more of it is there.
class PullLines {
 public:
  /// Lines, each with its newline; empty where nothing is new.
  std::string Next(const PullStatus& status);

 private:
  std::string last_status_;
  std::map<std::string, uint64_t> done_;  // by file
};

/// Of POST /api/create.
struct CreateRequest {
  CreateOptions options;
  bool stream = true;
};
/// Throws RequestError and Error(kInvalidArgument, kUnsupported).
CreateRequest ReadCreateRequest(std::string_view body);

/// "sha256:" and 64 hexadecimal digits.
bool IsBlobDigest(std::string_view text);

}  // namespace edgellm::api
