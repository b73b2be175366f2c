// See group_grid.h.
#include "convert/group_grid.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "quant/planes.h"

namespace edgellm {
namespace {

/// Weighted squared error of rounding to `grid`. Lanes, so that compilers make vectors of it.
float ErrorOf(std::span<const float> values, std::span<const float> weights, const GroupGrid& grid) {
  constexpr size_t kLanes = 8;
  std::array<float, kLanes> sums{};
  const float inverse = grid.scale == 0 ? 0.0f : 1.0f / grid.scale;
  const auto low = static_cast<float>(grid.low), high = static_cast<float>(grid.high);
  const auto add = [&](size_t i, float& sum) {
    float code = RoundHalfEven(values[i] * inverse + grid.zero);
    code = code > low ? code : low;
    code = code < high ? code : high;
    const float error = values[i] - grid.scale * (code - grid.zero);
    sum += weights[i] * error * error;
  };
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) add(i + lane, sums[lane]);
  }
  for (; i < values.size(); ++i) add(i, sums[i % kLanes]);
  float sum = 0;
  for (const float part : sums) sum += part;
  return sum;
}

class Search {
 public:
  Search(std::span<const float> values, std::span<const float> weights, const GroupGrid& empty)
      : values_(values), weights_(weights), best_(empty) {}

  void Try(float scale, float zero) {
    const GroupGrid grid = {AsHalf(scale), AsHalf(zero), best_.low, best_.high};
    const float error = ErrorOf(values_, weights_, grid);
    if (!(error < error_)) return;
    error_ = error;
    best_ = grid;
  }

  /// The weighted least-squares line through (code, value) for the codes that the best grid gives.
  void Refit(bool zero_point) {
    double weight = 0, code_sum = 0, value_sum = 0, code_square = 0, product = 0;
    for (size_t i = 0; i < values_.size(); ++i) {
      const double w = weights_[i],
                   code = best_.Code(values_[i]) - (zero_point ? 0.0 : static_cast<double>(best_.zero)),
                   value = values_[i];
      weight += w;
      code_sum += w * code;
      value_sum += w * value;
      code_square += w * code * code;
      product += w * code * value;
    }
    if (!zero_point) {
      if (code_square > 0) Try(static_cast<float>(product / code_square), best_.zero);
      return;
    }
    const double spread = weight * code_square - code_sum * code_sum;
    if (!(spread > 0)) return;
    const double slope = (weight * product - code_sum * value_sum) / spread;
    if (slope == 0) return;
    const double offset = (value_sum - slope * code_sum) / weight;
    Try(static_cast<float>(slope), static_cast<float>(-offset / slope));
  }

  const GroupGrid& best() const { return best_; }

 private:
  std::span<const float> values_, weights_;
  GroupGrid best_;
  float error_ = std::numeric_limits<float>::infinity();
};

}  // namespace

float AsHalf(float value) {
  return F16ToFloat(ToFiniteHalf(value));
}

GroupGrid GroupGrid::For(const WeightFormat& format) {
  if (format.kind == WeightKind::kInt8) return {.scale = 0, .zero = 0, .low = -127, .high = 127};
  return {};
}

int8_t GroupGrid::Code(float value) const {
  const float place = scale == 0 ? zero : value / scale + zero;
  return static_cast<int8_t>(ToCode(place, low, high));
}

GroupGrid SearchGrid(std::span<const float> values, std::span<const float> weights, const WeightFormat& format) {
  const auto [low_place, high_place] = std::minmax_element(values.begin(), values.end());
  Search search(values, weights, GroupGrid::For(format));
  const float largest = std::fabs(*low_place) > std::fabs(*high_place) ? *low_place : *high_place;
  if (format.kind == WeightKind::kInt8) {
    // So fine a grid gains nothing from cutting values off; a few sizes, as rounding falls out differently in each.
    for (const float divisor : {127.0f, 126.0f, 125.0f, 124.0f, 122.0f}) search.Try(largest / divisor, 0.0f);
  } else if (format.zero_point) {
    // The range of the values, or one drawn in from either end: what is cut off is held at the end.
    constexpr std::array<float, 5> kShares = {1.0f, 0.92f, 0.84f, 0.76f, 0.68f};
    const float low = std::min(*low_place, 0.0f), high = std::max(*high_place, 0.0f);
    for (const float below : kShares) {
      for (const float above : kShares) {
        const float scale = AsHalf((high * above - low * below) / 15.0f);
        if (scale > 0) search.Try(scale, -low * below / scale);
      }
    }
  } else {
    // The value of largest magnitude at code 0, at code 15, or beyond either end.
    for (float divisor = 6.5f; divisor < 13.0f; divisor *= 1.05f) {
      search.Try(largest / divisor, 8.0f);
      search.Try(-largest / divisor, 8.0f);
    }
  }
  search.Refit(format.zero_point);
  return search.best();
}

}  // namespace edgellm
