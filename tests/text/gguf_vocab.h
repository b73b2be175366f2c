// Just enough of GGUF to get a vocabulary out of a test file. The program's own reader is convert/'s, which text/
// cannot use.
#pragma once

#include <string>
#include <vector>

#include "base/byte_reader.h"
#include "base/file.h"
#include "text/vocabulary_data.h"

namespace edgellm::text {

class GgufVocabularyReader {
 public:
  explicit GgufVocabularyReader(const std::filesystem::path& path)
      : file_(path), reader_(file_.bytes(), path.string()) {}

  VocabularyData Read() {
    reader_.Take(4 + 4 + 8, "magic, version, tensor count");
    const auto count = reader_.Read<uint64_t>("count");
    for (uint64_t i = 0; i < count; ++i) {
      const std::string key(Text());
      Value(key, reader_.Read<uint32_t>("type"));
    }
    return std::move(data_);
  }

 private:
  enum Type : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64 };

  std::string_view Text() { return reader_.TakeText(reader_.Read<uint64_t>("length"), "text"); }

  void Value(const std::string& key, uint32_t type) {
    if (type == kArray) {
      const auto element = reader_.Read<uint32_t>("element type");
      const auto count = reader_.Read<uint64_t>("count");
      for (uint64_t i = 0; i < count; ++i) Value(key, element);
      return;
    }
    if (type == kString) {
      const std::string text(Text());
      if (key == "tokenizer.ggml.tokens") data_.tokens.push_back(text);
      if (key == "tokenizer.ggml.merges") data_.merges.push_back(text);
      if (key == "tokenizer.ggml.model") data_.kind = VocabularyKindOfGguf(text);
      if (key == "tokenizer.ggml.pre") data_.pre_tokenizer = text;
      return;
    }
    constexpr size_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    const std::string_view bytes = reader_.TakeText(kSizes[type], "value");
    int32_t number = 0;
    std::memcpy(&number, bytes.data(), std::min<size_t>(4, bytes.size()));
    if (key == "tokenizer.ggml.scores") data_.scores.push_back(std::bit_cast<float>(number));
    if (key == "tokenizer.ggml.token_type") data_.types.push_back(static_cast<TokenType>(number));
    if (key == "tokenizer.ggml.bos_token_id") data_.bos = number;
    if (key == "tokenizer.ggml.eos_token_id") data_.eos = number;
    if (key == "tokenizer.ggml.unknown_token_id") data_.unknown = number;
    if (key == "tokenizer.ggml.add_bos_token") data_.add_bos = number != 0;
    if (key == "tokenizer.ggml.add_eos_token") data_.add_eos = number != 0;
    if (key == "tokenizer.ggml.add_space_prefix") data_.add_space_prefix = number != 0;
  }

  MappedFile file_;
  ByteReader reader_;
  VocabularyData data_;
};

inline Tokenizer TokenizerFromGguf(const std::filesystem::path& path) {
  return Tokenizer::FromVocabulary(GgufVocabularyReader(path).Read(), path.string());
}

}  // namespace edgellm::text
