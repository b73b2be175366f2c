// See quantize.h. Rows are rounded by the plain encoders of quant/codec.h, spread over threads, unless calibrate.h did
// it; the error of each row is summed in row order, so that the recipe does not depend on their number.
#include "convert/quantize.h"

#include <atomic>
#include <cmath>

#include "base/error.h"
#include "base/journal.h"
#include "base/sha256.h"
#include "convert/bitnet.h"
#include "convert/recipe.h"
#include "convert/row_work.h"
#include "model/lower.h"

namespace edgellm {
namespace {

/// int8 by the largest group that divides the row; the smallest, ragged, where none does.
WeightFormat DefaultHead(int64_t cols) {
  for (const int group : {128, 64, 32}) {
    if (cols % group == 0) return {WeightKind::kInt8, group, false};
  }
  return {WeightKind::kInt8, 32, false};
}

/// Calls `body(row, values)` for every row of `source`, decoded, on all threads. `body` must not throw.
template <typename Body>
void ForDecodedRows(WorkerPool& pool, const WeightView& source, const Body& body) {
  ForRows(pool, source.rows, [&] {
    return [&, values = std::vector<float>(static_cast<size_t>(source.cols))](int64_t row) mutable {
      DecodeRow(source, row, values);
      body(row, std::span<const float>(values));
    };
  });
}

RowErrors Compare(WorkerPool& pool, const WeightView& source, const WeightView& result) {
  RowErrors errors(source.rows);
  ForDecodedRows(pool, source, [&](int64_t row, std::span<const float> values) {
    std::vector<float> got(values.size());
    DecodeRow(result, row, got);
    errors.Set(row, values, got);
  });
  return errors;
}

Tensor EncodeRows(WorkerPool& pool, const WeightView& source, const WeightFormat& format,
                  ScaleChoice choice = ScaleChoice::kLeastError) {
  WritableTensor made = MakeTensor(format, source.rows, source.cols, /*is_vector=*/false);
  const size_t code_stride = format.RowBytes(source.cols);
  const size_t groups = static_cast<size_t>(format.Groups(source.cols));
  ForDecodedRows(pool, source, [&](int64_t row, std::span<const float> values) {
    const auto index = static_cast<size_t>(row);
    EncodeRow(format, values, made.codes + index * code_stride,
              made.scales == nullptr ? nullptr : made.scales + index * groups * format.ScaleBytes(),
              made.zeros == nullptr ? nullptr : made.zeros + index * groups * 2, choice);
  });
  return made.tensor;
}

void RefuseNonFinite(WorkerPool& pool, const WeightView& source, std::string_view name) {
  std::atomic<bool> bad{false};
  ForDecodedRows(pool, source, [&](int64_t, std::span<const float> values) {
    for (const float x : values) {
      if (!std::isfinite(x)) bad.store(true, std::memory_order_relaxed);
    }
  });
  if (bad.load()) Fail(ErrorCode::kCorrupt, "tensor {} holds NaN or infinity", name);
}

/// Ternary, as BitNet's layers round while running: one scale, the absmean, for the matrix. A matrix whose groups are
/// ternary already (an offline checkpoint kept as floats, or another ternary format) keeps its values instead.
Tensor EncodeTernary(WorkerPool& pool, const WeightView& source, const WeightFormat& format, std::string_view name) {
  Tensor by_group = EncodeRows(pool, source, format);
  if (Compare(pool, source, by_group.view).IsExact()) return by_group;
  Tensor by_matrix = EncodeBitnet(source, name);
  return format == by_matrix.view.format ? by_matrix : EncodeRows(pool, by_matrix.view, format);
}

/// Stands for everything that a calibrated matrix depends on: the program, the source's weights and plan, the text, the
/// options.
std::string JournalIdentity(const Model& source, const QuantizeOptions& options, const Progress& progress) {
  Sha256 digest;
  const auto add = [&](std::string_view text) { digest.Update(std::as_bytes(std::span(text.data(), text.size()))); };
  const Calibration& calibration = *options.calibration;
  add(fmt::format("edgellm {}\n{}\n{}\n{} {}\n{}\n", EDGELLM_VERSION, options.linear.Name(),
                  options.head ? options.head->Name() : "", calibration.window, calibration.damping,
                  static_cast<int>(options.scales)));
  add(ToText(Lower(source.config)));
  add(Sha256Hex(std::as_bytes(std::span(calibration.tokens))));
  uint64_t done = 0;
  const uint64_t total = source.weights.tensors().size();
  for (const auto& [name, tensor] : source.weights.tensors()) {
    if (progress) progress("reading", done++, total);
    const WeightView& view = tensor.view;
    add(fmt::format("{} {} {} {}\n", name, view.format.Name(), view.rows, view.cols));
    const auto rows = static_cast<size_t>(view.rows);
    const size_t groups = rows * static_cast<size_t>(view.format.Groups(view.cols));
    digest.Update({view.codes, rows * view.format.RowBytes(view.cols)});
    if (view.scales != nullptr) digest.Update({view.scales, groups * view.format.ScaleBytes()});
    if (view.zeros != nullptr) digest.Update({view.zeros, groups * 2});
  }
  return digest.Finish();
}

class Quantizer {
 public:
  Quantizer(const Model& source, const QuantizeOptions& options)
      : source_(source), options_(options), pool_(options.threads) {}

  Model Run(const Progress& progress, const std::function<void(std::string_view)>& note) {
    RefuseTernary();
    if (options_.calibration) RunCalibration(progress, note);
    Model result = source_;
    result.weights = {};
    uint64_t total = 0, done = 0;
    for (const auto& [name, tensor] : source_.weights.tensors()) total += Values(tensor);
    for (const auto& [name, tensor] : source_.weights.tensors()) {
      if (progress) progress("quantizing", done, total);
      result.weights.Add(name, Convert(name, tensor));
      done += Values(tensor);
    }
    if (progress) progress("quantizing", total, total);
    result.provenance.created_by = "edgellm " EDGELLM_VERSION;
    if (!changed_) return result;
    result.provenance.recipe_json =
        RecipeJson("quantize", entries_, source_.provenance.recipe_json, CalibrationRecord());
    if (twice_ > 0) {
      result.provenance.notes.push_back(
          fmt::format("{} matrices were quantised already and have been rounded a second time", twice_));
    }
    // They were the answers of the source's weights; these ones need their own.
    result.golden.clear();
    return result;
  }

 private:
  static uint64_t Values(const Tensor& tensor) { return static_cast<uint64_t>(tensor.view.rows * tensor.view.cols); }

  void RefuseTernary() const {
    const auto is_ternary = [](const WeightFormat& format) { return format.kind == WeightKind::kTernary; };
    const bool asked = is_ternary(options_.linear) || (options_.head && is_ternary(*options_.head));
    if (!asked || source_.config.native_ternary || options_.force_ternary) return;
    Fail(ErrorCode::kInvalidArgument,
         "{} was not trained ternary: rounding its weights to -1, 0 and 1 would leave nothing of what it learned (use "
         "int4 "
         "or int8, or force it to see)",
         source_.name.empty() ? "this model" : source_.name);
  }

  /// Fills calibrated_. The pass sees tables as they will be stored.
  void RunCalibration(const Progress& progress, const std::function<void(std::string_view)>& note) {
    WeightTable weights;
    for (const auto& [name, tensor] : source_.weights.tensors()) {
      if (tensor.view.rows > 1) RefuseNonFinite(pool_, tensor.view, name);
      const bool is_input = name == "model.embed_tokens.weight";
      weights.Add(name, is_input ? Make(name, tensor, FormatFor(name, tensor.view)) : tensor);
    }
    std::optional<Journal> journal;
    if (!options_.journal.empty()) {
      journal.emplace(options_.journal, JournalIdentity(source_, options_, progress));
      TellFound(*journal, note);
    }
    const FormatChoice choice = [&](const std::string& name, const WeightView& view) { return FormatFor(name, view); };
    calibrated_ = Calibrate(source_.config, weights, choice, *options_.calibration, journal ? &*journal : nullptr,
                            pool_, progress);
  }

  void TellFound(const Journal& journal, const std::function<void(std::string_view)>& note) const {
    const std::string path = options_.journal.string();
    if (!note) return;
    switch (journal.found()) {
      case Journal::Found::kNothing:
        return;
      case Journal::Found::kRecords:
        return note(
            fmt::format("{}: going on after the {} matrices that an earlier run finished", path, journal.size()));
      case Journal::Found::kDamagedRecords:
        return note(fmt::format("{}: its end is damaged; going on after the first {} matrices", path, journal.size()));
      case Journal::Found::kForeign:
        return note(fmt::format("{}: belongs to another source, text or options and is not used", path));
    }
  }

  std::optional<RecipeCalibration> CalibrationRecord() const {
    if (calibrated_.empty()) return {};
    const Calibration& calibration = *options_.calibration;
    return RecipeCalibration{calibration.text, calibration.text_sha256, static_cast<int64_t>(calibration.tokens.size()),
                             calibration.window, calibration.damping};
  }

  WeightFormat FormatFor(std::string_view name, const WeightView& view) const {
    if (view.rows == 1) return view.format;
    if (!IsTable(name)) return options_.linear;
    if (options_.head) return *options_.head;
    // Without a wish, a table that is no longer float is left alone, and a float target means floats everywhere.
    if (!view.format.is_float()) return view.format;
    const bool alike = options_.linear.is_float() || options_.linear.kind == WeightKind::kInt8;
    return alike ? options_.linear : DefaultHead(view.cols);
  }

  Tensor Convert(const std::string& name, const Tensor& source) {
    if (source.is_vector || source.view.rows == 1) return source;
    const WeightFormat format = FormatFor(name, source.view);
    const std::string before = source.view.format.Name();
    if (format == source.view.format) {
      entries_.push_back({name, before, before, true});
      return source;
    }
    changed_ = true;
    const Tensor made = Make(name, source, format);
    ValidateCodes(made.view, "tensor " + name);
    const RowErrors errors = Compare(pool_, source.view, made.view);
    const bool is_exact = errors.IsExact();
    if (!source.view.format.is_float() && !is_exact) ++twice_;
    RecipeEntry entry{name, before, format.Name(), is_exact};
    if (!is_exact) entry.relative_error = errors.Relative();
    if (const auto found = calibrated_.find(name); found != calibrated_.end()) {
      entry.output_error = {found->second.errors.plain, found->second.errors.calibrated};
    }
    entries_.push_back(std::move(entry));
    return made;
  }

  /// The matrix in `format`: as it was calibrated, or rounded now.
  Tensor Make(const std::string& name, const Tensor& source, const WeightFormat& format) {
    if (const auto found = calibrated_.find(name); found != calibrated_.end()) return found->second.tensor;
    RefuseNonFinite(pool_, source.view, name);
    if (format == source.view.format) return source;
    return format.kind == WeightKind::kTernary ? EncodeTernary(pool_, source.view, format, name)
                                               : EncodeRows(pool_, source.view, format, options_.scales);
  }

  const Model& source_;
  const QuantizeOptions& options_;
  WorkerPool pool_;
  std::map<std::string, CalibratedTensor> calibrated_;
  std::vector<RecipeEntry> entries_;
  bool changed_ = false;
  int twice_ = 0;
};

}  // namespace

Model Quantize(const Model& source, const QuantizeOptions& options, const Progress& progress,
               const std::function<void(std::string_view)>& note) {
  return Quantizer(source, options).Run(progress, note);
}

}  // namespace edgellm
