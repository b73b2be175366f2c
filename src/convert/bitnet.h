// BitNet b1.58 checkpoints to ternary tensors, as Hugging Face's integration defines them: packed codes with a scale,
// or master weights that the layer itself rounds. Ma et al., "The Era of 1-bit LLMs" (2024).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/json_fields.h"
#include "model/weight_table.h"

namespace edgellm {

/// "quantization_config" of a checkpoint whose quant_method is "bitnet".
struct BitnetScheme {
  bool online = false;  // master weights: rounded at run time (here: at import)
  bool divides_by_scale =
      false;  // linear_class "bitlinear": weight = code / weight_scale; "autobitlinear": code * weight_scale
  std::vector<std::string> not_converted;  // modules whose dotted names contain one of these stay plain

  bool Converts(std::string_view module) const;
};

/// Throws Error(kUnsupported) naming the field.
BitnetScheme ReadBitnetScheme(const JsonFields& quantization);

/// W1.58 of float weights: code = round(clamp(w / s)), s = the absmean of the whole matrix (at least 1e-5), in float32
/// as the published layers compute it. `name` is for errors: Error(kCorrupt) where a weight is NaN or infinite.
Tensor EncodeBitnet(const WeightView& weights, std::string_view name);

/// The published packing: byte [r][c] of `packed` [rows / 4][cols] holds, in bits 2i and 2i+1, code + 1 of row
/// r + i * rows / 4. `scale` is what a code of 1 stands for. Throws Error(kCorrupt) on the invalid code 3.
Tensor RepackBitnet(std::span<const std::byte> packed, int64_t rows, int64_t cols, float scale, std::string_view name);

/// Float weights that are already -1, 0 and 1, times `scale`. Throws Error(kUnsupported) where one is something else.
Tensor EncodeBitnetCodes(const WeightView& weights, float scale, std::string_view name);

}  // namespace edgellm
