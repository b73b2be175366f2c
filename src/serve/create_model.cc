// See create_model.h.
#include "serve/create_model.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/folder.h"
#include "base/one_line.h"
#include "convert/import.h"
#include "convert/quantize.h"
#include "model/model_file.h"
#include "serve/model_manifest.h"
#include "serve/model_summary.h"

namespace edgellm {
namespace {

namespace fs = std::filesystem;

bool HasSettings(const ModelManifest& manifest) {
  return !manifest.parameters.empty() || manifest.chat_template || manifest.system || !manifest.messages.empty() ||
         !manifest.licenses.empty();
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return lower;
}

/// Weights that are no manifest's: a model of the store by that name, as a file or folder of its own.
void PublishWeights(const ModelStore& store, const fs::path& weights, const std::string& name) {
  const ScratchFolder work(store.WorkFolder(), "create-");
  const fs::path ready = work.path() / (fs::is_directory(weights) ? fs::path("model") : weights.filename());
  try {
    std::error_code failed;
    fs::copy(weights, ready, fs::copy_options::recursive | fs::copy_options::create_hard_links, failed);
    if (failed) {
      fs::remove_all(ready, failed);
      fs::copy(weights, ready, fs::copy_options::recursive);
    }
    store.Publish(ready, name);
  } catch (const fs::filesystem_error& error) {
    Fail(ErrorCode::kIo, "{}: {}", error.path1().string(), error.code().message());
  }
}

void RequireFloats(const ModelSummary& summary, const std::string& label) {
  const std::string format = Lower(summary.weight_format);
  if (format == "f32" || format == "f16" || format == "bf16") return;
  Fail(ErrorCode::kInvalidArgument, "{}: is quantised already ({}); only F32, F16 and BF16 models can be quantised",
       label, summary.weight_format);
}

}  // namespace

WeightFormat ParseQuantization(std::string_view name) {
  const std::string lower = Lower(name);
  if (lower == "q8_0" || lower == "int8") return WeightFormat::Parse("int8-g32");
  if (lower == "q4_0" || lower == "q4_k_m" || lower == "q4_k_s" || lower == "int4")
    return WeightFormat::Parse("int4-g32");
  if (lower == "q4_1") return WeightFormat::Parse("int4-g32-z");
  if (lower.starts_with("int8-") || lower.starts_with("int4-")) return WeightFormat::Parse(lower);
  Fail(ErrorCode::kUnsupported,
       "quantize: '{}' is not made here (q8_0 and q4_0, q4_1, q4_K_S, q4_K_M are, as int8 and int4; or int8-g64, "
       "int4-g128-z and so on)",
       OneLine(name));
}

void CreateModel(const ModelStore& store, const CreateOptions& options,
                 const std::function<void(const std::string& status)>& say) {
  store.PathFor(options.name);
  std::optional<WeightFormat> format;
  if (!options.quantize.empty()) format = ParseQuantization(options.quantize);
  const BlobStore blobs(store);
  {
    std::optional<BlobStore::Hold> hold;
    const bool weights_change = !options.files.empty() || format;
    if (weights_change || blobs.exists()) hold.emplace(blobs);
    Modelfile modelfile = options.modelfile;
    if (!options.files.empty()) modelfile.from = blobs.Assemble(options.files);
    ModelManifest manifest = ResolveModelfile(modelfile, store, options.folder);
    if (weights_change) {
      const fs::path weights = WeightsOf(store, manifest, options.name);
      const ModelSummary summary = Summarise({weights, std::nullopt});  // damaged files are refused here
      if (format) {
        const std::string label = options.files.empty() ? modelfile.from : options.name;
        RequireFloats(summary, label);
        say(fmt::format("quantizing {} model to {}", summary.weight_format, format->Name()));
        manifest.base = blobs.Make("model.edgellm", [&](const fs::path& file) {
          QuantizeOptions quantize;
          quantize.linear = *format;
          quantize.threads = options.threads;
          WriteModelFile(Quantize(LoadModel(weights), quantize, {}), file, {});
        });
      }
    }
    for (const auto& [name, digest] : options.files) say("using existing layer " + digest);
    if (options.files.empty()) say("using existing layer " + OneLine(manifest.base));
    say("writing manifest");
    if (BlobStore::IsReference(manifest.base) && !HasSettings(manifest)) {
      PublishWeights(store, WeightsOf(store, manifest, options.name), options.name);
    } else {
      StoreManifest(store, options.name, manifest);
    }
  }
  blobs.Clean();
}

}  // namespace edgellm
