// What the bytes of a GGUF tensor's rows mean, block by block, and how they become rows of our formats. One row at a
// time; knows neither files nor names. Layouts: ggml's block types (ggml-common.h); each function states the one it
// reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "convert/gguf.h"
#include "quant/weight_format.h"

namespace edgellm {

/// A row as floats. out.size() is a multiple of the type's block.
void DecodeGgufRow(GgufTensorType type, const std::byte* row, std::span<float> out);

/// The format that a matrix of this type is brought to, and whether that keeps every value.
struct GgufTarget {
  WeightFormat format;
  bool is_exact;
};
GgufTarget TargetOfGguf(GgufTensorType type);

/// Writes one row in the target's format; the pointers are that row's part of each (zeroed) plane. A scale that is no
/// number stays one, and a ternary code that is none stays invalid: ValidateCodes refuses them afterwards.
void RepackGgufRow(GgufTensorType type, const std::byte* row, int64_t cols, std::byte* codes, std::byte* scales,
                   std::byte* zeros);

}  // namespace edgellm
