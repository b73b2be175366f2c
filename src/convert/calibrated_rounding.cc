// See calibrated_rounding.h. Rows do not know of one another; workers take blocks of them, so that the products with H
// and its factor are products of matrices.
#include "convert/calibrated_rounding.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "convert/group_grid.h"
#include "convert/row_work.h"
#include "quant/codec.h"
#include "quant/int4.h"
#include "quant/planes.h"

namespace edgellm {
namespace {

// Rows that share one pass over H.
constexpr int64_t kRowBlock = 64;
// Columns of H that are multiplied at a time where nothing else sets a measure.
constexpr int64_t kColumnBlock = 256;
// After four sweeps hardly a code still moves.
constexpr int kSweeps = 4;

size_t Size(int64_t count) {
  return static_cast<size_t>(count);
}

/// The planes of one format, to be filled by rows.
struct Planes {
  explicit Planes(const WritableTensor& tensor) : made(tensor) {}

  void Encode(int64_t row, std::span<const float> values) const {
    const WeightView& view = made.tensor.view;
    EncodeRow(view.format, values, Codes(row), Scales(row), Zeros(row));
  }
  std::byte* Codes(int64_t row) const { return made.codes + Size(row) * made.tensor.view.format.RowBytes(Cols()); }
  std::byte* Scales(int64_t row) const { return made.scales + Size(row * Groups()) * 2; }
  std::byte* Zeros(int64_t row) const {
    return made.zeros == nullptr ? nullptr : made.zeros + Size(row * Groups()) * 2;
  }
  int64_t Cols() const { return made.tensor.view.cols; }
  int64_t Groups() const { return made.tensor.view.format.Groups(Cols()); }

  WritableTensor made;
};

/// One block of rows on its way; one object for each worker, reused from block to block.
class RowBlock {
 public:
  RowBlock(const WeightView& source, const Gram& gram, const Planes& planes)
      : source_(source), gram_(gram), planes_(planes), format_(planes.made.tensor.view.format), cols_(source.cols) {}

  /// Sets, for each of its rows, the squared error of the outputs by the plain encoder and as stored, and the outputs'
  /// own square.
  void Run(int64_t first, int64_t count, double* plain, double* calibrated, double* square) {
    first_ = first;
    rows_ = count;
    const size_t values = Size(rows_ * cols_);
    weights_.resize(values);
    error_.assign(values, 0);
    codes_.resize(values);
    grids_.resize(Size(rows_ * planes_.Groups()));
    for (int64_t r = 0; r < rows_; ++r) {
      DecodeRow(source_, first_ + r, {&weights_[Size(r * cols_)], Size(cols_)});
      planes_.Encode(first_ + r, {&weights_[Size(r * cols_)], Size(cols_)});
    }
    SquaresUnderH(weights_, square);
    std::vector<float> stored(values);
    for (int64_t r = 0; r < rows_; ++r) {
      DecodeRow(planes_.made.tensor.view, first_ + r, {&stored[Size(r * cols_)], Size(cols_)});
    }
    for (size_t i = 0; i < values; ++i) stored[i] = weights_[i] - stored[i];
    SquaresUnderH(stored, plain);

    for (int64_t group = planes_.Groups() - 1; group >= 0; --group) RoundGroup(group);
    MultiplyByH(error_);
    for (int sweep = 0; sweep < kSweeps; ++sweep) {
      for (int64_t group = 0; group < planes_.Groups(); ++group) ImproveGroup(group);
    }
    SquaresUnderH(error_, calibrated);
    for (int64_t r = 0; r < rows_; ++r) {
      if (calibrated[r] < plain[r]) {
        Store(r);
      } else {
        calibrated[r] = plain[r];
      }
    }
  }

 private:
  int64_t GroupBegin(int64_t group) const { return group * format_.group; }
  int64_t GroupLength(int64_t group) const { return std::min<int64_t>(format_.group, cols_ - GroupBegin(group)); }
  GroupGrid& Grid(int64_t r, int64_t group) { return grids_[Size(r * planes_.Groups() + group)]; }

  /// Adds part[rows][count], whose columns begin at `first`, times H to product_, except for the diagonal block.
  void AddProduct(const MatrixView& part, int64_t first, int64_t count) {
    float* product = product_.data();
    GemmAdd(part, gram_.LeftOf(first, count).Transposed(), 1.0f, product, cols_, scratch_);
    const int64_t end = first + count;
    GemmAdd(part, gram_.RightOf(first, count).Transposed(), 1.0f, product + end, cols_, scratch_);
  }

  /// product_[rows][cols] = vectors H.
  void MultiplyByH(const std::vector<float>& vectors) {
    product_.assign(vectors.size(), 0);
    for (int64_t first = 0; first < cols_; first += kColumnBlock) {
      const int64_t count = std::min(kColumnBlock, cols_ - first);
      const MatrixView part = DenseMatrix(vectors.data(), rows_, cols_).Columns(first, count);
      AddProduct(part, first, count);
      block_.resize(Size(count * count));
      gram_.CopyDiagonalBlock(first, count, block_.data());
      GemmAdd(part, DenseMatrix(block_.data(), count, count), 1.0f, product_.data() + first, cols_, scratch_);
    }
  }

  void SquaresUnderH(const std::vector<float>& vectors, double* out) {
    MultiplyByH(vectors);
    for (int64_t r = 0; r < rows_; ++r) {
      double sum = 0;
      for (int64_t i = r * cols_; i < (r + 1) * cols_; ++i) {
        sum += static_cast<double>(vectors[Size(i)]) * product_[Size(i)];
      }
      out[r] = std::max(sum, 0.0);  // it is no less but for rounding
    }
  }

  /// Scale and codes of one group of every row, given what the columns to the right were rounded to.
  void RoundGroup(int64_t group) {
    const int64_t begin = GroupBegin(group), count = GroupLength(group), end = begin + count;
    feedback_.assign(Size(rows_ * count), 0);
    GemmAdd(DenseMatrix(error_.data(), rows_, cols_).Columns(end, cols_ - end),
            gram_.FactorBelow(end, begin, count).Transposed(), 1.0f, feedback_.data(), count, scratch_);
    const MatrixView factor = gram_.FactorBelow(begin, begin, count);
    std::vector<float> target(Size(count));
    for (int64_t r = 0; r < rows_; ++r) {
      const float* weights = &weights_[Size(r * cols_ + begin)];
      for (int64_t k = 0; k < count; ++k) target[Size(k)] = weights[k] + feedback_[Size(r * count + k)];
      GroupGrid& grid = Grid(r, group) = SearchGrid(target, gram_.pivots().subspan(Size(begin), Size(count)), format_);
      float* error = &error_[Size(r * cols_ + begin)];
      int8_t* codes = &codes_[Size(r * cols_ + begin)];
      for (int64_t k = count - 1; k >= 0; --k) {
        codes[k] = grid.Code(target[Size(k)]);
        error[k] = weights[k] - grid.Value(codes[k]);
        const float* row = factor.data + k * factor.row_stride;
        for (int64_t j = 0; j < k; ++j) target[Size(j)] += error[k] * row[j];
      }
    }
  }

  /// One step of descent for scale, zero and codes of a group; product_ is error_ H before and after.
  void ImproveGroup(int64_t group) {
    const int64_t begin = GroupBegin(group), count = GroupLength(group);
    block_.resize(Size(count * count));
    gram_.CopyDiagonalBlock(begin, count, block_.data());
    feedback_.resize(Size(rows_ * count));
    bool changed = false;
    for (int64_t r = 0; r < rows_; ++r) {
      float* error = &error_[Size(r * cols_ + begin)];
      float* change = &feedback_[Size(r * count)];
      std::copy(error, error + count, change);
      ImproveGrid(r, group, /*zero=*/false);
      if (format_.zero_point) ImproveGrid(r, group, /*zero=*/true);
      ImproveCodes(r, group);
      for (int64_t k = 0; k < count; ++k) {
        change[k] = error[k] - change[k];
        changed = changed || change[k] != 0;
      }
    }
    if (changed) AddProduct(DenseMatrix(feedback_.data(), rows_, count), begin, count);
  }

  /// Moves a group's scale or zero to where the error is least, its codes standing.
  void ImproveGrid(int64_t r, int64_t group, bool zero) {
    const int64_t begin = GroupBegin(group), count = GroupLength(group);
    GroupGrid& grid = Grid(r, group);
    direction_.resize(Size(count));
    moved_.assign(Size(count), 0);
    for (int64_t k = 0; k < count; ++k) {
      direction_[Size(k)] = zero ? -grid.scale : static_cast<float>(codes_[Size(r * cols_ + begin + k)]) - grid.zero;
    }
    for (int64_t k = 0; k < count; ++k) {
      const float* row = &block_[Size(k * count)];
      for (int64_t j = 0; j < count; ++j) moved_[Size(j)] += direction_[Size(k)] * row[j];
    }
    float* error = &error_[Size(r * cols_ + begin)];
    float* product = &product_[Size(r * cols_ + begin)];
    double slope = 0, curvature = 0;
    for (int64_t k = 0; k < count; ++k) {
      slope += static_cast<double>(direction_[Size(k)]) * product[k];
      curvature += static_cast<double>(direction_[Size(k)]) * moved_[Size(k)];
    }
    if (!(curvature > 0)) return;
    float& parameter = zero ? grid.zero : grid.scale;
    const float wanted = AsHalf(parameter + static_cast<float>(slope / curvature));
    const double step = static_cast<double>(wanted - parameter);
    if (!(step * step * curvature < 2 * step * slope)) return;
    parameter = wanted;
    for (int64_t k = 0; k < count; ++k) {
      error[k] -= static_cast<float>(step) * direction_[Size(k)];
      product[k] -= static_cast<float>(step) * moved_[Size(k)];
    }
  }

  /// Moves each code of a group in turn to where the error is least, all others standing.
  void ImproveCodes(int64_t r, int64_t group) {
    const int64_t begin = GroupBegin(group), count = GroupLength(group);
    const GroupGrid& grid = Grid(r, group);
    float* error = &error_[Size(r * cols_ + begin)];
    float* product = &product_[Size(r * cols_ + begin)];
    int8_t* codes = &codes_[Size(r * cols_ + begin)];
    for (int64_t k = 0; k < count; ++k) {
      const float* row = &block_[Size(k * count)];
      const int8_t code = grid.Code(grid.Value(codes[k]) + product[k] / row[k]);
      if (code == codes[k]) continue;
      const float step = grid.Value(code) - grid.Value(codes[k]);
      if (!(step * step * row[k] < 2 * step * product[k])) continue;
      codes[k] = code;
      error[k] -= step;
      for (int64_t j = 0; j < count; ++j) product[j] -= step * row[j];
    }
  }

  void Store(int64_t r) {
    for (int64_t group = 0; group < planes_.Groups(); ++group) {
      const int64_t begin = GroupBegin(group);
      const GroupGrid& grid = Grid(r, group);
      const int8_t* codes = &codes_[Size(r * cols_ + begin)];
      const size_t count = Size(GroupLength(group));
      if (format_.kind == WeightKind::kInt8) {
        std::memcpy(planes_.Codes(first_ + r) + begin, codes, count);
      } else {
        // Codes of 0 to 15 are the same bytes with and without a sign.
        int4::Pack({reinterpret_cast<const uint8_t*>(codes), count}, planes_.Codes(first_ + r) + begin / 2);
      }
      StoreAt(planes_.Scales(first_ + r), group, FloatToF16(grid.scale));
      if (format_.zero_point) StoreAt(planes_.Zeros(first_ + r), group, FloatToF16(grid.zero));
    }
  }

  const WeightView& source_;
  const Gram& gram_;
  const Planes& planes_;
  WeightFormat format_;
  int64_t cols_, first_ = 0, rows_ = 0;
  GemmScratch scratch_;
  std::vector<float> weights_, error_, product_;  // [rows][cols]: as they were; that less what is stored; error H
  std::vector<int8_t> codes_;                     // [rows][cols]
  std::vector<GroupGrid> grids_;                  // [rows][groups]
  std::vector<float> feedback_, block_;           // [rows][columns of a group], and H's block of them
  std::vector<float> direction_, moved_;          // [columns of a group]
};

double Sum(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum;
}

}  // namespace

bool CanBeCalibrated(const WeightFormat& format) {
  return format.kind == WeightKind::kInt4 || format.kind == WeightKind::kInt8;
}

Tensor RoundCalibrated(const WeightView& source, const WeightFormat& format, const Gram& gram, WorkerPool& pool,
                       OutputErrors* errors) {
  EDGELLM_CHECK(CanBeCalibrated(format), "calibrated rounding makes int4 and int8");
  EDGELLM_CHECK(source.cols == gram.size(), "the matrix must fit its inputs");
  const Planes planes(MakeTensor(format, source.rows, source.cols, /*is_vector=*/false));
  std::vector<double> plain(Size(source.rows)), calibrated(plain.size()), square(plain.size());
  ForRows(pool, (source.rows + kRowBlock - 1) / kRowBlock, [&] {
    return [&, block = RowBlock(source, gram, planes)](int64_t index) mutable {
      const int64_t first = index * kRowBlock;
      block.Run(first, std::min(kRowBlock, source.rows - first), &plain[Size(first)], &calibrated[Size(first)],
                &square[Size(first)]);
    };
  });
  // In the order of the rows: the sums do not depend on who made them.
  const double whole = Sum(square);
  *errors = {whole > 0 ? std::sqrt(Sum(plain) / whole) : 0, whole > 0 ? std::sqrt(Sum(calibrated) / whole) : 0};
  return planes.made.tensor;
}

}  // namespace edgellm
