// Hugging Face folders: config.json and safetensors shards, mapped, to a Model. See huggingface.h.
#include "convert/huggingface.h"

#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

#include "base/sha256.h"
#include "convert/bitnet.h"
#include "convert/packed_int4.h"
#include "convert/recipe.h"
#include "model/lower.h"
#include "model/safetensors.h"
#include "quant/codec.h"

namespace edgellm {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr size_t kMaxIndexBytes = size_t{64} << 20;

/// A tensor of the checkpoint, and the file that it lies in.
struct Source {
  SafetensorsEntry entry;
  std::string file;  // for errors: the path
  std::shared_ptr<const MappedFile> owner;
};

/// All shards of a checkpoint, mapped, with their tensors under canonical names.
class Checkpoint {
 public:
  Checkpoint(const fs::path& folder, const std::vector<std::string>& files, const Progress& progress)
      : folder_(folder) {
    Sha256 digest;
    size_t done = 0;
    for (const std::string& file : files) {
      const auto mapped = std::make_shared<const MappedFile>(folder / file);
      AddShard(mapped);
      if (progress) progress("reading", done++, files.size());
      digest.Update(mapped->bytes());
    }
    digest_ = digest.Finish();
    if (progress) progress("reading", files.size(), files.size());
  }

  const Source* Find(const std::string& name) const {
    const auto found = sources_.find(name);
    return found == sources_.end() ? nullptr : &found->second;
  }

  const std::map<std::string, Source>& sources() const { return sources_; }
  const std::string& digest() const { return digest_; }
  const fs::path& folder() const { return folder_; }

 private:
  void AddShard(const std::shared_ptr<const MappedFile>& mapped) {
    const std::string path = mapped->path().string();
    for (auto& [name, entry] : ParseSafetensors(mapped->bytes(), path).tensors) {
      // Some exports leave out the "model." that the canonical names have.
      const bool whole = name.starts_with("model.") || name.starts_with("lm_head.");
      const std::string canonical = whole ? name : "model." + name;
      const auto [place, added] = sources_.try_emplace(canonical, Source{std::move(entry), path, mapped});
      if (!added) {
        Fail(ErrorCode::kCorrupt, "{}: tensor {} is there twice (also in {})", path, canonical, place->second.file);
      }
    }
  }

  fs::path folder_;
  std::map<std::string, Source> sources_;
  std::string digest_;
};

std::string ShapeText(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::optional<WeightFormat> FloatFormat(std::string_view dtype) {
  if (dtype == "F32") return WeightFormat{.kind = WeightKind::kF32};
  if (dtype == "F16") return WeightFormat{.kind = WeightKind::kF16};
  if (dtype == "BF16") return WeightFormat{.kind = WeightKind::kBf16};
  return {};
}

/// How a checkpoint's matrices are packed; plain floats where neither is there.
struct Packing {
  std::optional<BitnetScheme> bitnet;
  std::optional<PackedInt4Scheme> int4;
};

Packing ReadPacking(const JsonFields& config) {
  Packing packing;
  if (!config.Has("quantization_config")) return packing;
  const JsonFields quantization = config.Object("quantization_config");
  packing.int4 = ReadPackedInt4Scheme(quantization);
  if (!packing.int4) packing.bitnet = ReadBitnetScheme(quantization);
  return packing;
}

/// Builds the weights that a plan names out of a checkpoint.
class Importer {
 public:
  Importer(const Checkpoint& checkpoint, const Plan& plan, const Packing& packing)
      : checkpoint_(checkpoint), plan_(plan), bitnet_(packing.bitnet), int4_(packing.int4) {}

  WeightTable Run(const Progress& progress) {
    WeightTable weights;
    uint64_t done = 0;
    for (const WeightSlot& slot : plan_.weights) {
      weights.Add(slot.name, Import(slot));
      if (progress) progress("importing", ++done, plan_.weights.size());
    }
    return weights;
  }

  /// What the checkpoint holds beside the model's weights, in a line of text for people; empty for what is known to be
  /// harmless.
  std::vector<std::string> Notes() const {
    std::vector<std::string> unused;
    for (const auto& [name, source] : checkpoint_.sources()) {
      if (used_.contains(name) || name.ends_with("rotary_emb.inv_freq") || name == "lm_head.weight") continue;
      unused.push_back(name);
    }
    if (unused.empty()) return {};
    return {fmt::format("{} tensors of the source are not part of this architecture and were left out (the first: {})",
                        unused.size(), unused.front())};
  }

  std::string Recipe() const { return entries_.empty() ? "{}" : RecipeJson("import", entries_, "{}"); }

 private:
  const Source& Need(const std::string& name, std::string_view expected) {
    const Source* source = checkpoint_.Find(name);
    if (source == nullptr) {
      Fail(ErrorCode::kCorrupt, "{}: tensor {} {} is missing", checkpoint_.folder().string(), name, expected);
    }
    used_.insert(name);
    return *source;
  }

  Tensor Import(const WeightSlot& slot) {
    const bool is_vector = slot.rows == 1;
    const std::vector<int64_t> shape = is_vector ? std::vector{slot.cols} : std::vector{slot.rows, slot.cols};
    if (int4_ && slot.name.ends_with(".weight")) {
      const std::string layer = slot.name.substr(0, slot.name.size() - 7);
      if (checkpoint_.Find(layer + ".qweight") != nullptr) return ImportInt4(slot, layer);
    }
    const Source& source = Need(slot.name, ShapeText(shape));
    const bool is_linear = slot.name.ends_with("_proj.weight");
    if (is_linear && bitnet_ && bitnet_->Converts(slot.name.substr(0, slot.name.size() - 7))) {
      return ImportBitnet(slot, source);
    }
    return ImportFloat(slot, source, shape);
  }

  static void RequireShape(const Source& source, const std::string& name, const std::vector<int64_t>& shape) {
    if (source.entry.shape != shape) {
      Fail(ErrorCode::kCorrupt, "{}: tensor {} has shape {}, but the model needs {}", source.file, name,
           ShapeText(source.entry.shape), ShapeText(shape));
    }
  }

  /// The bytes where they lie, or a copy where they are not aligned to their element size.
  static Tensor ImportFloat(const WeightSlot& slot, const Source& source, const std::vector<int64_t>& shape) {
    RequireShape(source, slot.name, shape);
    const auto format = FloatFormat(source.entry.dtype);
    if (!format) {
      Fail(ErrorCode::kUnsupported, "{}: tensor {} has dtype {}; F32, F16 and BF16 are supported", source.file,
           slot.name, source.entry.dtype);
    }
    const bool is_vector = slot.rows == 1;
    const std::span<const std::byte> bytes = source.entry.bytes;
    if (reinterpret_cast<uintptr_t>(bytes.data()) % format->RowBytes(1) != 0) {
      WritableTensor made = MakeTensor(*format, slot.rows, slot.cols, is_vector);
      std::copy(bytes.begin(), bytes.end(), made.codes);
      return made.tensor;
    }
    return {.view = {*format, slot.rows, slot.cols, bytes.data(), nullptr, nullptr},
            .is_vector = is_vector,
            .owner = source.owner};
  }

  /// The bytes of a tensor of 32-bit whole numbers.
  std::span<const std::byte> Words(const std::string& name, const std::vector<int64_t>& shape) {
    const Source& source = Need(name, ShapeText(shape));
    RequireShape(source, name, shape);
    if (source.entry.dtype != "I32") {
      Fail(ErrorCode::kUnsupported, "{}: tensor {} has dtype {}; packed codes must be I32", source.file, name,
           source.entry.dtype);
    }
    return source.entry.bytes;
  }

  Tensor ImportInt4(const WeightSlot& slot, const std::string& layer) {
    const std::string where = fmt::format("{}: tensor {}", Need(layer + ".qweight", "").file, layer + ".qweight");
    if (slot.rows % 8 != 0 || slot.cols % 8 != 0) {
      Fail(ErrorCode::kUnsupported, "{}: a matrix of {} x {} does not fill words of eight codes", where, slot.rows,
           slot.cols);
    }
    const int64_t groups = PackedInt4Groups(*int4_, slot.cols);
    PackedInt4 packed = {
        .rows = slot.rows, .cols = slot.cols, .words = {}, .zeros = {}, .scales = {}, .group_index = {}};
    packed.words = Words(layer + ".qweight",
                         int4_->awq ? std::vector{slot.cols, slot.rows / 8} : std::vector{slot.cols / 8, slot.rows});
    packed.zeros = Words(layer + ".qzeros", {groups, slot.rows / 8});
    const std::vector<int64_t> shape = {groups, slot.rows};
    const Tensor scales =
        ImportFloat({layer + ".scales", groups, slot.rows}, Need(layer + ".scales", ShapeText(shape)), shape);
    packed.scales = scales.view;
    if (checkpoint_.Find(layer + ".g_idx") != nullptr) packed.group_index = Words(layer + ".g_idx", {slot.cols});
    Tensor made = RepackInt4(*int4_, packed, where);
    entries_.push_back({slot.name, int4_->Name(), made.view.format.Name(), true});
    return made;
  }

  Tensor ImportBitnet(const WeightSlot& slot, const Source& source) {
    const std::string where = fmt::format("{}: tensor {}", source.file, slot.name);
    if (bitnet_->online) return EncodeBitnet(ImportFloat(slot, source, {slot.rows, slot.cols}).view, where);
    const float scale = BitnetScale(slot.name + "_scale");
    if (source.entry.dtype != "U8") {
      return EncodeBitnetCodes(ImportFloat(slot, source, {slot.rows, slot.cols}).view, scale, where);
    }
    if (slot.rows % 4 != 0) Fail(ErrorCode::kUnsupported, "{}: {} rows are not packed by fours", where, slot.rows);
    RequireShape(source, slot.name, {slot.rows / 4, slot.cols});
    return RepackBitnet(source.entry.bytes, slot.rows, slot.cols, scale, where);
  }

  /// What a code of 1 stands for.
  float BitnetScale(const std::string& name) {
    const Source& source = Need(name, "[1]");
    RequireShape(source, name, {1});
    float scale = 0;
    DecodeRow(ImportFloat({name, 1, 1}, source, {1}).view, 0, {&scale, 1});
    if (!(scale > 0) || scale > 1e30f) {
      Fail(ErrorCode::kCorrupt, "{}: tensor {} is {}, not a positive scale", source.file, name, scale);
    }
    return bitnet_->divides_by_scale ? 1.0f / scale : scale;
  }

  const Checkpoint& checkpoint_;
  const Plan& plan_;
  const std::optional<BitnetScheme>& bitnet_;
  const std::optional<PackedInt4Scheme>& int4_;
  std::vector<RecipeEntry> entries_;
  std::set<std::string> used_;
};

/// Shards by the index, in name order; checks that none is outside the folder.
std::vector<std::string> IndexedFiles(const fs::path& folder) {
  const fs::path path = folder / kIndexFile;
  const auto json = ParseJson<nlohmann::json>(ReadFile(path, kMaxIndexBytes), path.string(), {.max_values = 4'000'000});
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
    Fail(ErrorCode::kCorrupt, "{}: weight_map is missing", path.string());
  }
  std::set<std::string> files;
  for (const auto& [tensor, file] : json["weight_map"].items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (name.empty() || name.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos || name == "..") {
      Fail(ErrorCode::kCorrupt, "{}: weight_map gives '{}' as the file of tensor {}", path.string(), OneLine(name),
           OneLine(tensor));
    }
    files.insert(name);
  }
  for (const std::string& file : files) {
    if (!fs::exists(folder / file)) {
      Fail(ErrorCode::kNotFound, "{}: shard {} is missing from the folder", path.string(), OneLine(file));
    }
  }
  return {files.begin(), files.end()};
}

/// The checkpoint's files, by name, in name order.
std::vector<std::string> CheckpointFiles(const fs::path& folder) {
  if (fs::exists(folder / kIndexFile)) return IndexedFiles(folder);
  if (fs::exists(folder / kSingleFile)) return {kSingleFile};
  std::vector<std::string> files, model_files;
  bool adapter = false, pickle = false;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    adapter = adapter || name == "adapter_model.safetensors";
    pickle = pickle || name.ends_with(".bin") || name.ends_with(".pt") || name.ends_with(".pth");
    if (!name.ends_with(".safetensors") || name.starts_with("adapter_")) continue;
    files.push_back(name);
    if (name.starts_with("model")) model_files.push_back(name);
  }
  // Folders that hold the weights a second time, under another scheme's names, call those otherwise ("consolidated…").
  if (!model_files.empty()) files = model_files;
  std::sort(files.begin(), files.end());
  if (!files.empty()) return files;
  const std::string_view hint = adapter  ? "; it holds a LoRA adapter, not a whole model"
                                : pickle ? "; weights in PyTorch's pickle files are not read, save them as safetensors"
                                         : "";
  Fail(ErrorCode::kNotFound, "{}: no .safetensors file in this folder{}", folder.string(), hint);
}

}  // namespace

Model ImportHuggingFaceFiles(const fs::path& folder, const std::vector<std::string>& files, const Progress& progress) {
  const fs::path config_path = folder / "config.json";
  const Json json = ParseJson<Json>(ReadFile(config_path, kMaxConfigBytes), config_path.string());
  const JsonFields fields(json, config_path.string());
  Model model;
  model.config = ConfigFromHuggingFace(json, config_path.string());
  const Packing packing = ReadPacking(fields);

  const Checkpoint checkpoint(folder, files, progress);
  const bool has_head = checkpoint.Find("lm_head.weight") != nullptr || checkpoint.Find("lm_head.qweight") != nullptr;
  if (!has_head) model.config.tied_head = true;
  const Plan plan = Lower(model.config);
  Importer importer(checkpoint, plan, packing);
  model.weights = importer.Run(progress);
  ReadHuggingFaceText(folder, fields, model);

  fs::path whole = fs::absolute(folder).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();  // given with a slash at the end
  model.name = whole.filename().string();
  model.provenance = {.source = model.name,
                      .source_format = "huggingface",
                      .source_digest = checkpoint.digest(),
                      .recipe_json = importer.Recipe(),
                      .created_by = "edgellm " EDGELLM_VERSION,
                      .notes = importer.Notes()};
  return model;
}

Model ImportHuggingFace(const fs::path& folder, const Progress& progress) {
  if (!fs::exists(folder / "config.json")) {
    Fail(ErrorCode::kNotFound, "{}: no config.json in this folder: not a Hugging Face model", folder.string());
  }
  return ImportHuggingFaceFiles(folder, CheckpointFiles(folder), progress);
}

}  // namespace edgellm
