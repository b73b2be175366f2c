// A model's weights by canonical name: shape, format, and where the bytes lie. Tensors keep what they point into alive.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "plan/plan.h"
#include "quant/weight_format.h"

namespace edgellm {

struct Tensor {
  WeightView view;
  bool is_vector = false;             // one-dimensional in its source (norms, biases): stored with shape [cols]
  std::shared_ptr<const void> owner;  // a MappedFile, a Buffer: whatever `view` points into
};

class WeightTable {
 public:
  /// Throws Error(kCorrupt) if the name is there already.
  void Add(const std::string& name, Tensor tensor);
  /// Null when absent.
  const Tensor* Find(const std::string& name) const;
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }

  /// One view per weight of the plan, in its order. Throws Error(kCorrupt), naming `source` and the tensor, where one
  /// is missing or has another shape than the plan needs.
  std::vector<WeightView> Bind(const Plan& plan, std::string_view source) const;

 private:
  std::map<std::string, Tensor> tensors_;
};

/// Looks at every code and scale of the quantised tensors. Throws Error(kCorrupt), naming `source` and the tensor, on
/// the ternary code 3, which means nothing, and on scales or zeros that are NaN or infinite.
void ValidateCodes(const WeightTable& weights, std::string_view source);

/// An owned tensor of `format` filled row by row with EncodeRow; `row(i)` returns cols floats that stay valid until the
/// next call.
Tensor EncodeTensor(const WeightFormat& format, int64_t rows, int64_t cols,
                    const std::function<std::span<const float>(int64_t)>& row);

/// An owned tensor of `format` with zeroed planes, and pointers to fill them.
struct WritableTensor {
  Tensor tensor;
  std::byte* codes = nullptr;
  std::byte* scales = nullptr;
  std::byte* zeros = nullptr;
};
WritableTensor MakeTensor(const WeightFormat& format, int64_t rows, int64_t cols, bool is_vector);

}  // namespace edgellm
