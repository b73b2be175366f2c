// The GGUF container: what is read, what is refused, and that no damage does worse than one clear Error.
#include "convert/gguf.h"

#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "base/file.h"
#include "convert/gguf_config.h"
#include "tests/convert/gguf_samples.h"
#include "tests/shared_data.h"
#include "text/tokenizer.h"

namespace edgellm {
namespace {

/// Raw little-endian bytes.
struct Raw {
  Bytes bytes;

  template <typename T>
  Raw& Number(T value) {
    const auto* at = reinterpret_cast<const std::byte*>(&value);
    bytes.insert(bytes.end(), at, at + sizeof(value));
    return *this;
  }
  Raw& Plain(std::string_view text) {
    for (const char c : text) bytes.push_back(static_cast<std::byte>(c));
    return *this;
  }
  Raw& Text(std::string_view text) { return Number(uint64_t{text.size()}).Plain(text); }
  static Raw Header(uint64_t tensors, uint64_t pairs, uint32_t version = 3) {
    return Raw().Plain("GGUF").Number(version).Number(tensors).Number(pairs);
  }
};

std::string ParseError(const Raw& raw, std::optional<ErrorCode> code = {}) {
  const std::string text = ErrorOf([&] { ParseGguf(raw.bytes, "x.gguf"); }, code);
  EXPECT_TRUE(text.starts_with("x.gguf: ")) << text;
  return text;
}

TEST(Gguf, ReadsEveryKindOfValue) {
  Raw raw = Raw::Header(0, 14);
  raw.Text("u8").Number(uint32_t{0}).Number(uint8_t{200});
  raw.Text("i8").Number(uint32_t{1}).Number(int8_t{-3});
  raw.Text("u16").Number(uint32_t{2}).Number(uint16_t{60000});
  raw.Text("i16").Number(uint32_t{3}).Number(int16_t{-30000});
  raw.Text("u32").Number(uint32_t{4}).Number(uint32_t{4000000000u});
  raw.Text("i32").Number(uint32_t{5}).Number(int32_t{-2000000000});
  raw.Text("f32").Number(uint32_t{6}).Number(0.5f);
  raw.Text("bool").Number(uint32_t{7}).Number(uint8_t{1});
  raw.Text("text").Number(uint32_t{8}).Text("h\u00e9llo");
  raw.Text("u64").Number(uint32_t{10}).Number(uint64_t{1} << 40);
  raw.Text("i64").Number(uint32_t{11}).Number(-(int64_t{1} << 40));
  raw.Text("f64").Number(uint32_t{12}).Number(0.25);
  raw.Text("texts").Number(uint32_t{9}).Number(uint32_t{8}).Number(uint64_t{2}).Text("a").Text("");
  raw.Text("nested").Number(uint32_t{9}).Number(uint32_t{9}).Number(uint64_t{2});
  raw.Number(uint32_t{5}).Number(uint64_t{2}).Number(int32_t{1}).Number(int32_t{2});
  raw.Number(uint32_t{8}).Number(uint64_t{1}).Text("deep");
  for (const uint32_t version : {2u, 3u}) {
    std::memcpy(raw.bytes.data() + 4, &version, 4);
    const GgufFile file = ParseGguf(raw.bytes, "x.gguf");
    EXPECT_EQ(file.version, version);
    EXPECT_EQ(file.Integer("u8", 0, 255), 200);
    EXPECT_EQ(file.Integer("i8", -128, 127), -3);
    EXPECT_EQ(file.Integer("u16", 0, 65535), 60000);
    EXPECT_EQ(file.Integer("i16", -32768, 0), -30000);
    EXPECT_EQ(file.Integer("u32", 0, UINT32_MAX), 4000000000);
    EXPECT_EQ(file.Integer("i32", INT32_MIN, 0), -2000000000);
    EXPECT_EQ(file.Number("f32"), 0.5);
    EXPECT_EQ(file.Boolean("bool"), true);
    EXPECT_EQ(file.Text("text"), "h\u00e9llo");
    EXPECT_EQ(file.Integer("u64", 0, INT64_MAX), int64_t{1} << 40);
    EXPECT_EQ(file.Integer("i64", INT64_MIN, 0), -(int64_t{1} << 40));
    EXPECT_EQ(file.Number("f64"), 0.25);
    EXPECT_EQ(*file.Texts("texts"), (std::vector<std::string_view>{"a", ""}));
    const auto& nested = std::get<GgufArray>(*file.Find("nested"));
    EXPECT_EQ(nested.arrays.size(), 2u);
    EXPECT_EQ(nested.arrays[1].strings[0], "deep");
    EXPECT_FALSE(file.Text("absent").has_value());
    EXPECT_EQ(file.Texts("absent"), nullptr);
    ErrorOf([&] { file.Integer("text", 0, 1); }, ErrorCode::kCorrupt);
    ErrorOf([&] { file.Integer("u8", 0, 100); }, ErrorCode::kCorrupt);
    ErrorOf([&] { file.Text("u8"); }, ErrorCode::kCorrupt);
    ErrorOf([&] { file.Texts("nested"); }, ErrorCode::kCorrupt);
    ErrorOf([&] { file.Boolean("u8"); }, ErrorCode::kCorrupt);
  }
}

TEST(Gguf, RefusesWhatItIsNot) {
  EXPECT_CONTAINS(ParseError(Raw().Plain("GGU")), "not a GGUF file");
  EXPECT_CONTAINS(ParseError(Raw().Plain("GGMLxxxxxxxx")), "not a GGUF file");
  EXPECT_CONTAINS(ParseError(Raw::Header(0, 0, 1), ErrorCode::kUnsupported), "version 1");
  EXPECT_CONTAINS(ParseError(Raw::Header(0, 0, 0x03000000u), ErrorCode::kUnsupported), "big-endian");
}

TEST(Gguf, RefusesCountsThatTheFileCannotHold) {
  EXPECT_CONTAINS(ParseError(Raw::Header(1u << 20, 0)), "tensor count");
  EXPECT_CONTAINS(ParseError(Raw::Header(UINT64_MAX, 0)), "tensor count");
  EXPECT_CONTAINS(ParseError(Raw::Header(0, UINT64_MAX / 13)), "metadata count");
  // Room for the claim of one pair, so that its own count is what fails.
  for (const uint32_t element : {0u, 8u, 9u, 12u}) {
    Raw raw = Raw::Header(0, 1).Text("key").Number(uint32_t{9}).Number(element).Number(UINT64_MAX / 2);
    EXPECT_CONTAINS(ParseError(raw), "metadata key");
  }
  EXPECT_CONTAINS(ParseError(Raw::Header(0, 1).Number(UINT64_MAX).Plain("abcdefgh")), "a metadata key");
  EXPECT_CONTAINS(ParseError(Raw::Header(0, 1).Text("k").Number(uint32_t{8}).Number(uint64_t{99})), "metadata k");
}

TEST(Gguf, RefusesArraysNestedTooDeeply) {
  Raw raw = Raw::Header(0, 1).Text("key").Number(uint32_t{9});
  for (int i = 0; i < 10000; ++i) raw.Number(uint32_t{9}).Number(uint64_t{1});
  EXPECT_CONTAINS(ParseError(raw.Number(uint32_t{0}).Number(uint64_t{0})), "nests");
}

TEST(Gguf, RefusesKeysThatAreThereTwice) {
  Raw raw = Raw::Header(0, 2);
  for (int i = 0; i < 2; ++i) raw.Text("k\nk").Number(uint32_t{0}).Number(uint8_t{1});
  EXPECT_CONTAINS(ParseError(raw), "twice");
}

TEST(Gguf, RefusesUnknownValueTypes) {
  EXPECT_CONTAINS(ParseError(Raw::Header(0, 1).Text("k").Number(uint32_t{13}).Number(uint64_t{0})), "type 13");
}

TEST(Gguf, OnePartOfASplitModelIsNotTakenForTheWhole) {
  Raw raw = Raw::Header(0, 1).Text("split.count").Number(uint32_t{2}).Number(uint16_t{3});
  EXPECT_CONTAINS(ErrorOf([&] { ImportBytes(raw.bytes); }, ErrorCode::kUnsupported), "one of 3 parts");
}

/// A file of one tensor as given, with 64 bytes of data.
Raw OneTensor(std::vector<uint64_t> shape, uint32_t type, uint64_t offset, uint32_t alignment = 32) {
  Raw raw = Raw::Header(1, 1).Text("general.alignment").Number(uint32_t{4}).Number(alignment);
  raw.Text("w").Number(static_cast<uint32_t>(shape.size()));
  for (const uint64_t size : shape) raw.Number(size);
  raw.Number(type).Number(offset);
  while (alignment != 0 && alignment <= 64 && raw.bytes.size() % alignment != 0) raw.Plain(std::string(1, '\0'));
  for (int i = 0; i < 64; ++i) raw.Number(static_cast<uint8_t>(i));
  return raw;
}

TEST(Gguf, FindsTensorsAtTheirAlignment) {
  for (const uint32_t alignment : {8u, 32u, 64u}) {
    const Raw raw = OneTensor({4, 2}, 0, 0, alignment);
    const GgufFile file = ParseGguf(raw.bytes, "x.gguf");
    const GgufTensor& tensor = file.tensors.at("w");
    EXPECT_EQ(tensor.rows, 2);
    EXPECT_EQ(tensor.cols, 4);
    EXPECT_FALSE(tensor.is_vector);
    ASSERT_EQ(tensor.bytes.size(), 32u);
    EXPECT_EQ(tensor.bytes[0], std::byte{0});
    EXPECT_EQ(tensor.bytes[31], std::byte{31});
  }
  const Raw raw = OneTensor({8}, 0, 32);
  EXPECT_TRUE(ParseGguf(raw.bytes, "x").tensors.at("w").is_vector);
}

TEST(Gguf, RefusesImpossibleTensors) {
  EXPECT_CONTAINS(ParseError(OneTensor({17}, 0, 0)), "beyond the end");
  EXPECT_CONTAINS(ParseError(OneTensor({4}, 0, 64)), "beyond the end");
  EXPECT_CONTAINS(ParseError(OneTensor({4}, 0, UINT64_MAX - 31)), "beyond the end");
  EXPECT_CONTAINS(ParseError(OneTensor({4}, 0, 3)), "not a multiple of 32");
  EXPECT_CONTAINS(ParseError(OneTensor({0}, 0, 0)), "impossible shape");
  EXPECT_CONTAINS(ParseError(OneTensor({uint64_t{1} << 40, uint64_t{1} << 40}, 0, 0)), "impossible shape");
  EXPECT_CONTAINS(ParseError(OneTensor({UINT64_MAX, UINT64_MAX}, 0, 0)), "impossible shape");
  EXPECT_CONTAINS(ParseError(OneTensor({}, 0, 0)), "dimensions");
  EXPECT_CONTAINS(ParseError(OneTensor({1, 1, 1, 1, 1}, 0, 0)), "dimensions");
  EXPECT_CONTAINS(ParseError(OneTensor({2, 2, 2}, 0, 0), ErrorCode::kUnsupported), "3 dimensions");
  EXPECT_CONTAINS(ParseError(OneTensor({33}, 8, 0)), "whole Q8_0 blocks");
  EXPECT_CONTAINS(ParseError(OneTensor({32}, 3, 0), ErrorCode::kUnsupported), "Q4_1");
  EXPECT_CONTAINS(ParseError(OneTensor({32}, 36, 0), ErrorCode::kUnsupported), "I2_S");
  EXPECT_CONTAINS(ParseError(OneTensor({32}, 999, 0), ErrorCode::kUnsupported), "999");
  for (const uint32_t alignment : {0u, 1u, 24u, 1u << 30}) {
    EXPECT_CONTAINS(ParseError(OneTensor({4}, 0, 0, alignment)), "general.alignment");
  }
}

TEST(Gguf, EveryTruncationIsAnError) {
  const Bytes whole = SampleGguf(SampleConfig());
  std::mt19937 generator(7);
  for (int i = 0; i < 3000; ++i) {
    // All of the header's first bytes, then anywhere.
    const size_t length = i < 1500 ? static_cast<size_t>(i) : generator() % whole.size();
    const Bytes part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    ErrorOf([&] { ImportBytes(part); });
  }
}

TEST(Gguf, FlippedBitsNeverDoWorseThanAnError) {
  const Bytes whole = SampleGguf(SampleConfig());
  std::mt19937 generator(11);
  int errors = 0;
  for (int i = 0; i < 3000; ++i) {
    Bytes damaged = whole;
    // Mostly in the header, which is the first 2,000 bytes or so.
    for (unsigned flips = 1 + generator() % 3; flips > 0; --flips) {
      const size_t at = generator() % (i % 4 == 0 ? whole.size() : size_t{3000});
      damaged[at] ^= static_cast<std::byte>(1u << generator() % 8);
    }
    if (!SucceedsOrFailsCleanly([&] { ImportBytes(damaged); })) ++errors;
  }
  EXPECT_GT(errors, 1000);
}

TEST(Gguf, ReadsFilesThatHoldAVocabularyOnly) {
  SKIP_WITHOUT_SHARED_DATA();
  for (const char* name : {"gpt-2", "llama-spm", "phi-3"}) {
    const auto path = SharedData() / "tokenizer_vectors" / fmt::format("ggml-vocab-{}.gguf", name);
    const MappedFile mapped(path);
    const GgufFile file = ParseGguf(mapped.bytes(), path.string());
    EXPECT_TRUE(file.tensors.empty());
    const auto vocabulary = ReadGgufVocabulary(file);
    ASSERT_TRUE(vocabulary.has_value());
    EXPECT_GT(vocabulary->tokens.size(), 30000u);
    const auto tokenizer = text::Tokenizer::FromVocabulary(*vocabulary, name);
    EXPECT_EQ(tokenizer.Decode(tokenizer.Encode("Hello world")), "Hello world");
    EXPECT_CONTAINS(ErrorOf([&] { ImportGgufBytes(mapped.bytes(), "v.gguf", nullptr, {}); }, ErrorCode::kUnsupported),
                    "v.gguf");
  }
}

}  // namespace
}  // namespace edgellm
