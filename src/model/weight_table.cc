// See weight_table.h.
#include "model/weight_table.h"

#include <cmath>

#include "base/error.h"
#include "quant/codec.h"
#include "quant/ternary.h"

namespace edgellm {

void WeightTable::Add(const std::string& name, Tensor tensor) {
  if (!tensors_.emplace(name, std::move(tensor)).second) Fail(ErrorCode::kCorrupt, "tensor {} is there twice", name);
}

const Tensor* WeightTable::Find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

std::vector<WeightView> WeightTable::Bind(const Plan& plan, std::string_view source) const {
  std::vector<WeightView> views;
  views.reserve(plan.weights.size());
  for (const WeightSlot& slot : plan.weights) {
    const Tensor* tensor = Find(slot.name);
    if (tensor == nullptr) {
      Fail(ErrorCode::kCorrupt, "{}: tensor {} [{}, {}] is missing", source, slot.name, slot.rows, slot.cols);
    }
    const WeightView& view = tensor->view;
    if (view.rows != slot.rows || view.cols != slot.cols) {
      Fail(ErrorCode::kCorrupt, "{}: tensor {} has shape [{}, {}], but the model needs [{}, {}]", source, slot.name,
           view.rows, view.cols, slot.rows, slot.cols);
    }
    // Norms and biases are read value by value: backends need not know quantised ones.
    if (slot.rows == 1 && !view.format.is_float()) {
      Fail(ErrorCode::kCorrupt, "{}: vector {} is stored as {}; only floats are accepted", source, slot.name,
           view.format.Name());
    }
    views.push_back(view);
  }
  return views;
}

void ValidateCodes(const WeightTable& weights, std::string_view source) {
  for (const auto& [name, tensor] : weights.tensors()) {
    const WeightView& view = tensor.view;
    if (view.format.is_float()) continue;
    const int64_t groups = view.format.Groups(view.cols);
    for (int64_t row = 0; row < view.rows; ++row) {
      if (view.format.kind == WeightKind::kTernary && !ternary::IsValidRow(view.RowCodes(row), view.cols)) {
        Fail(ErrorCode::kCorrupt, "{}: tensor {}, row {}: the ternary code 3 is invalid", source, name, row);
      }
      for (int64_t group = 0; group < groups; ++group) {
        const GroupParameters parameters = DecodeGroup(view, row, group);
        if (!std::isfinite(parameters.scale) || !std::isfinite(parameters.zero)) {
          Fail(ErrorCode::kCorrupt, "{}: tensor {}, row {}: a scale or zero point is not a number", source, name, row);
        }
      }
    }
  }
}

WritableTensor MakeTensor(const WeightFormat& format, int64_t rows, int64_t cols, bool is_vector) {
  // Each plane starts at a multiple of 64, so that backends may read it with the widest loads.
  const auto padded = [](size_t bytes) { return (bytes + 63) / 64 * 64; };
  const size_t codes = static_cast<size_t>(rows) * format.RowBytes(cols);
  const size_t groups = static_cast<size_t>(rows * format.Groups(cols));
  const size_t scales = groups * format.ScaleBytes();
  const size_t zeros = format.zero_point ? groups * 2 : 0;
  auto buffer = std::make_shared<Buffer>(padded(codes) + padded(scales) + zeros);
  WritableTensor made;
  made.codes = buffer->data();
  if (scales != 0) made.scales = buffer->data() + padded(codes);
  if (zeros != 0) made.zeros = buffer->data() + padded(codes) + padded(scales);
  made.tensor = {.view = {format, rows, cols, made.codes, made.scales, made.zeros},
                 .is_vector = is_vector,
                 .owner = std::move(buffer)};
  return made;
}

Tensor EncodeTensor(const WeightFormat& format, int64_t rows, int64_t cols,
                    const std::function<std::span<const float>(int64_t)>& row) {
  WritableTensor made = MakeTensor(format, rows, cols, /*is_vector=*/false);
  const size_t code_stride = format.RowBytes(cols);
  const size_t groups = static_cast<size_t>(format.Groups(cols));
  for (int64_t i = 0; i < rows; ++i) {
    const auto index = static_cast<size_t>(i);
    EncodeRow(format, row(i), made.codes + index * code_stride,
              made.scales == nullptr ? nullptr : made.scales + index * groups * format.ScaleBytes(),
              made.zeros == nullptr ? nullptr : made.zeros + index * groups * 2);
  }
  return made.tensor;
}

}  // namespace edgellm
