// See gguf_blocks.h. A block is read as ggml lays it out; d and dmin are f16.
#include "convert/gguf_blocks.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "quant/codec.h"
#include "quant/float_formats.h"
#include "quant/int4.h"
#include "quant/planes.h"
#include "quant/ternary.h"

namespace edgellm {
namespace {

constexpr size_t kSmallBlock = 32, kSuperBlock = 256;
constexpr WeightFormat kInt4WithZero = {WeightKind::kInt4, 32, true};
constexpr WeightFormat kInt8 = {WeightKind::kInt8, 32, false};
constexpr uint16_t kHalfNan = 0x7e00;

unsigned Byte(const std::byte* block, size_t index) {
  return static_cast<unsigned>(block[index]);
}
float Half(const std::byte* block, size_t offset) {
  return F16ToFloat(LoadAt<uint16_t>(block + offset, 0));
}

/// Codes and parameters of one block, before they are multiplied.
using Codes = std::array<uint8_t, kSuperBlock>;

/// Q4_0: d, 16 bytes; value i is the low half of byte i, value 16 + i the high half; w = d * (code - 8).
void ReadQ4_0(const std::byte* block, std::span<uint8_t, kSmallBlock> codes) {
  for (size_t i = 0; i < 16; ++i) {
    codes[i] = static_cast<uint8_t>(Byte(block, 2 + i) & 15u);
    codes[i + 16] = static_cast<uint8_t>(Byte(block, 2 + i) >> 4);
  }
}

/// The 6-bit scale and minimum of part `j` (of 8) of a Q4_K or Q5_K block, packed in 12 bytes: parts 0-3 in the low six
/// bits of bytes j and j + 4; parts 4-7 in the halves of byte j + 4 and the top bits of bytes j - 4 and j.
struct ScaleAndMinimum {
  float scale, minimum;
};
ScaleAndMinimum UnpackScale(const std::byte* packed, size_t j) {
  if (j < 4) return {static_cast<float>(Byte(packed, j) & 63u), static_cast<float>(Byte(packed, j + 4) & 63u)};
  return {static_cast<float>((Byte(packed, j + 4) & 15u) | Byte(packed, j - 4) >> 6 << 4),
          static_cast<float>(Byte(packed, j + 4) >> 4 | Byte(packed, j) >> 6 << 4)};
}

/// Q4_K: d, dmin, 12 bytes of scales, 128 bytes; chunk c of 64 values is 32 bytes, low halves first; w = d*sc*code -
/// dmin*m.
void ReadQ4_K(const std::byte* block, Codes& codes) {
  for (size_t i = 0; i < kSuperBlock; ++i) {
    const unsigned byte = Byte(block, 16 + i / 64 * 32 + i % 32);
    codes[i] = static_cast<uint8_t>(i % 64 < 32 ? byte & 15u : byte >> 4);
  }
}

/// Q5_K: as Q4_K with 32 bytes between scales and codes, whose bit j is the fifth bit of part j.
void ReadQ5_K(const std::byte* block, Codes& codes) {
  for (size_t i = 0; i < kSuperBlock; ++i) {
    const unsigned byte = Byte(block, 48 + i / 64 * 32 + i % 32);
    const unsigned high = Byte(block, 16 + i % 32) >> (i / 32) & 1u;
    codes[i] = static_cast<uint8_t>((i % 64 < 32 ? byte & 15u : byte >> 4) | high << 4);
  }
}

/// Q6_K: 128 bytes of low halves, 64 bytes of two high bits, 16 signed scales, d; w = d * scale[i / 16] * (code - 32).
/// Each half of 128 values is 64 bytes of low bits (bytes 0-31 hold values 0-31 and 64-95, bytes 32-63 the others).
void ReadQ6_K(const std::byte* block, Codes& codes) {
  for (size_t i = 0; i < kSuperBlock; ++i) {
    const size_t half = i / 128, part = i % 128 / 32, within = i % 32;
    const unsigned byte = Byte(block, half * 64 + part % 2 * 32 + within);
    const unsigned low = part < 2 ? byte & 15u : byte >> 4;
    const unsigned high = Byte(block, 128 + half * 32 + within) >> (2 * part) & 3u;
    codes[i] = static_cast<uint8_t>(low | high << 4);
  }
}

/// TQ1_0: five ternary digits a byte, as a fraction of 243 scaled to 256 so that multiplying by 3 pushes out the next
/// one. 32 bytes hold values 0-159 (digit n of byte m is value 32n + m), 16 bytes 160-239, 4 bytes (four digits each)
/// 240-255; d.
void ReadTQ1_0(const std::byte* block, Codes& codes) {
  static constexpr std::array<unsigned, 5> kPowers = {1, 3, 9, 27, 81};
  const auto read = [&](size_t first_byte, size_t bytes, size_t digits, size_t first_value) {
    for (size_t n = 0; n < digits; ++n) {
      for (size_t m = 0; m < bytes; ++m) {
        const unsigned rest = Byte(block, first_byte + m) * kPowers[n] & 255u;
        codes[first_value + n * bytes + m] = static_cast<uint8_t>(rest * 3 >> 8);
      }
    }
  };
  read(0, 32, 5, 0);
  read(32, 16, 5, 160);
  read(48, 4, 4, 240);
}

/// TQ2_0: two bits a code; bits 2n of byte m (of 32) are value 32n + m of each half; d.
void ReadTQ2_0(const std::byte* block, Codes& codes) {
  for (size_t i = 0; i < kSuperBlock; ++i) {
    codes[i] = static_cast<uint8_t>(Byte(block, i / 128 * 32 + i % 32) >> (2 * (i % 128 / 32)) & 3u);
  }
}

constexpr size_t kTQ1_0Scale = 52, kTQ2_0Scale = 64, kQ6_KScales = 192, kQ6_KScale = 208;

void DecodeQ8_0(const std::byte* block, float* out) {
  const float d = Half(block, 0);
  for (size_t i = 0; i < kSmallBlock; ++i) out[i] = d * static_cast<float>(static_cast<int8_t>(block[2 + i]));
}

void DecodeQ4_0(const std::byte* block, float* out) {
  std::array<uint8_t, kSmallBlock> codes;
  ReadQ4_0(block, codes);
  const float d = Half(block, 0);
  for (size_t i = 0; i < kSmallBlock; ++i) out[i] = d * (static_cast<float>(codes[i]) - 8.0f);
}

template <typename Read>
void DecodeWithMinimum(const std::byte* block, float* out, const Read& read) {
  Codes codes;
  read(block, codes);
  const float d = Half(block, 0), dmin = Half(block, 2);
  for (size_t j = 0; j < 8; ++j) {
    const auto [scale, minimum] = UnpackScale(block + 4, j);
    const float step = d * scale, offset = dmin * minimum;
    for (size_t i = j * 32; i < j * 32 + 32; ++i) out[i] = step * static_cast<float>(codes[i]) - offset;
  }
}

void DecodeQ6_K(const std::byte* block, float* out) {
  Codes codes;
  ReadQ6_K(block, codes);
  const float d = Half(block, kQ6_KScale);
  for (size_t j = 0; j < 16; ++j) {
    const float step = d * static_cast<float>(static_cast<int8_t>(block[kQ6_KScales + j]));
    for (size_t i = j * 16; i < j * 16 + 16; ++i) out[i] = step * (static_cast<float>(codes[i]) - 32.0f);
  }
}

template <typename Read>
void DecodeTernary(const std::byte* block, size_t scale_offset, float* out, const Read& read) {
  Codes codes;
  read(block, codes);
  const float d = Half(block, scale_offset);
  for (size_t i = 0; i < kSuperBlock; ++i) out[i] = d * (static_cast<float>(codes[i]) - 1.0f);
}

void DecodeBlock(GgufTensorType type, const std::byte* block, float* out) {
  switch (type) {
    case GgufTensorType::kQ8_0:
      return DecodeQ8_0(block, out);
    case GgufTensorType::kQ4_0:
      return DecodeQ4_0(block, out);
    case GgufTensorType::kQ4_K:
      return DecodeWithMinimum(block, out, ReadQ4_K);
    case GgufTensorType::kQ5_K:
      return DecodeWithMinimum(block, out, ReadQ5_K);
    case GgufTensorType::kQ6_K:
      return DecodeQ6_K(block, out);
    case GgufTensorType::kTQ1_0:
      return DecodeTernary(block, kTQ1_0Scale, out, ReadTQ1_0);
    case GgufTensorType::kTQ2_0:
      return DecodeTernary(block, kTQ2_0Scale, out, ReadTQ2_0);
    case GgufTensorType::kF32:
    case GgufTensorType::kF16:
    case GgufTensorType::kBf16:
      break;
  }
}

/// One Q4_K block as eight groups of int4 with zero point. scale = f16(d*sc), zero = f16(dmin*m / (d*sc)) keep the
/// codes; where that scale is zero or subnormal, or the zero beyond what f16 holds to a fraction of a code, the group
/// is rounded anew.
void RepackQ4_K(const std::byte* block, std::byte* codes, std::byte* scales, std::byte* zeros) {
  constexpr float kLeastScale = 0x1p-14f, kMostZero = 64.0f;
  Codes packed;
  ReadQ4_K(block, packed);
  const float d = Half(block, 0), dmin = Half(block, 2);
  for (size_t j = 0; j < 8; ++j) {
    const auto [part_scale, minimum] = UnpackScale(block + 4, j);
    const float scale = d * part_scale, zero = dmin * minimum / scale;
    const auto index = static_cast<int64_t>(j);
    if (!std::isfinite(d) || !std::isfinite(dmin)) {
      StoreAt(scales, index, kHalfNan);
    } else if (std::fabs(scale) >= kLeastScale && std::fabs(scale) <= kLargestHalf && std::fabs(zero) <= kMostZero) {
      StoreAt(scales, index, FloatToF16(scale));
      StoreAt(zeros, index, FloatToF16(zero));
      int4::Pack({packed.data() + j * 32, 32}, codes + j * 16);
    } else {
      std::array<float, 32> values;
      for (size_t i = 0; i < 32; ++i) {
        values[i] = scale * static_cast<float>(packed[j * 32 + i]) - dmin * minimum;
      }
      EncodeRow(kInt4WithZero, values, codes + j * 16, scales + j * 2, zeros + j * 2);
    }
  }
}

/// A block of floats to the nearest int8; a float that is no number makes its group's scale one.
void RepackAsInt8(GgufTensorType type, const std::byte* block, std::byte* codes, std::byte* scales) {
  std::array<float, kSuperBlock> values;
  DecodeBlock(type, block, values.data());
  EncodeRow(kInt8, values, codes, scales, nullptr);
  for (size_t i = 0; i < kSuperBlock; ++i) {
    if (!std::isfinite(values[i])) StoreAt(scales, static_cast<int64_t>(i / 32), kHalfNan);
  }
}

template <typename Read>
void RepackTernary(const std::byte* block, size_t scale_offset, std::byte* codes, std::byte* scales, const Read& read) {
  Codes packed;
  read(block, packed);
  for (size_t i = 0; i < kSuperBlock; ++i) {
    ternary::SetCode(codes, static_cast<int64_t>(i), static_cast<int>(packed[i]) - 1);
  }
  StoreAt(scales, 0, Half(block, scale_offset));
}

void RepackBlock(GgufTensorType type, const std::byte* block, std::byte* codes, std::byte* scales, std::byte* zeros) {
  switch (type) {
    case GgufTensorType::kQ8_0:
      std::copy_n(block, 2, scales);
      std::copy_n(block + 2, kSmallBlock, codes);
      return;
    case GgufTensorType::kQ4_0: {
      std::array<uint8_t, kSmallBlock> packed;
      ReadQ4_0(block, packed);
      std::copy_n(block, 2, scales);
      return int4::Pack(packed, codes);
    }
    case GgufTensorType::kQ4_K:
      return RepackQ4_K(block, codes, scales, zeros);
    case GgufTensorType::kQ5_K:
    case GgufTensorType::kQ6_K:
      return RepackAsInt8(type, block, codes, scales);
    case GgufTensorType::kTQ1_0:
      return RepackTernary(block, kTQ1_0Scale, codes, scales, ReadTQ1_0);
    case GgufTensorType::kTQ2_0:
      return RepackTernary(block, kTQ2_0Scale, codes, scales, ReadTQ2_0);
    case GgufTensorType::kF32:
    case GgufTensorType::kF16:
    case GgufTensorType::kBf16:
      break;
  }
}

}  // namespace

void DecodeGgufRow(GgufTensorType type, const std::byte* row, std::span<float> out) {
  switch (type) {
    case GgufTensorType::kF32:
      return float_formats::Decode<float_formats::F32>(row, out);
    case GgufTensorType::kF16:
      return float_formats::Decode<float_formats::F16>(row, out);
    case GgufTensorType::kBf16:
      return float_formats::Decode<float_formats::Bf16>(row, out);
    default:
      break;
  }
  const GgufTensorTraits& traits = GgufTraits(type);
  const auto values = static_cast<size_t>(traits.block_values), bytes = static_cast<size_t>(traits.block_bytes);
  for (size_t i = 0; i < out.size() / values; ++i) DecodeBlock(type, row + i * bytes, out.data() + i * values);
}

GgufTarget TargetOfGguf(GgufTensorType type) {
  switch (type) {
    case GgufTensorType::kF32:
      return {{WeightKind::kF32, 0, false}, true};
    case GgufTensorType::kF16:
      return {{WeightKind::kF16, 0, false}, true};
    case GgufTensorType::kBf16:
      return {{WeightKind::kBf16, 0, false}, true};
    case GgufTensorType::kQ8_0:
      return {kInt8, true};
    case GgufTensorType::kQ4_0:
      return {{WeightKind::kInt4, 32, false}, true};
    case GgufTensorType::kQ4_K:
      return {kInt4WithZero, false};
    case GgufTensorType::kQ5_K:
    case GgufTensorType::kQ6_K:
      return {kInt8, false};
    case GgufTensorType::kTQ1_0:
    case GgufTensorType::kTQ2_0:
      return {{WeightKind::kTernary, 256, false}, true};
  }
  return {};
}

void RepackGgufRow(GgufTensorType type, const std::byte* row, int64_t cols, std::byte* codes, std::byte* scales,
                   std::byte* zeros) {
  const GgufTensorTraits& traits = GgufTraits(type);
  const WeightFormat format = TargetOfGguf(type).format;
  if (format.is_float()) {
    std::copy_n(row, format.RowBytes(cols), codes);
    return;
  }
  const size_t code_bytes = format.RowBytes(traits.block_values);
  const size_t scale_bytes = static_cast<size_t>(format.Groups(traits.block_values)) * format.ScaleBytes();
  for (int64_t i = 0; i < cols / traits.block_values; ++i) {
    const auto block = static_cast<size_t>(i);
    RepackBlock(type, row + block * static_cast<size_t>(traits.block_bytes), codes + block * code_bytes,
                scales + block * scale_bytes, zeros == nullptr ? nullptr : zeros + block * scale_bytes);
  }
}

}  // namespace edgellm
