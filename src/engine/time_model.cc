// See time_model.h.
#include "engine/time_model.h"

#include <algorithm>
#include <cmath>

namespace edgellm {
namespace {

constexpr double kLeastDeviation = 0.02;  // a machine that measures better than this has other things to tell
constexpr double kMostDeviation = 0.5;
constexpr double kDeviationRate = 0.05;  // share of a new residual in the running deviation
constexpr double kDrift = 0.01;      // by which share of its size a weight may move from one forward to the next …
constexpr double kMostDoubt = 0.25;  // … but what was learnt once is not doubted by more than that share

}  // namespace

void TimeModel::Begin(const StepLoad& load, double seconds) {
  // Cautious: as if nothing were fixed, so that the first slices are too short rather than too long.
  const double each = seconds / std::max(1, load.decode + load.prefill);
  weights_ = {0, each, each, 0, 0};
  first_ = {seconds, each, each, each, each};
  for (size_t i = 0; i < kTerms; ++i) {
    covariance_[i].fill(0);
    covariance_[i][i] = first_[i] * first_[i];
  }
}

void TimeModel::Observe(const StepLoad& load, double seconds) {
  if (!(seconds > 0) || load.decode + load.prefill <= 0) return;
  if (observations_++ == 0) Begin(load, seconds);
  const Vector x = {1, static_cast<double>(load.decode), static_cast<double>(load.prefill),
                    static_cast<double>(load.attended) * 1e-3, static_cast<double>(load.prompt_attended) * 1e-3};
  Vector gain{};
  double expected = 0, spread = 0;
  for (size_t i = 0; i < kTerms; ++i) {
    expected += weights_[i] * x[i];
    for (size_t j = 0; j < kTerms; ++j) gain[i] += covariance_[i][j] * x[j];
    spread += gain[i] * x[i];
  }
  const double noise = deviation_ * std::max(expected, seconds * 0.01);
  spread += noise * noise;
  const double limit = kGate * std::sqrt(spread);
  const double residual = std::clamp(seconds - expected, -limit, limit);
  const double relative = std::min(std::abs(residual) / std::max(expected, seconds * 0.01), kMostDeviation);
  deviation_ =
      std::clamp(deviation_ + kDeviationRate * (relative * 1.25 - deviation_),  // of a normal error: σ / mean|e|
                 kLeastDeviation, kMostDeviation);
  for (size_t i = 0; i < kTerms; ++i) weights_[i] += gain[i] / spread * residual;
  for (size_t i = 0; i < kTerms; ++i) {
    for (size_t j = 0; j < kTerms; ++j) covariance_[i][j] -= gain[i] * gain[j] / spread;
  }
  for (size_t i = 0; i < kTerms; ++i) {
    // A weight near zero drifts on the scale of the first guess.
    const double size = std::max(std::abs(weights_[i]), 0.01 * first_[i]);
    const double doubt = kMostDoubt * size, drift = kDrift * size;
    if (covariance_[i][i] < doubt * doubt) covariance_[i][i] += drift * drift;
    weights_[i] = std::max(weights_[i], 0.0);
  }
}

StepCosts TimeModel::costs() const {
  return {weights_[0], weights_[1], weights_[2], weights_[3], weights_[4]};
}

}  // namespace edgellm
