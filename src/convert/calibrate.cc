// See calibrate.h.
#include "convert/calibrate.h"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/journal.h"
#include "convert/float_forward.h"
#include "model/lower.h"

namespace edgellm {
namespace {

using Bytes = std::span<const std::byte>;

/// Bytes of codes, scales and zeros.
std::array<size_t, 3> PlaneSizes(const WeightFormat& format, int64_t rows, int64_t cols) {
  const auto groups = static_cast<size_t>(rows * format.Groups(cols));
  return {static_cast<size_t>(rows) * format.RowBytes(cols), groups * format.ScaleBytes(),
          format.zero_point ? groups * 2 : 0};
}

std::array<Bytes, 3> PlanesOf(const WeightView& view) {
  const auto sizes = PlaneSizes(view.format, view.rows, view.cols);
  return {Bytes(view.codes, sizes[0]), Bytes(view.scales, sizes[1]), Bytes(view.zeros, sizes[2])};
}

/// A finished matrix in a journal: its planes, each at a multiple of 64, and the errors as text.
CalibratedTensor FromRecord(const Journal::Record& record, const WeightFormat& format, const WeightSlot& slot) {
  CalibratedTensor result;
  const auto errors = nlohmann::json::parse(record.text);
  result.errors = {errors.at("plain").get<double>(), errors.at("calibrated").get<double>()};
  WeightView view = {format, slot.rows, slot.cols, nullptr, nullptr, nullptr};
  const auto sizes = PlaneSizes(format, slot.rows, slot.cols);
  const auto padded = [](size_t bytes) { return (bytes + 63) / 64 * 64; };
  const size_t scales = padded(sizes[0]), zeros = scales + padded(sizes[1]);
  EDGELLM_CHECK(record.bytes.size() >= zeros + sizes[2], "the journal's identity stands for these sizes");
  view.codes = record.bytes.data();
  view.scales = record.bytes.data() + scales;
  if (format.zero_point) view.zeros = record.bytes.data() + zeros;
  result.tensor = {.view = view, .is_vector = false, .owner = record.owner};
  return result;
}

/// Stands beside a forward pass and rounds the matrices that it is about to apply.
class Calibrator {
 public:
  Calibrator(const Plan& plan, std::vector<WeightView>& views, const FormatChoice& choice,
             const Calibration& calibration, Journal* journal, WorkerPool& pool, const Progress& progress)
      : plan_(plan),
        views_(views),
        choice_(choice),
        calibration_(calibration),
        journal_(journal),
        pool_(pool),
        progress_(progress) {
    for (const WeightSlot& slot : plan.weights)
      total_ += slot.rows > 1 ? static_cast<uint64_t>(slot.rows * slot.cols) : 0;
  }

  void AtLinears(std::span<const WeightId> weights, const MatrixView& inputs) {
    std::optional<Gram> gram;
    for (const WeightId id : weights) {
      const WeightSlot& slot = plan_.weights[static_cast<size_t>(id)];
      if (progress_) progress_("calibrating", done_, total_);
      done_ += static_cast<uint64_t>(slot.rows * slot.cols);
      WeightView& view = views_[static_cast<size_t>(id)];
      const WeightFormat format = choice_(slot.name, view);
      if (!CanBeCalibrated(format) || format == view.format || IsTable(id)) continue;
      const Journal::Record* record = journal_ == nullptr ? nullptr : journal_->Find(slot.name);
      if (record != nullptr) {
        results_[slot.name] = FromRecord(*record, format, slot);
      } else {
        if (!gram) gram.emplace(inputs, calibration_.damping, slot.name, pool_);
        results_[slot.name] = Round(slot, view, format, *gram);
      }
      view = results_[slot.name].tensor.view;
    }
  }

  std::map<std::string, CalibratedTensor> Finish() {
    if (progress_) progress_("calibrating", total_, total_);
    return std::move(results_);
  }

 private:
  /// The embedding, which may be the head too.
  bool IsTable(WeightId id) const { return std::get<Embed>(plan_.steps.front()).table == id; }

  CalibratedTensor Round(const WeightSlot& slot, const WeightView& view, const WeightFormat& format, const Gram& gram) {
    CalibratedTensor result;
    result.tensor = RoundCalibrated(view, format, gram, pool_, &result.errors);
    if (journal_ == nullptr) return result;
    const nlohmann::json errors = {{"plain", result.errors.plain}, {"calibrated", result.errors.calibrated}};
    return FromRecord(journal_->Append(slot.name, errors.dump(), PlanesOf(result.tensor.view)), format, slot);
  }

  const Plan& plan_;
  std::vector<WeightView>& views_;
  const FormatChoice& choice_;
  const Calibration& calibration_;
  Journal* journal_;
  WorkerPool& pool_;
  const Progress& progress_;
  uint64_t done_ = 0, total_ = 0;
  std::map<std::string, CalibratedTensor> results_;
};

}  // namespace

std::vector<int32_t> SpreadWindows(std::span<const int32_t> tokens, int window, int64_t most,
                                   std::optional<int32_t> bos) {
  const auto available = static_cast<int64_t>(tokens.size()) / window;
  if (available == 0) {
    Fail(ErrorCode::kInvalidArgument, "the calibration text has {} tokens: too few for one window of {}", tokens.size(),
         window);
  }
  const int64_t count = std::clamp<int64_t>(most / window, 1, available);
  std::vector<int32_t> chosen;
  for (int64_t i = 0; i < count; ++i) {
    // The middle one of each of `count` equal parts.
    const int64_t index = (2 * i + 1) * available / (2 * count);
    const auto part = tokens.subspan(static_cast<size_t>(index * window), static_cast<size_t>(window));
    chosen.insert(chosen.end(), part.begin(), part.end());
    if (bos) chosen[static_cast<size_t>(i * window)] = *bos;
  }
  return chosen;
}

std::map<std::string, CalibratedTensor> Calibrate(const ModelConfig& config, const WeightTable& weights,
                                                  const FormatChoice& choice, const Calibration& calibration,
                                                  Journal* journal, WorkerPool& pool, const Progress& progress) {
  const Plan plan = Lower(config);
  EDGELLM_CHECK(calibration.window > 0 && !calibration.tokens.empty() &&
                    calibration.tokens.size() % static_cast<size_t>(calibration.window) == 0,
                "calibration takes whole windows");
  if (calibration.window > config.max_context) {
    Fail(ErrorCode::kInvalidArgument, "calibration windows of {} tokens are longer than the model's context of {}",
         calibration.window, config.max_context);
  }
  for (const int32_t token : calibration.tokens) {
    if (token < 0 || token >= config.vocab) {
      Fail(ErrorCode::kInvalidArgument, "the calibration text holds token {}, but the model has {}", token,
           config.vocab);
    }
  }
  std::vector<WeightView> views = weights.Bind(plan, "the model to be calibrated");
  Calibrator calibrator(plan, views, choice, calibration, journal, pool, progress);
  FloatForward forward(plan, views, {calibration.tokens, calibration.window}, pool);
  forward.Run([&](std::span<const WeightId> ids, const MatrixView& inputs) { calibrator.AtLinears(ids, inputs); });
  return calibrator.Finish();
}

}  // namespace edgellm
