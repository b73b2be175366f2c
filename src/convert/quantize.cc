// See quantize.h. Rows are rounded by the plain encoders of quant/codec.h, spread over threads; the error of each row
// is summed in row order, so that the recipe does not depend on their number.
#include "convert/quantize.h"

#include <atomic>
#include <cmath>

#include "base/error.h"
#include "convert/bitnet.h"
#include "convert/recipe.h"
#include "convert/row_work.h"
#include "quant/codec.h"

namespace edgellm {
namespace {

bool IsTable(std::string_view name) {
  return name == "model.embed_tokens.weight" || name == "lm_head.weight";
}

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

Tensor EncodeRows(WorkerPool& pool, const WeightView& source, const WeightFormat& format) {
  WritableTensor made = MakeTensor(format, source.rows, source.cols, /*is_vector=*/false);
  const size_t code_stride = format.RowBytes(source.cols);
  const size_t groups = static_cast<size_t>(format.Groups(source.cols));
  ForDecodedRows(pool, source, [&](int64_t row, std::span<const float> values) {
    const auto index = static_cast<size_t>(row);
    EncodeRow(format, values, made.codes + index * code_stride,
              made.scales == nullptr ? nullptr : made.scales + index * groups * format.ScaleBytes(),
              made.zeros == nullptr ? nullptr : made.zeros + index * groups * 2);
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

class Quantizer {
 public:
  Quantizer(const Model& source, const QuantizeOptions& options) : source_(source), options_(options) {}

  Model Run(const Progress& progress) {
    RefuseTernary();
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
    result.provenance.recipe_json = RecipeJson("quantize", entries_, source_.provenance.recipe_json);
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

  WeightFormat FormatFor(std::string_view name, const WeightView& view) const {
    if (!IsTable(name)) return options_.linear;
    if (options_.head) return *options_.head;
    // Without a wish, a table that is no longer float is left alone, and a float target means floats everywhere.
    if (!view.format.is_float()) return view.format;
    return options_.linear.is_float() ? options_.linear : DefaultHead(view.cols);
  }

  Tensor Convert(const std::string& name, const Tensor& source) {
    if (source.is_vector || source.view.rows == 1) return source;
    const WeightFormat format = FormatFor(name, source.view);
    const std::string before = source.view.format.Name();
    if (format == source.view.format) {
      entries_.push_back({name, before, before, true, {}});
      return source;
    }
    changed_ = true;
    RefuseNonFinite(pool_, source.view, name);
    Tensor made = format.kind == WeightKind::kTernary ? EncodeTernary(pool_, source.view, format, name)
                                                      : EncodeRows(pool_, source.view, format);
    ValidateCodes(made.view, "tensor " + name);
    const RowErrors errors = Compare(pool_, source.view, made.view);
    const bool is_exact = errors.IsExact();
    if (!source.view.format.is_float() && !is_exact) ++twice_;
    entries_.push_back(
        {name, before, format.Name(), is_exact, is_exact ? std::nullopt : std::optional(errors.Relative())});
    return made;
  }

  const Model& source_;
  const QuantizeOptions& options_;
  WorkerPool pool_{0};
  std::vector<RecipeEntry> entries_;
  bool changed_ = false;
  int twice_ = 0;
};

}  // namespace

Model Quantize(const Model& source, const QuantizeOptions& options, const Progress& progress) {
  return Quantizer(source, options).Run(progress);
}

}  // namespace edgellm
