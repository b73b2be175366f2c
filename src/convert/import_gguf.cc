// GGUF files to Model: floats mapped as they are, blocks repacked (exactly where we have their equal), rotary rows
// brought to the half-split order. A tensor that is not understood is an error: leaving it out would give another
// model.
#include "convert/import_gguf.h"

#include <cmath>
#include <set>

#include "base/error.h"
#include "base/part_name.h"
#include "base/sha256.h"
#include "convert/gguf.h"
#include "convert/gguf_blocks.h"
#include "convert/gguf_config.h"
#include "convert/gguf_parts.h"
#include "convert/import.h"
#include "convert/recipe.h"
#include "convert/row_work.h"
#include "model/json_fields.h"
#include "model/lower.h"
#include "quant/codec.h"
#include "quant/planes.h"

namespace edgellm {
namespace {

/// The row of `source` that goes to each row of the result: the same, or its place among neighbouring pairs.
int64_t SourceRow(int64_t row, int64_t pair_head_dim) {
  return pair_head_dim == 0 ? row : RowInPairs(row, pair_head_dim);
}

/// Brings tensors in, one by one.
class Importer {
 public:
  Importer(const GgufFile& file, const GgufArchitecture& architecture, std::shared_ptr<const void> owner, Model& model)
      : file_(file),
        architecture_(architecture),
        owner_(std::move(owner)),
        model_(model),
        // Threads cost more than they bring where the whole file is small.
        pool_(TotalBytes(file) < kSmallFile ? 1 : 0) {}

  void Run(const Plan& plan, const Progress& progress) {
    std::set<std::string_view> wanted;
    for (const WeightSlot& slot : plan.weights) wanted.insert(slot.name);
    uint64_t done = 0;
    for (const auto& [name, tensor] : file_.tensors) {
      if (progress) progress("importing", done++, file_.tensors.size());
      if (name == kRopeFactorsTensor || name.ends_with(".scale")) continue;
      const auto canonical = CanonicalName(name);
      if (!canonical || !wanted.contains(*canonical)) {
        Fail(ErrorCode::kUnsupported, "{}: tensor {} has no place in a model of architecture {}", file_.name,
             OneLine(name), architecture_.name);
      }
      model_.weights.Add(*canonical, Read(name, *canonical, tensor));
    }
    for (const auto& [name, tensor] : file_.tensors) {
      if (name.ends_with(".scale")) RequireScaled(name);
    }
    model_.provenance.recipe_json = entries_.empty() ? "{}" : RecipeJson("import", entries_, "{}");
  }

 private:
  static constexpr size_t kSmallFile = size_t{1} << 20;

  static size_t TotalBytes(const GgufFile& file) {
    size_t bytes = 0;
    for (const auto& [name, tensor] : file.tensors) bytes += tensor.bytes.size();
    return bytes;
  }

  Tensor Read(const std::string& name, const std::string& canonical, const GgufTensor& source) {
    const bool is_vector = source.is_vector || source.rows == 1;
    const int64_t values = is_vector ? source.cols : source.rows;
    const bool reorder = architecture_.neighbour_pairs && IsRotary(canonical);
    if (reorder && values % model_.config.head_dim != 0) {
      Fail(ErrorCode::kCorrupt, "{}: tensor {} has {} rows, not whole heads of {}", file_.name, OneLine(name), values,
           model_.config.head_dim);
    }
    const int64_t head_dim = reorder ? model_.config.head_dim : 0;
    const std::string scale_name = name.substr(0, name.rfind('.')) + ".scale";
    const bool has_scale = name.ends_with(".weight") && file_.tensors.contains(scale_name);
    if (is_vector) {
      if (has_scale) Fail(ErrorCode::kUnsupported, "{}: tensor {} has a scale", file_.name, OneLine(name));
      return ReadVector(source, head_dim);
    }
    const GgufTarget target = TargetOfGguf(source.traits->type);
    const auto address = reinterpret_cast<uintptr_t>(source.bytes.data());
    const bool is_aligned = address % 4 == 0;
    if (target.format.is_float() && !reorder && !has_scale && is_aligned) {
      return {.view = {target.format, source.rows, source.cols, source.bytes.data(), nullptr, nullptr},
              .is_vector = false,
              .owner = owner_};
    }
    WritableTensor made = Repack(source, target.format, head_dim);
    ValidateCodes(made.tensor.view, fmt::format("{}: tensor {}", file_.name, OneLine(name)));
    if (!target.format.is_float()) Record(canonical, source, target, made.tensor.view, head_dim);
    if (has_scale) ApplyScale(scale_name, made);
    return made.tensor;
  }

  /// Norms and biases stay floats: backends read them value by value.
  Tensor ReadVector(const GgufTensor& source, int64_t head_dim) const {
    std::vector<float> values(static_cast<size_t>(source.cols));
    DecodeGgufRow(source.traits->type, source.bytes.data(), values);
    const GgufTarget target = TargetOfGguf(source.traits->type);
    const WeightFormat format = target.format.is_float() ? target.format : WeightFormat{};
    WritableTensor made = MakeTensor(format, 1, source.cols, /*is_vector=*/true);
    std::vector<float> ordered(values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      ordered[i] = values[static_cast<size_t>(SourceRow(static_cast<int64_t>(i), head_dim))];
    }
    EncodeRow(format, ordered, made.codes, nullptr, nullptr);
    return made.tensor;
  }

  WritableTensor Repack(const GgufTensor& source, const WeightFormat& format, int64_t head_dim) {
    WritableTensor made = MakeTensor(format, source.rows, source.cols, /*is_vector=*/false);
    const size_t stride = source.bytes.size() / static_cast<size_t>(source.rows);
    const size_t code_stride = format.RowBytes(source.cols), groups = static_cast<size_t>(format.Groups(source.cols));
    ForRows(pool_, source.rows, [&] {
      return [&](int64_t row) {
        const auto to = static_cast<size_t>(row), from = static_cast<size_t>(SourceRow(row, head_dim));
        RepackGgufRow(source.traits->type, source.bytes.data() + from * stride, source.cols,
                      made.codes + to * code_stride,
                      made.scales == nullptr ? nullptr : made.scales + to * groups * format.ScaleBytes(),
                      made.zeros == nullptr ? nullptr : made.zeros + to * groups * 2);
      };
    });
    return made;
  }

  void Record(const std::string& canonical, const GgufTensor& source, const GgufTarget& target, const WeightView& view,
              int64_t head_dim) {
    RecipeEntry entry{canonical, std::string(source.traits->name), target.format.Name(), target.is_exact};
    if (!target.is_exact) entry.relative_error = RelativeError(source, view, head_dim);
    entries_.push_back(std::move(entry));
  }

  double RelativeError(const GgufTensor& source, const WeightView& view, int64_t head_dim) {
    const auto cols = static_cast<size_t>(source.cols);
    const size_t stride = source.bytes.size() / static_cast<size_t>(source.rows);
    RowErrors errors(source.rows);
    ForRows(pool_, source.rows, [&] {
      return [&, wanted = std::vector<float>(cols), got = std::vector<float>(cols)](int64_t row) mutable {
        const auto from = static_cast<size_t>(SourceRow(row, head_dim));
        DecodeGgufRow(source.traits->type, source.bytes.data() + from * stride, wanted);
        DecodeRow(view, row, got);
        errors.Set(row, wanted, got);
      };
    });
    return errors.Relative();
  }

  /// BitNet files may carry one factor beside a matrix, by which its output is multiplied: it goes into the scales.
  void ApplyScale(const std::string& scale_name, WritableTensor& made) {
    const GgufTensor& source = file_.tensors.find(scale_name)->second;
    const std::string where = fmt::format("{}: tensor {}", file_.name, OneLine(scale_name));
    if (source.rows != 1 || source.cols != 1 || source.traits->type != GgufTensorType::kF32) {
      Fail(ErrorCode::kCorrupt, "{} is not one F32 factor", where);
    }
    const auto factor = LoadAt<float>(source.bytes.data(), 0);
    if (!std::isfinite(factor)) Fail(ErrorCode::kCorrupt, "{} is not a finite number", where);
    const WeightView& view = made.tensor.view;
    if (view.format.kind != WeightKind::kTernary) {
      if (factor == 1.0f) return;
      Fail(ErrorCode::kUnsupported, "{} belongs to a matrix of {}; only ternary ones may have a factor", where,
           view.format.Name());
    }
    for (int64_t i = 0; i < view.rows * view.format.Groups(view.cols); ++i) {
      StoreAt(made.scales, i, LoadAt<float>(made.scales, i) * factor);
    }
    ValidateCodes(view, where);
  }

  void RequireScaled(const std::string& scale_name) const {
    const std::string weight = scale_name.substr(0, scale_name.rfind('.')) + ".weight";
    if (!file_.tensors.contains(weight)) {
      Fail(ErrorCode::kUnsupported, "{}: tensor {} is not known", file_.name, OneLine(scale_name));
    }
  }

  const GgufFile& file_;
  const GgufArchitecture& architecture_;
  std::shared_ptr<const void> owner_;
  Model& model_;
  std::vector<RecipeEntry> entries_;
  WorkerPool pool_;
};

/// Shapes are compared before anything is repacked: a small file must not make large tensors.
void CheckShapes(const GgufFile& file, const Plan& plan) {
  for (const WeightSlot& slot : plan.weights) {
    const auto name = GgufName(slot.name);
    EDGELLM_CHECK(name.has_value(), "every weight of a plan has a GGUF name");
    const auto found = file.tensors.find(*name);
    if (found == file.tensors.end()) {
      Fail(ErrorCode::kCorrupt, "{}: tensor {} is missing", file.name, *name);
    }
    const GgufTensor& tensor = found->second;
    if (tensor.rows != slot.rows || tensor.cols != slot.cols) {
      Fail(ErrorCode::kCorrupt, "{}: tensor {} has shape [{}, {}], but the model needs [{}, {}]", file.name, *name,
           tensor.rows, tensor.cols, slot.rows, slot.cols);
    }
  }
}

}  // namespace

Model ImportGgufBytes(std::span<const std::byte> bytes, std::string_view name, std::shared_ptr<const void> owner,
                      const Progress& progress) {
  std::vector<GgufFile> whole;
  whole.push_back(ParseGguf(bytes, name));
  return ImportParsedGguf(JoinGgufParts(std::move(whole)), std::move(owner), progress);
}

Model ImportParsedGguf(const GgufFile& file, std::shared_ptr<const void> owner, const Progress& progress) {
  const GgufArchitecture& architecture = ReadGgufArchitecture(file);
  if (file.tensors.empty()) {
    Fail(ErrorCode::kUnsupported, "{}: holds a vocabulary but no weights", file.name);
  }
  Model model;
  model.config = ReadGgufConfig(file, architecture);
  const Plan plan = Lower(model.config);
  CheckShapes(file, plan);
  ReadGgufText(file, model);
  Importer(file, architecture, std::move(owner), model).Run(plan, progress);
  model.name = OneLine(file.Text("general.name").value_or(""));
  model.weights.Bind(plan, file.name);
  return model;
}

Model ImportGguf(const std::filesystem::path& path, const Progress& progress) {
  const auto mapped = OpenGguf(path);
  Model model = ImportParsedGguf(mapped->gguf, mapped, progress);
  const std::filesystem::path first = mapped->files.front()->path();
  if (model.name.empty()) {
    const std::string stem = first.stem().string();
    const auto part = ParsePartName(stem);
    model.name = part ? part->name : stem;
  }
  model.provenance.source = first.filename().string();
  model.provenance.source_format = "gguf";
  Sha256 digest;
  for (size_t i = 0; i < mapped->files.size(); ++i) {
    if (progress) progress("hashing", i, mapped->files.size());
    digest.Update(mapped->files[i]->bytes());
  }
  model.provenance.source_digest = digest.Finish();
  model.provenance.created_by = "edgellm " EDGELLM_VERSION;
  if (progress) progress("hashing", mapped->files.size(), mapped->files.size());
  return model;
}

}  // namespace edgellm
