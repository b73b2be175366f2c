// See model_file.h: the container and its tensors. The metadata's texts are read and written in model_file_metadata.cc.
#include "model/model_file.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/sha256.h"
#include "model/json_fields.h"
#include "model/lower.h"
#include "model/model_file_metadata.h"
#include "model/safetensors.h"

namespace edgellm {
namespace {

constexpr std::string_view kOwnPrefix = "edgellm.";
constexpr const char* kTokenizerTensor = "edgellm.tokenizer.json";
constexpr const char* kTemplateTensor = "edgellm.chat_template";
constexpr std::string_view kNoChecksum = "0000000000000000000000000000000000000000000000000000000000000000";

using PlaneBytes = std::span<const std::byte>;

/// How one plane of a weight is stored.
struct StoredPlane {
  std::string name, dtype;
  std::vector<int64_t> shape;
  size_t alignment = 1;  // of its elements
};

/// The planes of a weight, in the order codes, scales, zeros.
std::vector<StoredPlane> PlanesOf(const ListedTensor& tensor) {
  const WeightFormat& format = tensor.format;
  const int64_t rows = tensor.rows, cols = tensor.cols;
  const std::vector<int64_t> whole = tensor.is_vector ? std::vector{cols} : std::vector{rows, cols};
  const std::vector<int64_t> packed = {rows, static_cast<int64_t>(format.RowBytes(cols))};
  const std::vector<int64_t> grouped = {rows, format.Groups(cols)};
  const StoredPlane half_scales = {tensor.name + ".scales", "F16", grouped, 2};
  switch (format.kind) {
    case WeightKind::kF32:
      return {{tensor.name, "F32", whole, 4}};
    case WeightKind::kF16:
      return {{tensor.name, "F16", whole, 2}};
    case WeightKind::kBf16:
      return {{tensor.name, "BF16", whole, 2}};
    case WeightKind::kInt8:
      return {{tensor.name, "I8", whole, 1}, half_scales};
    case WeightKind::kInt4:
      if (!format.zero_point) return {{tensor.name, "U8", packed, 1}, half_scales};
      return {{tensor.name, "U8", packed, 1}, half_scales, {tensor.name + ".zeros", "F16", grouped, 2}};
    case WeightKind::kTernary:
      return {{tensor.name, "U8", packed, 1}, {tensor.name + ".scales", "F32", grouped, 4}};
  }
  return {};
}

/// The bytes of the planes in memory, in the same order.
std::array<PlaneBytes, 3> BytesOf(const WeightView& view) {
  const auto rows = static_cast<size_t>(view.rows);
  const size_t groups = rows * static_cast<size_t>(view.format.Groups(view.cols));
  return {PlaneBytes(view.codes, rows * view.format.RowBytes(view.cols)),
          PlaneBytes(view.scales, groups * view.format.ScaleBytes()),
          PlaneBytes(view.zeros, view.format.zero_point ? groups * 2 : 0)};
}

/// Reads the weights of one parsed file.
class TensorReader {
 public:
  TensorReader(const SafetensorsFile& file, std::string_view name, std::shared_ptr<const void> owner)
      : file_(file), name_(name), owner_(std::move(owner)) {}

  Tensor Read(const ListedTensor& listed) {
    const auto planes = PlanesOf(listed);
    std::array<PlaneBytes, 3> bytes;
    bool aligned = true;
    for (size_t i = 0; i < planes.size(); ++i) {
      bytes[i] = Find(planes[i]);
      aligned = aligned && reinterpret_cast<uintptr_t>(bytes[i].data()) % planes[i].alignment == 0;
    }
    if (aligned) {
      return {.view = {listed.format, listed.rows, listed.cols, bytes[0].data(), bytes[1].data(), bytes[2].data()},
              .is_vector = listed.is_vector,
              .owner = owner_};
    }
    // Our own writer aligns everything; other tools need not.
    WritableTensor copy = MakeTensor(listed.format, listed.rows, listed.cols, listed.is_vector);
    const std::array<std::byte*, 3> places = {copy.codes, copy.scales, copy.zeros};
    for (size_t i = 0; i < planes.size(); ++i) std::copy(bytes[i].begin(), bytes[i].end(), places[i]);
    return copy.tensor;
  }

  std::string Text(const char* tensor) const {
    const auto found = file_.tensors.find(tensor);
    if (found == file_.tensors.end()) return {};
    if (found->second.dtype != "U8") Fail(ErrorCode::kCorrupt, "{}: tensor {} is not of bytes", name_, tensor);
    return {reinterpret_cast<const char*>(found->second.bytes.data()), found->second.bytes.size()};
  }

  /// Throws where the file holds a tensor that is neither listed nor one of EdgeLLM's own.
  void RequireAllRead() const {
    for (const auto& [tensor, entry] : file_.tensors) {
      if (!read_.contains(tensor) && !tensor.starts_with(kOwnPrefix)) {
        Fail(ErrorCode::kCorrupt, "{}: tensor {} is not listed in the metadata", name_, tensor);
      }
    }
  }

 private:
  PlaneBytes Find(const StoredPlane& plane) {
    const auto found = file_.tensors.find(plane.name);
    if (found == file_.tensors.end()) {
      Fail(ErrorCode::kCorrupt, "{}: tensor {} is missing", name_, OneLine(plane.name));
    }
    const SafetensorsEntry& entry = found->second;
    if (entry.dtype != plane.dtype || entry.shape != plane.shape) {
      Fail(ErrorCode::kCorrupt, "{}: tensor {} is {} [{}], but the metadata needs {} [{}]", name_, plane.name,
           entry.dtype, fmt::join(entry.shape, ", "), plane.dtype, fmt::join(plane.shape, ", "));
    }
    if (!read_.insert(plane.name).second) {
      Fail(ErrorCode::kCorrupt, "{}: tensor {} is listed twice in the metadata", name_, plane.name);
    }
    return entry.bytes;
  }

  const SafetensorsFile& file_;
  std::string_view name_;
  std::shared_ptr<const void> owner_;
  std::set<std::string> read_;
};

Model ReadParsed(const SafetensorsFile& file, std::string_view name, std::shared_ptr<const void> owner) {
  if (!file.metadata.contains(kVersionKey)) {
    Fail(ErrorCode::kUnsupported, "{}: a safetensors file, but not an EdgeLLM model file", name);
  }
  Model model;
  ReadMetadata(file.metadata, name, model);
  TensorReader reader(file, name, std::move(owner));
  for (const ListedTensor& listed : ReadTensorList(file.metadata, name)) {
    model.weights.Add(listed.name, reader.Read(listed));
  }
  reader.RequireAllRead();
  model.tokenizer_json = reader.Text(kTokenizerTensor);
  model.chat_template = reader.Text(kTemplateTensor);
  model.weights.Bind(Lower(model.config), name);
  return model;
}

/// Collects what WriteSafetensors is to write, and the checksums as the bytes pass.
class Writing {
 public:
  Writing(const Model& model, const Progress& progress) : progress_(progress) {
    for (const auto& [name, tensor] : model.weights.tensors()) {
      const auto planes =
          PlanesOf({name, tensor.view.format, tensor.view.rows, tensor.view.cols, /*is_vector=*/tensor.is_vector});
      const auto bytes = BytesOf(tensor.view);
      for (size_t i = 0; i < planes.size(); ++i) Add(planes[i].name, planes[i].dtype, planes[i].shape, bytes[i]);
    }
    AddText(kTokenizerTensor, model.tokenizer_json);
    AddText(kTemplateTensor, model.chat_template);
  }

  std::vector<SafetensorsPlanned>& planned() { return planned_; }
  const std::map<std::string, std::string>& checksums() const { return checksums_; }

 private:
  void AddText(const char* name, const std::string& text) {
    if (!text.empty()) Add(name, "U8", {static_cast<int64_t>(text.size())}, std::as_bytes(std::span(text)));
  }

  void Add(const std::string& name, const std::string& dtype, std::vector<int64_t> shape, PlaneBytes bytes) {
    total_ += bytes.size();
    checksums_[name] = kNoChecksum;  // of the length that the real one will have
    planned_.push_back({name, dtype, std::move(shape), [this, name, bytes](const auto& write) {
                          write(bytes);
                          checksums_[name] = Sha256Hex(bytes);
                          done_ += bytes.size();
                          if (progress_) progress_("writing", done_, total_);
                        }});
  }

  const Progress& progress_;
  uint64_t done_ = 0, total_ = 0;
  std::vector<SafetensorsPlanned> planned_;
  std::map<std::string, std::string> checksums_;
};

}  // namespace

bool IsModelFile(const std::filesystem::path& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  uint64_t length = 0;
  if (bytes.size() <= sizeof(length)) return false;
  std::memcpy(&length, bytes.data(), sizeof(length));
  // By the text alone: a damaged model file is still one, and reading it says what is wrong.
  const auto header = bytes.subspan(sizeof(length), std::min<uint64_t>(length, bytes.size() - sizeof(length)));
  const std::string_view text(reinterpret_cast<const char*>(header.data()), header.size());
  return text.starts_with('{') && text.find(fmt::format("\"{}\"", kVersionKey)) != std::string_view::npos;
}

Model ReadModelBytes(std::span<const std::byte> bytes, std::string_view name, std::shared_ptr<const void> owner) {
  return ReadParsed(ParseSafetensors(bytes, name), name, std::move(owner));
}

Model ReadModelFile(const std::filesystem::path& path) {
  const auto file = std::make_shared<const MappedFile>(path);
  return ReadModelBytes(file->bytes(), path.string(), file);
}

void WriteModelFile(const Model& model, const std::filesystem::path& path, const Progress& progress) {
  model.weights.Bind(Lower(model.config), path.string());  // what cannot be read back is not written
  Writing writing(model, progress);
  const Metadata fixed = MetadataOf(model);
  const auto metadata = [&] {
    Metadata whole = fixed;
    whole[kChecksumKey] = ChecksumText(writing.checksums());
    whole[kDigestKey] = DigestOf(whole);
    return whole;
  };
  WriteSafetensors(path, writing.planned(), SafetensorsMetadataBytes(metadata()), metadata);
}

void VerifyChecksums(const std::filesystem::path& path, const Progress& progress) {
  const auto file = std::make_shared<const MappedFile>(path);
  const std::string name = path.string();
  const SafetensorsFile parsed = ParseSafetensors(file->bytes(), name);
  const Model model = ReadParsed(parsed, name, file);
  const auto digest = parsed.metadata.find(kDigestKey);
  if (digest == parsed.metadata.end() || digest->second != DigestOf(parsed.metadata)) {
    Fail(ErrorCode::kCorrupt, "{}: the metadata does not have its checksum: the file is damaged", name);
  }
  const auto checksums = ReadChecksums(parsed.metadata, name);
  uint64_t done = 0;
  for (const auto& [tensor, entry] : parsed.tensors) {
    const auto expected = checksums.find(tensor);
    if (expected == checksums.end()) Fail(ErrorCode::kCorrupt, "{}: tensor {} has no checksum", name, tensor);
    if (Sha256Hex(entry.bytes) != expected->second) {
      Fail(ErrorCode::kCorrupt, "{}: tensor {} does not have its checksum: the file is damaged", name, tensor);
    }
    done += entry.bytes.size();
    if (progress) progress("verifying", done, file->bytes().size());
  }
  ValidateCodes(model.weights, name);
}

}  // namespace edgellm
