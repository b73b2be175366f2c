// int4 matrices as GPTQ and AWQ checkpoints hold them, to our int4 without any change of value: both store
// w = scale * (code - zero) by groups along the inputs, in 32-bit words of eight codes.
//   GPTQ  qweight[cols/8][rows]   word i, bits 4p: column 8i + p            zeros are stored less one (format "gptq")
//   or as
//         qzeros[groups][rows/8]  word i, bits 4p: row 8i + p               they are ("gptq_v2")
//   AWQ   qweight[cols][rows/8]   word i, bits 4p: row 8i + 0 2 4 6 1 3 5 7 (p = 0 … 7)
//         qzeros[groups][rows/8]  as its qweight; zeros as they are
//   both  scales[groups][rows]
// Sources: the layers of AutoGPTQ and GPTQModel, and of AutoAWQ (version "gemm"), as their checkpoints are published.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "model/json_fields.h"
#include "model/weight_table.h"

namespace edgellm {

/// "quantization_config" of a checkpoint whose quant_method is "gptq" or "awq".
struct PackedInt4Scheme {
  bool awq = false;
  bool symmetric = false;       // the checkpoint says that every zero is 8
  bool zeros_less_one = false;  // GPTQ's first format
  int64_t group = 0;            // columns that share a scale; 0: the whole row

  /// "gptq-g128", "awq-g64", "gptq" for whole rows: for the recipe.
  std::string Name() const;
};

/// Nothing where quant_method is another. Throws Error(kUnsupported) for what has no exact equal here.
std::optional<PackedInt4Scheme> ReadPackedInt4Scheme(const JsonFields& quantization);

/// The tensors of one matrix; words and scales are little-endian. Shapes are the caller's to check.
struct PackedInt4 {
  int64_t rows = 0, cols = 0;              // both multiples of 8
  std::span<const std::byte> words;        // qweight
  std::span<const std::byte> zeros;        // qzeros
  WeightView scales;                       // [Groups][rows], floats of any kind
  std::span<const std::byte> group_index;  // g_idx[cols], 32 bits each, or empty
};

/// Scales (and zeros) in a column of `cols` values.
int64_t PackedInt4Groups(const PackedInt4Scheme& scheme, int64_t cols);

/// int4-gN where all zeros are 8, else int4-gN-z; N is the scheme's group, or 128 with scales repeated where that is a
/// multiple of it or the whole row. Throws Error, naming `where`: kUnsupported for columns that are spread over groups
/// (desc_act) and for scales that f16 does not hold exactly, kCorrupt for scales that are not finite.
Tensor RepackInt4(const PackedInt4Scheme& scheme, const PackedInt4& packed, std::string_view where);

}  // namespace edgellm
