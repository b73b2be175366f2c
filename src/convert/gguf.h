// The GGUF container, versions 2 and 3, little-endian: metadata and where the tensors lie. Everything that the file
// claims is checked against its length before it is believed. Knows no model; what tensor bytes mean stands in
// gguf_blocks.h. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace edgellm {

/// Types of metadata values, as the file numbers them.
enum class GgufValueType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

/// Elements of an array: one of `numbers` (as they lie in the file), `strings`, `arrays` is filled, by `type`.
struct GgufArray {
  GgufValueType type = GgufValueType::kUint8;
  uint64_t count = 0;
  std::span<const std::byte> numbers;
  std::vector<std::string_view> strings;
  std::vector<GgufArray> arrays;
};

using GgufValue = std::variant<uint64_t, int64_t, double, bool, std::string_view, GgufArray>;

/// How tensors are stored, as the file numbers it. Types that no weight is read from are known to gguf.cc by name only.
enum class GgufTensorType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ8_0 = 8,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kBf16 = 30,
  kTQ1_0 = 34,
  kTQ2_0 = 35,
};

struct GgufTensorTraits {
  GgufTensorType type;
  std::string_view name;
  int block_values, block_bytes;  // a row is whole blocks; 0 and 0 for types that are not read
};

/// Null for a number that no known type has.
const GgufTensorTraits* FindGgufTraits(uint32_t type);
/// Of a type that is read.
const GgufTensorTraits& GgufTraits(GgufTensorType type);

struct GgufTensor {
  const GgufTensorTraits* traits = nullptr;  // of a type that is read: others are refused
  int64_t rows = 1, cols = 1;                // dimensions[1] and dimensions[0] of the file
  bool is_vector = false;                    // one dimension
  std::span<const std::byte> bytes;          // rows * cols / block_values * block_bytes
};

/// Refers to the bytes it was parsed from.
struct GgufFile {
  std::string name;  // usually the path; opens every error text
  uint32_t version = 0;
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::map<std::string, GgufTensor, std::less<>> tensors;

  const GgufValue* Find(std::string_view key) const;
  // Typed access: nothing where the key is absent, Error(kCorrupt) where the value is of another kind or out of range.
  std::optional<int64_t> Integer(std::string_view key, int64_t least, int64_t most) const;
  std::optional<double> Number(std::string_view key) const;
  std::optional<bool> Boolean(std::string_view key) const;
  std::optional<std::string_view> Text(std::string_view key) const;
  const std::vector<std::string_view>* Texts(std::string_view key) const;  // null where absent
  std::vector<int64_t> Integers(std::string_view key) const;               // empty where absent
  std::vector<float> Floats(std::string_view key) const;
};

/// One file, which may be a part of a split model (gguf_parts.h joins those). Throws Error: kCorrupt (damaged),
/// kUnsupported (another version, byte order, a tensor type that is not read), always in one line that opens with
/// `name`.
GgufFile ParseGguf(std::span<const std::byte> bytes, std::string_view name);

/// The bytes at which a GGUF file starts each tensor unless its metadata says otherwise.
inline constexpr uint64_t kGgufAlignment = 32;
inline constexpr std::string_view kGgufMagic = "GGUF";

}  // namespace edgellm
