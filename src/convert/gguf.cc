// See gguf.h.
#include "convert/gguf.h"

#include <array>
#include <bit>
#include <cmath>

#include "base/byte_reader.h"
#include "model/json_fields.h"

namespace edgellm {
namespace {

using Type = GgufTensorType;

// Every type that ggml has given a number, so that an error can name what it refuses.
constexpr std::array<GgufTensorTraits, 39> kTensorTypes = {{
    {Type::kF32, "F32", 1, 4},        {Type::kF16, "F16", 1, 2},       {Type::kQ4_0, "Q4_0", 32, 18},
    {Type::kQ8_0, "Q8_0", 32, 34},    {Type::kQ4_K, "Q4_K", 256, 144}, {Type::kQ5_K, "Q5_K", 256, 176},
    {Type::kQ6_K, "Q6_K", 256, 210},  {Type::kBf16, "BF16", 1, 2},     {Type::kTQ1_0, "TQ1_0", 256, 54},
    {Type::kTQ2_0, "TQ2_0", 256, 66}, {Type{3}, "Q4_1", 0, 0},         {Type{4}, "Q4_2", 0, 0},
    {Type{5}, "Q4_3", 0, 0},          {Type{6}, "Q5_0", 0, 0},         {Type{7}, "Q5_1", 0, 0},
    {Type{9}, "Q8_1", 0, 0},          {Type{10}, "Q2_K", 0, 0},        {Type{11}, "Q3_K", 0, 0},
    {Type{15}, "Q8_K", 0, 0},         {Type{16}, "IQ2_XXS", 0, 0},     {Type{17}, "IQ2_XS", 0, 0},
    {Type{18}, "IQ3_XXS", 0, 0},      {Type{19}, "IQ1_S", 0, 0},       {Type{20}, "IQ4_NL", 0, 0},
    {Type{21}, "IQ3_S", 0, 0},        {Type{22}, "IQ2_S", 0, 0},       {Type{23}, "IQ4_XS", 0, 0},
    {Type{24}, "I8", 0, 0},           {Type{25}, "I16", 0, 0},         {Type{26}, "I32", 0, 0},
    {Type{27}, "I64", 0, 0},          {Type{28}, "F64", 0, 0},         {Type{29}, "IQ1_M", 0, 0},
    {Type{31}, "Q4_0_4_4", 0, 0},     {Type{32}, "Q4_0_4_8", 0, 0},    {Type{33}, "Q4_0_8_8", 0, 0},
    {Type{36}, "I2_S", 0, 0},         {Type{39}, "MXFP4", 0, 0},       {Type{40}, "NVFP4", 0, 0},
}};

// Deeper arrays than any writer makes; bounds the recursion.
constexpr int kMaxArrayDepth = 8;
// The fewest bytes that one entry can take, for refusing counts that the rest of the file cannot hold.
constexpr uint64_t kLeastPairBytes = 8 + 4 + 1, kLeastTensorBytes = 8 + 4 + 8 + 4 + 8, kLeastStringBytes = 8,
                   kLeastArrayBytes = 4 + 8;
constexpr uint32_t kMostDimensions = 4;

size_t SizeOf(GgufValueType type) {
  switch (type) {
    case GgufValueType::kUint8:
    case GgufValueType::kInt8:
    case GgufValueType::kBool:
      return 1;
    case GgufValueType::kUint16:
    case GgufValueType::kInt16:
      return 2;
    case GgufValueType::kUint32:
    case GgufValueType::kInt32:
    case GgufValueType::kFloat32:
      return 4;
    case GgufValueType::kUint64:
    case GgufValueType::kInt64:
    case GgufValueType::kFloat64:
      return 8;
    case GgufValueType::kString:
    case GgufValueType::kArray:
      break;
  }
  return 0;
}

/// One number as a value of the widest type of its kind.
GgufValue ReadNumber(ByteReader& reader, GgufValueType type, std::string_view field) {
  switch (type) {
    case GgufValueType::kUint8:
      return uint64_t{reader.Read<uint8_t>(field)};
    case GgufValueType::kInt8:
      return int64_t{reader.Read<int8_t>(field)};
    case GgufValueType::kUint16:
      return uint64_t{reader.Read<uint16_t>(field)};
    case GgufValueType::kInt16:
      return int64_t{reader.Read<int16_t>(field)};
    case GgufValueType::kUint32:
      return uint64_t{reader.Read<uint32_t>(field)};
    case GgufValueType::kInt32:
      return int64_t{reader.Read<int32_t>(field)};
    case GgufValueType::kFloat32:
      return double{reader.Read<float>(field)};
    case GgufValueType::kBool:
      return reader.Read<uint8_t>(field) != 0;
    case GgufValueType::kUint64:
      return reader.Read<uint64_t>(field);
    case GgufValueType::kInt64:
      return reader.Read<int64_t>(field);
    case GgufValueType::kFloat64:
      return reader.Read<double>(field);
    case GgufValueType::kString:
    case GgufValueType::kArray:
      break;
  }
  Fail(ErrorCode::kCorrupt, "{}: {} is not a number", reader.name(), field);
}

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, std::string_view name) : reader_(bytes, std::string(name)), bytes_(bytes) {
    file_.name = name;
  }

  GgufFile Run() {
    if (reader_.remaining() < kGgufMagic.size() || reader_.TakeText(kGgufMagic.size(), "magic") != kGgufMagic) {
      Fail(ErrorCode::kCorrupt, "{}: not a GGUF file", file_.name);
    }
    ReadVersion();
    const uint64_t tensors = ReadCount("tensor count", kLeastTensorBytes);
    const uint64_t pairs = ReadCount("metadata count", kLeastPairBytes);
    for (uint64_t i = 0; i < pairs; ++i) ReadPair();
    const uint64_t alignment = ReadAlignment();
    struct Place {
      std::string name;
      uint64_t offset;
    };
    std::vector<Place> places;
    for (uint64_t i = 0; i < tensors; ++i) {
      std::string name(ReadText("a tensor's name"));
      const uint64_t offset = ReadTensor(name);
      places.push_back({std::move(name), offset});
    }
    if (places.empty()) return std::move(file_);
    const uint64_t start = (reader_.position() + alignment - 1) / alignment * alignment;
    for (const Place& place : places) PlaceTensor(place.name, start, place.offset, alignment);
    return std::move(file_);
  }

 private:
  void ReadVersion() {
    file_.version = reader_.Read<uint32_t>("version");
    if (file_.version == 2 || file_.version == 3) return;
    if ((file_.version & 0xffffu) == 0) {
      Fail(ErrorCode::kUnsupported, "{}: a big-endian GGUF file; only little-endian ones are read", file_.name);
    }
    Fail(ErrorCode::kUnsupported, "{}: GGUF version {} is not supported (supported: 2, 3)", file_.name, file_.version);
  }

  /// A count of things of which each takes at least `least_bytes` of what is left.
  uint64_t ReadCount(std::string_view field, uint64_t least_bytes) {
    const auto count = reader_.Read<uint64_t>(field);
    if (count > reader_.remaining() / least_bytes) {
      Fail(ErrorCode::kCorrupt, "{}: {} is {}, more than the rest of the file holds", file_.name, field, count);
    }
    return count;
  }

  std::string_view ReadText(std::string_view field) {
    const auto length = reader_.Read<uint64_t>(field);
    if (length > reader_.remaining()) {
      Fail(ErrorCode::kCorrupt, "{}: {} has {} bytes, but the file only {} more", file_.name, field, length,
           reader_.remaining());
    }
    return reader_.TakeText(length, field);
  }

  void ReadPair() {
    const std::string key(ReadText("a metadata key"));
    const std::string field = "metadata " + OneLine(key);
    const GgufValueType type = ReadType(field);
    GgufValue value;
    if (type == GgufValueType::kString) {
      value = ReadText(field);
    } else if (type == GgufValueType::kArray) {
      value = ReadArray(field, 1);
    } else {
      value = ReadNumber(reader_, type, field);
    }
    if (!file_.metadata.emplace(key, std::move(value)).second) {
      Fail(ErrorCode::kCorrupt, "{}: {} is there twice", file_.name, field);
    }
  }

  GgufValueType ReadType(std::string_view field) {
    const auto type = reader_.Read<uint32_t>(field);
    if (type > static_cast<uint32_t>(GgufValueType::kFloat64)) {
      Fail(ErrorCode::kCorrupt, "{}: {} has the unknown value type {}", file_.name, field, type);
    }
    return static_cast<GgufValueType>(type);
  }

  GgufArray ReadArray(std::string_view field, int depth) {
    if (depth > kMaxArrayDepth) {
      Fail(ErrorCode::kCorrupt, "{}: {} nests arrays deeper than {}", file_.name, field, kMaxArrayDepth);
    }
    GgufArray array;
    array.type = ReadType(field);
    const size_t size = SizeOf(array.type);
    if (size != 0) {
      array.count = ReadCount(field, size);
      array.numbers = reader_.Take(array.count * size, field);
    } else if (array.type == GgufValueType::kString) {
      array.count = ReadCount(field, kLeastStringBytes);
      array.strings.reserve(array.count);
      for (uint64_t i = 0; i < array.count; ++i) array.strings.push_back(ReadText(field));
    } else {
      array.count = ReadCount(field, kLeastArrayBytes);
      for (uint64_t i = 0; i < array.count; ++i) array.arrays.push_back(ReadArray(field, depth + 1));
    }
    return array;
  }

  uint64_t ReadAlignment() {
    const auto alignment = file_.Integer("general.alignment", 1, 1 << 20).value_or(kGgufAlignment);
    if (!std::has_single_bit(static_cast<uint64_t>(alignment)) || alignment < 8) {
      Fail(ErrorCode::kCorrupt, "{}: general.alignment is {}, not a power of two of at least 8", file_.name, alignment);
    }
    return static_cast<uint64_t>(alignment);
  }

  /// All of a tensor but its bytes; returns their offset.
  uint64_t ReadTensor(const std::string& name) {
    const std::string field = "tensor " + OneLine(name);
    const auto dimensions = reader_.Read<uint32_t>(field);
    if (dimensions == 0 || dimensions > kMostDimensions) {
      Fail(ErrorCode::kCorrupt, "{}: {} has {} dimensions, not 1 to {}", file_.name, field, dimensions,
           kMostDimensions);
    }
    GgufTensor tensor;
    tensor.is_vector = dimensions == 1;
    uint64_t values = 1;
    for (uint32_t i = 0; i < dimensions; ++i) {
      const auto size = reader_.Read<uint64_t>(field);
      // 2^48 values are more than any file holds, and leave room for the product with a block's bytes.
      if (size == 0 || size > (uint64_t{1} << 48) / values) {
        Fail(ErrorCode::kCorrupt, "{}: {} has an impossible shape", file_.name, field);
      }
      values *= size;
      (i == 0 ? tensor.cols : tensor.rows) *= static_cast<int64_t>(size);
    }
    if (dimensions > 2 && tensor.rows > 1) {
      Fail(ErrorCode::kUnsupported, "{}: {} has {} dimensions; only matrices are read", file_.name, field, dimensions);
    }
    const auto type = reader_.Read<uint32_t>(field);
    tensor.traits = FindGgufTraits(type);
    if (tensor.traits == nullptr) {
      Fail(ErrorCode::kUnsupported, "{}: {} is of the unknown type {}", file_.name, field, type);
    }
    if (tensor.traits->block_values == 0) {
      Fail(ErrorCode::kUnsupported,
           "{}: {} is of type {} (supported: F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K, Q6_K, TQ1_0, TQ2_0)", file_.name,
           field, tensor.traits->name);
    }
    if (tensor.cols % tensor.traits->block_values != 0) {
      Fail(ErrorCode::kCorrupt, "{}: {} has rows of {} values, not whole {} blocks of {}", file_.name, field,
           tensor.cols, tensor.traits->name, tensor.traits->block_values);
    }
    const auto offset = reader_.Read<uint64_t>(field);
    if (!file_.tensors.emplace(name, tensor).second) {
      Fail(ErrorCode::kCorrupt, "{}: {} is there twice", file_.name, field);
    }
    return offset;
  }

  void PlaceTensor(const std::string& name, uint64_t start, uint64_t offset, uint64_t alignment) {
    GgufTensor& tensor = file_.tensors.find(name)->second;
    const uint64_t blocks =
        static_cast<uint64_t>(tensor.rows) * static_cast<uint64_t>(tensor.cols / tensor.traits->block_values);
    const uint64_t size = blocks * static_cast<uint64_t>(tensor.traits->block_bytes);
    if (offset % alignment != 0) {
      Fail(ErrorCode::kCorrupt, "{}: tensor {} lies at offset {}, not a multiple of {}", file_.name, OneLine(name),
           offset, alignment);
    }
    if (start > bytes_.size() || offset > bytes_.size() - start || size > bytes_.size() - start - offset) {
      Fail(ErrorCode::kCorrupt, "{}: tensor {} ({} bytes at offset {}) lies beyond the end of the file", file_.name,
           OneLine(name), size, offset);
    }
    tensor.bytes = bytes_.subspan(start + offset, size);
  }

  ByteReader reader_;
  std::span<const std::byte> bytes_;
  GgufFile file_;
};

[[noreturn]] void FailKind(const GgufFile& file, std::string_view key, std::string_view wanted) {
  Fail(ErrorCode::kCorrupt, "{}: metadata {} is not {}", file.name, OneLine(key), wanted);
}

/// Calls `body` with each element of a numeric array; nothing where the key is absent.
template <typename Body>
void ForNumbers(const GgufFile& file, std::string_view key, const Body& body) {
  const GgufValue* value = file.Find(key);
  if (value == nullptr) return;
  const auto* array = std::get_if<GgufArray>(value);
  if (array == nullptr || SizeOf(array->type) == 0) FailKind(file, key, "an array of numbers");
  ByteReader reader(array->numbers, file.name);
  for (uint64_t i = 0; i < array->count; ++i) body(ReadNumber(reader, array->type, key));
}

std::optional<int64_t> ToInteger(const GgufValue& value) {
  if (const auto* number = std::get_if<int64_t>(&value)) return *number;
  const auto* number = std::get_if<uint64_t>(&value);
  if (number == nullptr || *number > INT64_MAX) return {};
  return static_cast<int64_t>(*number);
}

}  // namespace

const GgufTensorTraits* FindGgufTraits(uint32_t type) {
  for (const GgufTensorTraits& traits : kTensorTypes) {
    if (static_cast<uint32_t>(traits.type) == type) return &traits;
  }
  return nullptr;
}

const GgufTensorTraits& GgufTraits(GgufTensorType type) {
  const GgufTensorTraits* traits = FindGgufTraits(static_cast<uint32_t>(type));
  EDGELLM_CHECK(traits != nullptr && traits->block_values != 0, "a named type is in the table");
  return *traits;
}

const GgufValue* GgufFile::Find(std::string_view key) const {
  const auto found = metadata.find(key);
  return found == metadata.end() ? nullptr : &found->second;
}

std::optional<int64_t> GgufFile::Integer(std::string_view key, int64_t least, int64_t most) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return {};
  const auto number = ToInteger(*value);
  if (!number) FailKind(*this, key, "a whole number");
  if (*number < least || *number > most) {
    Fail(ErrorCode::kCorrupt, "{}: metadata {} is {}, not from {} to {}", name, OneLine(key), *number, least, most);
  }
  return number;
}

std::optional<double> GgufFile::Number(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return {};
  if (const auto integer = ToInteger(*value)) return static_cast<double>(*integer);
  const auto* number = std::get_if<double>(value);
  if (number == nullptr || !std::isfinite(*number)) FailKind(*this, key, "a finite number");
  return *number;
}

std::optional<bool> GgufFile::Boolean(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return {};
  const auto* flag = std::get_if<bool>(value);
  if (flag == nullptr) FailKind(*this, key, "true or false");
  return *flag;
}

std::optional<std::string_view> GgufFile::Text(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return {};
  const auto* text = std::get_if<std::string_view>(value);
  if (text == nullptr) FailKind(*this, key, "a text");
  return *text;
}

const std::vector<std::string_view>* GgufFile::Texts(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return nullptr;
  const auto* array = std::get_if<GgufArray>(value);
  if (array == nullptr || array->type != GgufValueType::kString) FailKind(*this, key, "an array of texts");
  return &array->strings;
}

std::vector<int64_t> GgufFile::Integers(std::string_view key) const {
  std::vector<int64_t> numbers;
  ForNumbers(*this, key, [&](const GgufValue& value) {
    const auto number = ToInteger(value);
    if (!number) FailKind(*this, key, "an array of whole numbers");
    numbers.push_back(*number);
  });
  return numbers;
}

std::vector<float> GgufFile::Floats(std::string_view key) const {
  std::vector<float> numbers;
  ForNumbers(*this, key, [&](const GgufValue& value) {
    const auto* number = std::get_if<double>(&value);
    if (number == nullptr) FailKind(*this, key, "an array of floats");
    numbers.push_back(static_cast<float>(*number));
  });
  return numbers;
}

GgufFile ParseGguf(std::span<const std::byte> bytes, std::string_view name) {
  return Parser(bytes, name).Run();
}

}  // namespace edgellm
