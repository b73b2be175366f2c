// See gguf_writer.h.
#include "convert/gguf_writer.h"

#include <array>
#include <type_traits>

#include "base/error.h"

namespace edgellm {
namespace {

constexpr uint32_t kVersion = 3;

template <typename T>
void Append(std::string& out, T value) {
  static_assert(std::is_arithmetic_v<T>);
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void AppendText(std::string& out, std::string_view text) {
  Append(out, uint64_t{text.size()});
  out.append(text);
}

size_t PaddingAfter(size_t bytes) {
  return (kGgufAlignment - bytes % kGgufAlignment) % kGgufAlignment;
}

std::span<const std::byte> AsBytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

void GgufWriter::StartPair(std::string_view key, GgufValueType type) {
  AppendText(pairs_, key);
  Append(pairs_, static_cast<uint32_t>(type));
  ++pair_count_;
}

void GgufWriter::StartArray(std::string_view key, GgufValueType type, size_t count) {
  StartPair(key, GgufValueType::kArray);
  Append(pairs_, static_cast<uint32_t>(type));
  Append(pairs_, uint64_t{count});
}

void GgufWriter::AddUint32(std::string_view key, uint32_t value) {
  StartPair(key, GgufValueType::kUint32);
  Append(pairs_, value);
}

void GgufWriter::AddFloat(std::string_view key, float value) {
  StartPair(key, GgufValueType::kFloat32);
  Append(pairs_, value);
}

void GgufWriter::AddBool(std::string_view key, bool value) {
  StartPair(key, GgufValueType::kBool);
  Append(pairs_, static_cast<uint8_t>(value ? 1 : 0));
}

void GgufWriter::AddText(std::string_view key, std::string_view value) {
  StartPair(key, GgufValueType::kString);
  AppendText(pairs_, value);
}

void GgufWriter::AddTexts(std::string_view key, const std::vector<std::string>& values) {
  StartArray(key, GgufValueType::kString, values.size());
  for (const std::string& value : values) AppendText(pairs_, value);
}

void GgufWriter::AddFloats(std::string_view key, const std::vector<float>& values) {
  StartArray(key, GgufValueType::kFloat32, values.size());
  for (const float value : values) Append(pairs_, value);
}

void GgufWriter::AddInts(std::string_view key, const std::vector<int32_t>& values) {
  StartArray(key, GgufValueType::kInt32, values.size());
  for (const int32_t value : values) Append(pairs_, value);
}

void GgufWriter::AddTensor(std::string_view name, GgufTensorType type, int64_t rows, int64_t cols, bool is_vector,
                           std::function<void(const Sink& sink)> produce) {
  const GgufTensorTraits& traits = GgufTraits(type);
  EDGELLM_CHECK(cols % traits.block_values == 0 && (!is_vector || rows == 1), "the caller fits type to shape");
  AppendText(infos_, name);
  Append(infos_, static_cast<uint32_t>(is_vector ? 1 : 2));
  Append(infos_, static_cast<uint64_t>(cols));
  if (!is_vector) Append(infos_, static_cast<uint64_t>(rows));
  Append(infos_, static_cast<uint32_t>(type));
  Append(infos_, data_bytes_);
  const size_t bytes = static_cast<size_t>(rows) * static_cast<size_t>(cols / traits.block_values) *
                       static_cast<size_t>(traits.block_bytes);
  tensors_.push_back({bytes, std::move(produce)});
  data_bytes_ += bytes + PaddingAfter(bytes);
}

void GgufWriter::Write(const Sink& sink, const std::function<void(size_t tensors)>& written) const {
  static constexpr std::array<std::byte, kGgufAlignment> kZeros{};
  std::string head(kGgufMagic);
  Append(head, kVersion);
  Append(head, uint64_t{tensors_.size()});
  Append(head, pair_count_);
  head += pairs_;
  head += infos_;
  sink(AsBytes(head));
  sink(std::span(kZeros).first(PaddingAfter(head.size())));
  for (size_t i = 0; i < tensors_.size(); ++i) {
    size_t produced = 0;
    tensors_[i].produce([&](std::span<const std::byte> bytes) {
      produced += bytes.size();
      sink(bytes);
    });
    EDGELLM_CHECK(produced == tensors_[i].bytes, "a tensor's producer wrote another size than its shape has");
    sink(std::span(kZeros).first(PaddingAfter(produced)));
    if (written) written(i + 1);
  }
}

}  // namespace edgellm
