// See safetensors.h.
#include "model/safetensors.h"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "base/byte_reader.h"
#include "base/error.h"
#include "model/json_fields.h"

namespace edgellm {
namespace {

constexpr size_t kLengthBytes = 8;
// The limit of the reference implementation.
constexpr uint64_t kMaxHeader = 100'000'000;
constexpr size_t kAlignment = 64;
constexpr std::string_view kMetadataKey = "__metadata__";
constexpr JsonLimits kHeaderLimits = {.max_values = 2'000'000, .max_depth = 4, .unique_keys = true};

constexpr std::array<std::pair<std::string_view, int>, 20> kElementBits = {
    {{"F64", 64},    {"I64", 64},    {"U64", 64},    {"C64", 64},    {"F32", 32},    {"I32", 32}, {"U32", 32},
     {"F16", 16},    {"BF16", 16},   {"I16", 16},    {"U16", 16},    {"I8", 8},      {"U8", 8},   {"BOOL", 8},
     {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4}}};

/// 0 for a name that the format does not have.
int ElementBits(std::string_view dtype) {
  for (const auto& [name, bits] : kElementBits) {
    if (name == dtype) return bits;
  }
  return 0;
}

/// Bytes of a tensor, or nothing where the product overflows or ends inside a byte.
std::optional<uint64_t> ByteSize(const std::vector<int64_t>& shape, int element_bits) {
  uint64_t bits = static_cast<uint64_t>(element_bits);
  for (const int64_t dimension : shape) {
    if (__builtin_mul_overflow(bits, static_cast<uint64_t>(dimension), &bits)) return {};
  }
  if (bits % 8 != 0) return {};
  return bits / 8;
}

/// One header entry to a checked SafetensorsEntry.
class EntryReader {
 public:
  EntryReader(std::string_view file, const std::string& tensor, std::span<const std::byte> data)
      : file_(file), tensor_(tensor), data_(data) {}

  SafetensorsEntry Read(const nlohmann::json& json) const {
    if (!json.is_object() || json.size() != 3 || !json.contains("dtype") || !json.contains("shape") ||
        !json.contains("data_offsets")) {
      Corrupt("its header entry must have dtype, shape and data_offsets, and nothing else");
    }
    SafetensorsEntry entry;
    if (!json["dtype"].is_string()) Corrupt("dtype is not a string");
    entry.dtype = json["dtype"].get<std::string>();
    const int bits = ElementBits(entry.dtype);
    if (bits == 0) Corrupt(fmt::format("dtype '{}' is not known", OneLine(entry.dtype)));
    for (const uint64_t dimension : Numbers(json["shape"], "shape")) {
      entry.shape.push_back(static_cast<int64_t>(dimension));
    }
    const auto offsets = Numbers(json["data_offsets"], "data_offsets");
    if (offsets.size() != 2 || offsets[0] > offsets[1]) Corrupt("data_offsets are not a begin and an end");
    if (offsets[1] > data_.size()) {
      Corrupt(
          fmt::format("its data ends at byte {} of {}: the file is cut short or damaged", offsets[1], data_.size()));
    }
    const auto size = ByteSize(entry.shape, bits);
    if (!size) Corrupt("the size that its shape gives is not a whole number of bytes below 2^61");
    if (*size != offsets[1] - offsets[0]) {
      Corrupt(fmt::format("its shape needs {} bytes, its data_offsets give {}", *size, offsets[1] - offsets[0]));
    }
    entry.bytes = data_.subspan(offsets[0], *size);
    return entry;
  }

 private:
  [[noreturn]] void Corrupt(std::string_view cause) const {
    Fail(ErrorCode::kCorrupt, "{}: tensor {}: {}", file_, tensor_, cause);
  }

  std::vector<uint64_t> Numbers(const nlohmann::json& list, std::string_view field) const {
    constexpr size_t kMost = 16;  // dimensions; real tensors have at most 5
    if (!list.is_array() || list.size() > kMost) {
      Corrupt(fmt::format("{} is not a list of at most {} numbers", field, kMost));
    }
    std::vector<uint64_t> numbers;
    for (const auto& value : list) {
      if (!value.is_number_unsigned() || value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
        Corrupt(fmt::format("{} holds something other than whole numbers from 0 to 2^63 - 1", field));
      }
      numbers.push_back(value.get<uint64_t>());
    }
    return numbers;
  }

  std::string_view file_;
  const std::string& tensor_;
  std::span<const std::byte> data_;
};

std::map<std::string, std::string> ReadMetadata(const nlohmann::json& json, std::string_view name) {
  if (!json.is_object()) Fail(ErrorCode::kCorrupt, "{}: {} is not an object", name, kMetadataKey);
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) {
      Fail(ErrorCode::kCorrupt, "{}: {}: the value of '{}' is not a string", name, kMetadataKey, OneLine(key));
    }
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

/// The format allows neither holes nor overlaps: together the tensors are the data, byte for byte.
void CheckCover(const SafetensorsFile& file, std::span<const std::byte> data, std::string_view name) {
  std::vector<std::pair<const std::byte*, const std::byte*>> ranges;
  for (const auto& [tensor, entry] : file.tensors) {
    ranges.emplace_back(entry.bytes.data(), entry.bytes.data() + entry.bytes.size());
  }
  std::sort(ranges.begin(), ranges.end());
  const std::byte* end = data.data();
  for (const auto& [first, last] : ranges) {
    if (first != end) {
      Fail(ErrorCode::kCorrupt, "{}: tensors {} at byte {} of the data", name, first < end ? "overlap" : "leave a hole",
           std::min(first, end) - data.data());
    }
    end = last;
  }
  if (end != data.data() + data.size()) {
    Fail(ErrorCode::kCorrupt, "{}: {} bytes follow the last tensor", name, data.data() + data.size() - end);
  }
}

bool IsPrintable(std::string_view text) {
  return !text.empty() && text.size() <= 500 && std::none_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
}

}  // namespace

SafetensorsFile ParseSafetensors(std::span<const std::byte> bytes, std::string_view name) {
  ByteReader reader(bytes, std::string(name));
  const auto length = reader.Read<uint64_t>("the header's length");
  if (length > kMaxHeader || length > reader.remaining()) {
    Fail(ErrorCode::kCorrupt, "{}: not a safetensors file, or cut short: a header of {} bytes in a file of {}", name,
         length, bytes.size());
  }
  const auto text = reader.TakeText(length, "the header");
  if (text.empty() || text[0] != '{') Fail(ErrorCode::kCorrupt, "{}: not a safetensors file: no JSON header", name);
  const auto data = bytes.subspan(reader.position());
  const auto header = ParseJson<nlohmann::json>(text, name, kHeaderLimits);
  SafetensorsFile file;
  for (const auto& [key, value] : header.items()) {
    if (key == kMetadataKey) {
      file.metadata = ReadMetadata(value, name);
      continue;
    }
    if (!IsPrintable(key)) Fail(ErrorCode::kCorrupt, "{}: unfit tensor name '{}'", name, OneLine(key));
    file.tensors.emplace(key, EntryReader(name, key, data).Read(value));
  }
  CheckCover(file, data, name);
  return file;
}

namespace {

/// Tensors whose size is a multiple of the alignment first, the others by falling element size: all are then aligned
/// without holes.
void Order(std::vector<SafetensorsPlanned>& tensors) {
  const auto rank = [](const SafetensorsPlanned& tensor) {
    const int bits = ElementBits(tensor.dtype);
    const auto size = ByteSize(tensor.shape, bits);
    EDGELLM_CHECK(bits >= 8 && size, "a tensor to be written has a dtype of whole bytes and a size");
    return *size % kAlignment == 0 ? -1000 : -bits;
  };
  std::stable_sort(tensors.begin(), tensors.end(),
                   [&](const SafetensorsPlanned& a, const SafetensorsPlanned& b) { return rank(a) < rank(b); });
}

}  // namespace

size_t SafetensorsMetadataBytes(const std::map<std::string, std::string>& metadata) {
  return nlohmann::json(metadata).dump().size();
}

void WriteSafetensors(const std::filesystem::path& path, std::vector<SafetensorsPlanned> tensors, size_t metadata_bytes,
                      const std::function<std::map<std::string, std::string>()>& metadata) {
  Order(tensors);
  std::string entries;
  uint64_t offset = 0;
  for (const SafetensorsPlanned& tensor : tensors) {
    const uint64_t size = *ByteSize(tensor.shape, ElementBits(tensor.dtype));
    const nlohmann::ordered_json entry = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + size}}};
    entries += fmt::format(",{}:{}", nlohmann::json(tensor.name).dump(), entry.dump());
    offset += size;
  }
  const std::string opening = fmt::format("{{\"{}\":", kMetadataKey);
  const size_t needed = kLengthBytes + opening.size() + metadata_bytes + entries.size() + 1;
  const size_t data_start = (needed + kAlignment - 1) / kAlignment * kAlignment;
  if (data_start - kLengthBytes > kMaxHeader) {
    Fail(ErrorCode::kLimit, "{}: the header would exceed {} bytes", path.string(), kMaxHeader);
  }

  FileWriter writer(path);
  // The length goes in last: until then the file cannot be taken for a whole one. JSON allows the spaces that fill the
  // room.
  writer.Write(std::string(data_start, ' '));
  for (const SafetensorsPlanned& tensor : tensors) {
    const size_t start = writer.position();
    tensor.produce([&](std::span<const std::byte> bytes) { writer.Write(bytes); });
    EDGELLM_CHECK(writer.position() - start == *ByteSize(tensor.shape, ElementBits(tensor.dtype)),
                  "a tensor gives as many bytes as its shape says");
  }
  const std::string values = nlohmann::json(metadata()).dump();
  EDGELLM_CHECK(values.size() <= metadata_bytes, "the metadata fits the room kept for it");
  const std::string header = opening + values + entries + "}";
  const uint64_t length = data_start - kLengthBytes;
  writer.WriteAt(0, std::as_bytes(std::span(&length, 1)));
  writer.WriteAt(kLengthBytes, std::as_bytes(std::span(header.data(), header.size())));
  writer.Commit();
}

}  // namespace edgellm
